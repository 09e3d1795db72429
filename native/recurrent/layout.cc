// Sizes and places: packed weights and tapes. The same at every level.

#include "recurrent/recurrent.h"

namespace gatework::recurrent {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::int64_t kSlack = 64;  // floats after z that `outer` may read, never use

std::size_t lines(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

// Gives out pieces of a buffer, or with a null buffer only counts.
struct Pieces {
    char* buffer;
    std::size_t used = 0;

    template <class T>
    T* take(std::int64_t count) {
        char* here = buffer + used;
        used += lines((std::size_t)count * sizeof(T));
        return reinterpret_cast<T*>(here);
    }
};

void place_matrix(Matrix& m, Precision precision, std::int64_t depth, std::int64_t columns, int group, Pieces& pieces) {
    const std::int64_t step = precision == Precision::float32 ? 1 : precision == Precision::bfloat16 ? 2 : 4;
    const std::int64_t bytes = precision == Precision::float32 ? 4 : precision == Precision::bfloat16 ? 2 : 1;
    m.depth = depth;
    m.columns = columns;
    m.group = group > 1 ? group : 0;
    m.panels = pieces.take<char>((depth + step - 1) / step * step * columns * bytes);
    if (precision == Precision::int8) {
        m.scale = pieces.take<float>(columns);
        m.correction = pieces.take<std::int32_t>(columns);
    }
}

void place_all(Packed& p, bool backward, Pieces& pieces) {
    const CellInfo& cell = p.cell;
    const std::int64_t H = padded(p.units), P = padded(p.outputs), I = padded(p.inputs);
    const bool candidate = cell.kind == CellKind::gru_reset_before, projects = cell.kind == CellKind::lstm_projection;
    p.w = p.r = p.rn = p.v = p.wt = p.rt = p.rnt = p.vt = Matrix{};
    if (backward) {
        place_matrix(p.wt, p.precision, cell.w_slots * H, I, 0, pieces);
        place_matrix(p.rt, p.precision, cell.r_slots * H, P, 0, pieces);
        if (candidate) place_matrix(p.rnt, p.precision, H, H, 0, pieces);
        if (projects) place_matrix(p.vt, p.precision, P, H, 0, pieces);
    } else {
        place_matrix(p.w, p.precision, p.inputs, cell.w_slots * H, 0, pieces);
        place_matrix(p.r, p.precision, p.outputs, cell.r_slots * H, cell.r_slots, pieces);
        if (candidate) place_matrix(p.rn, p.precision, p.units, H, 0, pieces);
        if (projects) place_matrix(p.v, p.precision, p.units, P, 0, pieces);
    }
    p.b = pieces.take<float>(4 * H);
    p.rb = pieces.take<float>(cell.r_slots * H);
    for (int e = 0; e < 4; ++e) p.extra[e] = pieces.take<float>(4 * H);
}

}  // namespace

std::size_t packed_bytes(const CellInfo& cell, Precision precision, std::int64_t inputs, std::int64_t units,
                         std::int64_t outputs, bool backward) {
    Packed p{};
    p.cell = cell;
    p.precision = precision;
    p.inputs = inputs;
    p.units = units;
    p.outputs = outputs;
    Pieces pieces{nullptr};
    place_all(p, backward, pieces);
    return pieces.used;
}

void place_packed(Packed& packed, bool backward, char* buffer) {
    Pieces pieces{buffer};
    place_all(packed, backward, pieces);
}

Tape tape_layout(const CellInfo& cell, std::int64_t units, std::int64_t outputs, std::int64_t rows, std::int64_t batch,
                 bool masked) {
    const std::int64_t H = padded(units), P = padded(outputs);
    const bool projects = cell.kind == CellKind::lstm_projection;
    Tape tape{};
    std::int64_t at = 0;
    const auto take = [&](std::int64_t floats) {
        const std::int64_t here = at;
        at += floats;
        return here;
    };
    tape.z = take(rows * cell.slots * H + kSlack);
    tape.c = take(cell.memory ? (batch + rows) * H : 0);
    tape.h = take((batch + rows) * P);
    tape.masked = masked ? take((batch + rows) * P) : tape.h;
    tape.u = take(projects || cell.kind == CellKind::gru_reset_before ? rows * H : 0);
    tape.dp = take(projects ? rows * P + kSlack : 0);
    tape.stats = take(cell.kind == CellKind::lstm_layernorm ? rows * kPad : 0);
    tape.floats = at;
    return tape;
}

}  // namespace gatework::recurrent
