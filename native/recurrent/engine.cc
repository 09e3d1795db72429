#include "recurrent/engine.h"

#include <algorithm>
#include <cstring>

#include "buffers.h"
#include "threads/pool.h"

namespace gatework::recurrent {

namespace {

// Calls work(part) for every part, on the pool.
template <class Work>
void parallel(int parts, Work&& work) {
    threads::run(parts, [](void* context, int part) { (*static_cast<std::remove_reference_t<Work>*>(context))(part); }, &work);
}

constexpr std::int64_t kLeastRowsAShard = 4;  // below, a thread would read all the weights for too few sequences
constexpr int kOuterColumns = 64;
constexpr std::int64_t kTapeHeader = 16;  // the first float: shards a direction

struct Shards {
    std::vector<Shard> shards;  // direction by direction
    std::vector<float*> tapes;
    int each = 1;
    bool fit = true;

    // `dealt`: as the tape says, since the number of threads may have changed after the way forward.
    Shards(const Layer& layer, bool dealt) {
        std::vector<std::int64_t> order;
        fit = sort_lengths(layer.lengths, layer.batch, layer.time, order) >= 0;
        if (!fit) return;
        if (dealt) {
            each = (int)layer.tape[0];
        } else {
            const std::int64_t wanted = std::max<std::int64_t>(1, threads::count() / layer.directions);
            each = (int)std::clamp<std::int64_t>(layer.batch / kLeastRowsAShard, 1, wanted);
            if (layer.tape) layer.tape[0] = (float)each;
        }
        for (int d = 0; d < layer.directions; ++d)
            for (int s = 0; s < each; ++s) shards.emplace_back(layer.lengths, order, s, each, d == 1 || layer.reversed);
        float* at = layer.tape ? layer.tape + kTapeHeader : nullptr;
        for (std::size_t k = 0; k < shards.size(); ++k) {
            tapes.push_back(at);
            if (at) at += layout(layer, k).floats;
        }
    }
    const Direction& direction(const Layer& layer, std::size_t k) const { return layer.direction[k / (std::size_t)each]; }
    Tape layout(const Layer& layer, std::size_t k) const {
        const Schedule& s = shards[k].schedule();
        return tape_layout(layer.cell, layer.units, layer.outputs, s.rows, s.batch, direction(layer, k).mask != nullptr);
    }
};

std::size_t lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

Packed empty_packed(const Layer& layer) {
    Packed p{};
    p.cell = layer.cell;
    p.precision = layer.precision;
    p.inputs = layer.inputs;
    p.units = layer.units;
    p.outputs = layer.outputs;
    return p;
}

// Packs what is not packed yet; `packed` gets one entry a direction.
void pack_layer(const Layer& layer, bool backward, Buffer& buffer, Packed (&packed)[2]) {
    const std::size_t bytes = lines(packed_bytes(layer.cell, layer.precision, layer.inputs, layer.units, layer.outputs, backward));
    bool any = false;
    for (int d = 0; d < layer.directions; ++d) any = any || backward || !layer.direction[d].packed;
    if (any) buffer.reserve(bytes * (std::size_t)layer.directions);
    for (int d = 0; d < layer.directions; ++d) {
        if (!backward && layer.direction[d].packed) {
            packed[d] = *layer.direction[d].packed;
            continue;
        }
        packed[d] = empty_packed(layer);
        place_packed(packed[d], backward, buffer.bytes() + (std::size_t)d * bytes);
    }
    constexpr int kParts = 8;
    Buffer work;
    const std::int64_t floats = pack_work(layer.inputs, layer.units, layer.outputs);
    work.reserve((std::size_t)(floats * layer.directions * kParts) * sizeof(float));
    if (any)
        parallel(layer.directions * kParts, [&](int part) {
            const int d = part / kParts;
            if (backward || !layer.direction[d].packed)
                layer.kernels->pack(layer.direction[d].weights, packed[d], backward, part % kParts, kParts,
                                    reinterpret_cast<float*>(work.bytes()) + part * floats);
        });
}

// Pointers to the rows of one direction: operands of its products and columns of its gradients, over all its shards.
struct RowPointers {
    std::vector<const float*> x, h, u, z, dp;
};

// In an order that does not know of shards, so that sums over rows have the same bits for any number of threads.
RowPointers row_pointers(const Layer& layer, const Shards& shards, int d) {
    RowPointers rows;
    const std::int64_t H = padded(layer.units), P = padded(layer.outputs), each = shards.each;
    const std::size_t first = (std::size_t)d * (std::size_t)each;
    std::vector<Tape> places;
    std::int64_t total = 0;
    for (std::size_t s = 0; s < (std::size_t)each; ++s) {
        places.push_back(shards.layout(layer, first + s));
        total += shards.shards[first + s].schedule().rows;
    }
    for (std::vector<const float*>* list : {&rows.x, &rows.h, &rows.u, &rows.z, &rows.dp}) list->reserve((std::size_t)total);
    const std::int64_t steps = shards.shards[first].schedule().steps;  // the first shard has the longest sequence
    for (std::int64_t step = 0; step < steps; ++step)
        for (std::int64_t place = 0;; ++place) {
            const std::size_t s = (std::size_t)(place % each);
            const Schedule& schedule = shards.shards[first + s].schedule();
            const std::int64_t local = place / each;
            if (step >= schedule.steps || local >= schedule.running[step]) break;  // the sorted batch ends here
            const float* tape = shards.tapes[first + s];
            const std::int64_t row = schedule.first_row[step] + local;
            const std::int64_t old = step == 0 ? local : schedule.batch + schedule.first_row[step - 1] + local;
            rows.x.push_back(layer.x.row(schedule.time(local, step), schedule.order[local]));
            rows.h.push_back(tape + places[s].masked + old * P);
            rows.u.push_back(tape + places[s].u + row * H);
            rows.z.push_back(tape + places[s].z + row * layer.cell.slots * H);
            rows.dp.push_back(tape + places[s].dp + row * P);
        }
    return rows;
}

// One gradient of a weight matrix as a sum of outer products: which columns, and where its rows go.
struct OuterJob {
    int direction;
    const std::vector<const float*>* a;
    const std::vector<const float*>* z;
    std::int64_t depth;            // columns of the weights
    std::int64_t first, columns;   // of z
    const std::int8_t* gates;      // of each slot among the columns; null for the plain order
    std::int64_t units;            // rows of the weights a slot
    float* weights;                // (rows, depth)
    float* bias;                   // column sums, or null
};

// Panels of columns a part takes: the operands are rearranged once for all of them.
constexpr std::int64_t kPanelsAPart = 4;

std::size_t outer_floats(const OuterJob& job, std::int64_t panels) {
    return (std::size_t)(panels * (job.depth + 1) * kOuterColumns);
}

void outer_part(const Layer& layer, const OuterJob& job, std::int64_t column, char* scratch) {
    const std::int64_t panels = std::min(kPanelsAPart, (job.columns - column + kOuterColumns - 1) / kOuterColumns);
    const std::size_t floats = outer_floats(job, panels);
    float* sums = reinterpret_cast<float*>(scratch);
    float* columns = sums + panels * job.depth * kOuterColumns;
    std::memset(sums, 0, floats * sizeof(float));
    const Outer outer{job.a->data(), job.depth, job.z->data(), (std::int64_t)job.z->size(), job.first + column, panels,
                      sums, job.bias ? columns : nullptr, scratch + lines(floats * sizeof(float))};
    layer.kernels->outer(layer.precision, outer);
    // What lies together in a panel and in a slot, so that its rows of the weights follow one another.
    const std::int64_t wide = padded(job.units), end = std::min(panels * kOuterColumns, job.columns - column);
    for (std::int64_t j = 0, next; j < end; j = next) {
        const std::int64_t slot = (column + j) / wide, unit = (column + j) % wide;
        next = std::min({end, (j / kOuterColumns + 1) * kOuterColumns, j + wide - unit});
        const std::int64_t together = std::min(next - j, job.units - unit);
        if (together <= 0) continue;
        const std::int64_t row = (job.gates ? job.gates[slot] : slot) * job.units + unit;
        const float* from = sums + j / kOuterColumns * job.depth * kOuterColumns + j % kOuterColumns;
        if (job.weights) layer.kernels->outer_rows(from, job.depth, together, job.weights + row * job.depth);
        if (job.bias) std::memcpy(job.bias + row, columns + j, sizeof(float) * (std::size_t)together);
    }
}

void weight_gradients(const Layer& layer, const RowPointers* rows) {
    static constexpr std::int8_t kCandidate[] = {2}, kSame[] = {0, 1, 2, 3};
    const CellInfo& cell = layer.cell;
    const std::int64_t H = padded(layer.units), P = padded(layer.outputs);
    std::vector<OuterJob> jobs;
    for (int d = 0; d < layer.directions; ++d) {
        const WeightGradients& g = layer.direction[d].gradients;
        const RowPointers& r = rows[d];
        const bool own_bias = cell.b_first == 0;
        jobs.push_back({d, &r.x, &r.z, layer.inputs, 0, cell.w_slots * H, cell.w_gate, layer.units, g.w, own_bias ? g.b : nullptr});
        jobs.push_back({d, &r.h, &r.z, layer.outputs, cell.r_first * H, cell.r_slots * H, cell.r_gate, layer.units, g.r, g.rb});
        if (cell.kind == CellKind::gru_reset_before)
            jobs.push_back({d, &r.u, &r.z, layer.units, 2 * H, H, kCandidate, layer.units, g.r, nullptr});
        if (cell.kind == CellKind::lstm_projection)
            jobs.push_back({d, &r.u, &r.dp, layer.units, 0, P, nullptr, layer.outputs, g.extra[0], nullptr});
        if (!own_bias)  // no operand: column sums alone
            jobs.push_back({d, &r.h, &r.z, 0, cell.b_first * H, 4 * H, kSame, layer.units, nullptr, g.b});
    }
    struct Part {
        const OuterJob* job;
        std::int64_t column;
        std::size_t scratch;
    };
    std::vector<Part> parts;
    std::size_t bytes = 0;
    for (const OuterJob& job : jobs)
        for (std::int64_t column = 0; column < job.columns; column += kPanelsAPart * kOuterColumns) {
            parts.push_back({&job, column, bytes});
            bytes += lines(outer_floats(job, kPanelsAPart) * sizeof(float)) +
                     lines(layer.kernels->outer_scratch(layer.precision, job.depth));
        }
    Buffer buffer;
    buffer.reserve(bytes);
    parallel((int)parts.size(), [&](int part) {
        outer_part(layer, *parts[(std::size_t)part].job, parts[(std::size_t)part].column, buffer.bytes() + parts[(std::size_t)part].scratch);
    });
}

// Peepholes and gains: the shards' sums, added in their order.
void extra_gradients(const Layer& layer, int d, const float* sums, std::size_t stride, int shards) {
    const WeightGradients& g = layer.direction[d].gradients;
    const std::int64_t H = padded(layer.units), units = layer.units;
    const auto gather = [&](float* to, std::int64_t slot, int slots) {
        for (int s = 0; s < slots; ++s)
            for (std::int64_t u = 0; u < units; ++u) {
                float sum = 0.0f;
                for (int k = 0; k < shards; ++k) sum += sums[(std::size_t)k * stride + (std::size_t)((slot + s) * H + u)];
                to[s * units + u] = sum;
            }
    };
    if (layer.cell.kind == CellKind::lstm_peephole)
        for (int e = 0; e < 3; ++e) gather(g.extra[e], e, 1);
    if (layer.cell.kind == CellKind::lstm_layernorm) {
        gather(g.extra[0], 0, 4);
        gather(g.extra[1], 4, 4);
        gather(g.extra[2], 8, 1);
        gather(g.extra[3], 9, 1);
    }
}

void input_gradients(const Layer& layer, const Shards& shards, const Packed* packed) {
    constexpr std::int64_t kRowsAPart = 192;
    const std::size_t scratch = lines(layer.kernels->input_gradient_scratch(packed[0]));
    for (int d = 0; d < layer.directions; ++d) {
        struct Part {
            const float* z;
            std::size_t first_pointer;
            std::int64_t first, last;
        };
        std::vector<Part> parts;
        std::vector<float*> rows;
        for (int s = 0; s < shards.each; ++s) {
            const std::size_t k = (std::size_t)(d * shards.each + s);
            const Schedule& schedule = shards.shards[k].schedule();
            const std::size_t first = rows.size();
            for (std::int64_t step = 0; step < schedule.steps; ++step)
                for (std::int64_t place = 0; place < schedule.running[step]; ++place)
                    rows.push_back(layer.dx.row(schedule.time(place, step), schedule.order[place]));
            for (std::int64_t row = 0; row < schedule.rows; row += kRowsAPart)
                parts.push_back({shards.tapes[k] + shards.layout(layer, k).z, first, row, std::min(schedule.rows, row + kRowsAPart)});
        }
        Buffer buffer;
        buffer.reserve(scratch * parts.size());
        parallel((int)parts.size(), [&](int n) {
            const Part& part = parts[(std::size_t)n];
            layer.kernels->input_gradient(packed[d], part.z, rows.data() + part.first_pointer, part.first, part.last, d > 0,
                                          buffer.bytes() + scratch * (std::size_t)n);
        });
    }
}

}  // namespace

std::int64_t tape_floats(const CellInfo& cell, std::int64_t units, std::int64_t outputs, std::int64_t rows,
                         std::int64_t batch, int directions, bool masked) {
    const Tape whole = tape_layout(cell, units, outputs, rows, batch, masked);
    const Tape none = tape_layout(cell, units, outputs, 0, 0, masked);
    // Every shard has its own slack. As many as there could be: the number of threads may change.
    const std::int64_t shards = std::max<std::int64_t>(1, batch / kLeastRowsAShard);
    return kTapeHeader + directions * (whole.floats - none.floats + shards * none.floats);
}

void pack(const Kernels& kernels, const Weights& weights, Packed& packed, bool backward) {
    Buffer work;
    work.reserve((std::size_t)pack_work(packed.inputs, packed.units, packed.outputs) * sizeof(float));
    kernels.pack(weights, packed, backward, 0, 1, reinterpret_cast<float*>(work.bytes()));
}

bool forward(const Layer& layer) {
    const Shards shards(layer, false);
    if (!shards.fit) return false;
    Buffer weights, buffer;
    Packed packed[2];
    pack_layer(layer, false, weights, packed);
    std::vector<std::size_t> scratch;
    std::size_t bytes = 0;
    for (std::size_t k = 0; k < shards.shards.size(); ++k) {
        scratch.push_back(bytes);
        bytes += lines(layer.kernels->forward_scratch(packed[k / (std::size_t)shards.each], shards.shards[k].schedule(), layer.tape));
    }
    buffer.reserve(bytes);
    parallel((int)shards.shards.size(), [&](int part) {
        const std::size_t k = (std::size_t)part, d = k / (std::size_t)shards.each;
        const Direction& direction = layer.direction[d];
        const Forward io{layer.x, layer.y[d], direction.h0, direction.c0, direction.h, direction.c, direction.mask,
                         direction.keep_h, direction.keep_c, shards.tapes[k], buffer.bytes() + scratch[k], layer.projected};
        layer.kernels->forward(packed[d], shards.shards[k].schedule(), io);
    });
    return true;
}

bool backward(const Layer& layer) {
    const Shards shards(layer, true);
    if (!shards.fit) return false;
    Buffer weights, buffer;
    Packed packed[2];
    pack_layer(layer, true, weights, packed);
    const std::size_t extra = lines((std::size_t)extra_floats(layer.cell, layer.units) * sizeof(float));
    std::vector<std::size_t> scratch;
    std::size_t bytes = extra * shards.shards.size();
    for (std::size_t k = 0; k < shards.shards.size(); ++k) {
        scratch.push_back(bytes);
        bytes += lines(layer.kernels->backward_scratch(packed[k / (std::size_t)shards.each], shards.shards[k].schedule()));
    }
    buffer.reserve(bytes);
    std::memset(buffer.bytes(), 0, extra * shards.shards.size());
    parallel((int)shards.shards.size(), [&](int part) {
        const std::size_t k = (std::size_t)part, d = k / (std::size_t)shards.each;
        const Direction& direction = layer.direction[d];
        const Backward io{layer.dy[d], direction.dh, direction.dc, direction.dh0, direction.dc0, direction.mask,
                          direction.keep_h, direction.keep_c, shards.tapes[k],
                          reinterpret_cast<float*>(buffer.bytes() + extra * k), buffer.bytes() + scratch[k]};
        layer.kernels->backward(packed[d], shards.shards[k].schedule(), io);
    });
    if (layer.dx.base) input_gradients(layer, shards, packed);
    RowPointers rows[2];
    for (int d = 0; d < layer.directions; ++d) rows[d] = row_pointers(layer, shards, d);
    weight_gradients(layer, rows);
    for (int d = 0; d < layer.directions; ++d)
        if (extra)
            extra_gradients(layer, d, reinterpret_cast<float*>(buffer.bytes()) + (std::size_t)(d * shards.each) * extra / sizeof(float),
                            extra / sizeof(float), shards.each);
    return true;
}

}  // namespace gatework::recurrent
