// Contract of the recurrent kernels: whole ragged batches through one layer, forward and backward, all cells of
// gatework.cells, one or two directions at once. Products in float32, bfloat16 (float32 sums) or int8 (32-bit sums,
// inference); gates, memory, states and gradients in float32. Row-major arrays.
//
// T time, B sequences, I inputs, H units, P outputs (H without a projection), G = gates x H. H' and P' are H and P
// rounded up to kPad, what lies between is zero.
//
// float32: |error| <= 4 eps sqrt(I + H) against float64 for weights of the usual size (rows of W and R of norm about 1).
// Gates of bfloat16 and int8 answers (no tape, cell lstm): within 1e-4 of the value where a level has a shorter way.
// Each sequence's outputs have the same bits whatever else is in the batch, on every run and for any number of threads,
// at one level; so have gradients, except those of peepholes and of gains of layer normalisation, which depend on the
// number of threads.
// Nothing here throws but std::bad_alloc from `engine.cc`; there is no global state: calls may run in several threads.

#pragma once

#include <cstddef>
#include <cstdint>

namespace gatework::recurrent {

inline constexpr std::int64_t kPad = 16;
inline constexpr std::int64_t padded(std::int64_t n) { return (n + kPad - 1) / kPad * kPad; }

enum class CellKind {
    rnn, rnn_relu, gru, gru_reset_before, lstm, lstm_peephole, lstm_coupled, lstm_layernorm, lstm_projection
};
enum class Precision { float32, bfloat16, int8 };

// A step's numbers lie in slots of H' floats. W x is added to the slots from 0, R h to those from `r_first`; `w_gate` and
// `r_gate` say which gate of the caller's weights each slot holds. Kept for the way back: the gates after their
// activation, in place; the gradients before it overwrite them, in place.
struct CellInfo {
    CellKind kind;
    const char* name;
    int gates;
    int slots;
    int w_slots;
    int r_first, r_slots;
    int b_first;  // slot whose column sums are the gradient of b
    bool memory;  // carries c beside h
    bool recurrent_bias;
    int extras;  // further parameters: peepholes, gains, the projection
    std::int8_t w_gate[4], r_gate[4];
};

inline constexpr CellInfo kCells[] = {
    {CellKind::rnn, "rnn", 1, 1, 1, 0, 1, 0, false, false, 0, {0}, {0}},
    {CellKind::rnn_relu, "rnn-relu", 1, 1, 1, 0, 1, 0, false, false, 0, {0}, {0}},
    // slots n, r, z and R_n h + d_n: each product fills three neighbours
    {CellKind::gru, "gru", 3, 4, 3, 1, 3, 0, false, true, 0, {2, 0, 1}, {0, 1, 2}},
    {CellKind::gru_reset_before, "gru-reset-before", 3, 3, 3, 0, 2, 0, false, false, 0, {0, 1, 2}, {0, 1}},
    {CellKind::lstm, "lstm", 4, 4, 4, 0, 4, 0, true, false, 0, {0, 1, 2, 3}, {0, 1, 2, 3}},
    {CellKind::lstm_peephole, "lstm-peephole", 4, 4, 4, 0, 4, 0, true, false, 3, {0, 1, 2, 3}, {0, 1, 2, 3}},
    {CellKind::lstm_coupled, "lstm-coupled", 3, 3, 3, 0, 3, 0, true, false, 0, {0, 1, 2}, {0, 1, 2}},
    // slots W x, R h (both then normalised), and the gates
    {CellKind::lstm_layernorm, "lstm-layernorm", 4, 12, 4, 4, 4, 8, true, false, 4, {0, 1, 2, 3}, {0, 1, 2, 3}},
    {CellKind::lstm_projection, "lstm-projection", 4, 4, 4, 0, 4, 0, true, false, 1, {0, 1, 2, 3}, {0, 1, 2, 3}},
};

// Weights as the cells name them: w (G, I), r (G, P), b (G), rb (G) or null; extra: peepholes pi pf po (H), or gains gx gr
// (G), gc and bc (H), or the projection v (P, H).
struct Weights {
    const float* w;
    const float* r;
    const float* b;
    const float* rb;
    const float* extra[4];
};
struct WeightGradients {
    float* w;
    float* r;
    float* b;
    float* rb;
    float* extra[4];
};

// A matrix regrouped for products a -> a M: panels of `width` vectors of columns, each panel's depth running by. In a
// grouped matrix a panel's vectors are the same units of its slots, H' floats apart; else they are neighbours, and the last
// panel may have fewer. int8 columns have a scale each, and 128 x their sum is taken off (activations are shifted by 128).
struct Matrix {
    void* panels;
    std::int64_t depth;    // rows of M
    std::int64_t columns;  // of M, a multiple of kPad
    int group;             // slots of a grouped matrix, 0 for neighbours
    float* scale;
    std::int32_t* correction;
};

// One layer and direction. Backward matrices are null for inference.
struct Packed {
    CellInfo cell;
    Precision precision;
    std::int64_t inputs, units, outputs;
    Matrix w, r, rn, v;          // forward: rn is R of gru-reset-before's candidate, v the projection
    Matrix wt, rt, rnt, vt;      // transposed, for the way back
    float* b;                    // (w_slots x H'), as its slots
    float* rb;                   // (r_slots x H')
    float* extra[4];             // vectors in slots of H'
};
// Bytes `pack` needs, and where it puts things; buffers are 64-byte aligned.
std::size_t packed_bytes(const CellInfo& cell, Precision precision, std::int64_t inputs, std::int64_t units,
                         std::int64_t outputs, bool backward);
void place_packed(Packed& packed, bool backward, char* buffer);

inline constexpr std::int64_t pack_work(std::int64_t inputs, std::int64_t units, std::int64_t outputs) {
    const std::int64_t most = inputs > 4 * padded(units) ? inputs : 4 * padded(units);
    return (padded(most > outputs ? most : outputs) + 1) * kPad;
}

// Which sequences run when. Sequences are sorted by falling length, so those running at step s are the first
// running[s]; backwards, a sequence starts at its own end and the same sequences run. Row first_row[s] + place is
// sequence `place`'s step s.
struct Schedule {
    std::int64_t batch, steps, rows;  // steps = longest length, rows = sum of the lengths
    const std::int64_t* order;        // (batch): sequence of each sorted place
    const std::int64_t* lengths;      // (batch): by sorted place, falling
    const std::int64_t* running;      // (steps)
    const std::int64_t* first_row;    // (steps + 1)
    bool reverse;

    std::int64_t time(std::int64_t place, std::int64_t step) const { return reverse ? lengths[place] - 1 - step : step; }
};

// Rows of an array over time and sequences: row (t, b) begins at base + at[t] + b x stride. Both a (T, B, width) array
// with any strides and the rows of a PackedSequence are like that.
template <class T>
struct Rows {
    T* base;
    const std::int64_t* at;
    std::int64_t stride;

    T* row(std::int64_t t, std::int64_t b) const { return base + at[t] + b * stride; }
};

// What a pass over one direction and some of the sequences reads and writes. States h (B, P) and c (B, H) are in the
// caller's order. `mask` (B, P) multiplies h where it meets R; keep_h and keep_c: 1 where a unit keeps its old value.
struct Forward {
    Rows<const float> x;
    Rows<float> y;
    const float *h0, *c0;
    float *h, *c;
    const float* mask;
    Rows<const std::uint8_t> keep_h, keep_c;  // base null without
    float* tape;                              // null for inference
    char* scratch;                            // forward_scratch bytes
    bool projected;                           // x holds rows of W x + b in slots, (w_slots x H')
};
struct Backward {
    Rows<const float> dy;  // base null for zeros
    const float *dh, *dc;  // of the last state; null for zeros
    float *dh0, *dc0;
    const float* mask;
    Rows<const std::uint8_t> keep_h, keep_c;
    float* tape;
    float* extra;  // (extra_floats): sums for the gradients of peepholes and gains, zero before
    char* scratch;
};

// Places of the arrays in a tape of some rows and sequences, in floats.
struct Tape {
    std::int64_t z;       // (rows, slots x H')
    std::int64_t c;       // (batch + rows, H'): the start, then each step's
    std::int64_t h;       // (batch + rows, P')
    std::int64_t masked;  // (batch + rows, P'): mask x h; the same place as h without a mask
    std::int64_t u;       // (rows, H'): h before the projection; reset x h of gru-reset-before
    std::int64_t dp;      // (rows, P'): gradient of the projection's result
    std::int64_t stats;   // (rows, kPad): statistics of layer normalisation
    std::int64_t floats;
};
Tape tape_layout(const CellInfo& cell, std::int64_t units, std::int64_t outputs, std::int64_t rows, std::int64_t batch,
                 bool masked);
// Floats of `Backward::extra`.
inline constexpr std::int64_t extra_floats(const CellInfo& cell, std::int64_t units) {
    return cell.kind == CellKind::lstm_peephole ? 3 * padded(units) : cell.kind == CellKind::lstm_layernorm ? 10 * padded(units) : 0;
}

// A product of the gradient of some columns of z with what the layer multiplied by them, summed over rows:
// out[gate(column)][k] = sum over rows of z[row][column] a[row][k].
struct Outer {
    const float* const* a;  // each row's operand, `depth` floats
    std::int64_t depth;
    const float* const* z;  // each row's columns, in panels of 64 from `column`
    std::int64_t rows, column, panels;
    float* sums;     // (panels, depth, 64) added to
    float* columns;  // (panels, 64) added to: the column sums; null where not wanted
    char* scratch;   // outer_scratch bytes
};

// One step of a layer for a few sequences.
struct SingleStep {
    std::int64_t rows;
    const float* const* x;  // rows of I inputs, or where `projected` of W x + b in slots, (w_slots x H')
    const std::uint16_t* const* halves;  // the same as bfloat16, projected; null for x
    bool projected;
    const float* h_old;        // (rows, P')
    float* h;                  // (rows, P'), another array
    float* c;                  // (rows, H'), in place
    char* scratch;             // `scratch` bytes
    const Matrix* wide;        // R as stored in 8 bits, used for all units at once instead of packed.r; null for packed.r
};
// `begin`, then `units` for every range of units (in any order, on any thread), then `end`. A range is all the units
// 0 to H', or its bounds and H' are multiples of 4 x lanes.
struct StepKernels {
    std::size_t (*scratch)(const Packed& packed, std::int64_t rows);
    void (*begin)(const Packed& packed, const SingleStep& io);
    void (*units)(const Packed& packed, const SingleStep& io, std::int64_t first, std::int64_t last);
    void (*end)(const Packed& packed, const SingleStep& io);
    // Rows of W x + b in slots, as `projected` takes them, or W x added to `out`; scratch as for as many rows.
    void (*project)(const Packed& packed, const float* const* x, std::int64_t rows, bool add, float* out, char* scratch);
    // R = levels x scales, row by row, (r gates x H, P) and (r gates x H): weights that were stored as 8 bits. Products with
    // h in 24 bits: as near to the truth as float32, for a quarter of the memory that passes by.
    std::size_t (*wide_bytes)(const Packed& packed);
    void (*pack_wide)(const Packed& packed, const std::int8_t* levels, const float* scales, char* buffer, Matrix& wide);
};

// One instruction-set level.
struct Kernels {
    const char* level;
    int lanes;
    // Part `part` of `parts` of the packing; work holds pack_work floats.
    void (*pack)(const Weights& weights, Packed& packed, bool backward, int part, int parts, float* work);
    // Some units of a layer of W x + b alone (an rnn without outputs, see product.h) as such a layer, with the same bits; `to`
    // is placed for as many units and of the same precision.
    void (*take)(const Packed& from, const std::int32_t* units, Packed& to);
    std::size_t (*forward_scratch)(const Packed& packed, const Schedule& schedule, bool tape);
    void (*forward)(const Packed& packed, const Schedule& schedule, const Forward& io);
    std::size_t (*backward_scratch)(const Packed& packed, const Schedule& schedule);
    void (*backward)(const Packed& packed, const Schedule& schedule, const Backward& io);
    // dx[row] = (add ? dx[row] : 0) + z[row] W of rows first to last - 1
    std::size_t (*input_gradient_scratch)(const Packed& packed);
    void (*input_gradient)(const Packed& packed, const float* z, float* const* dx, std::int64_t first, std::int64_t last,
                           bool add, char* scratch);
    std::size_t (*outer_scratch)(Precision precision, std::int64_t depth);
    void (*outer)(Precision precision, const Outer& outer);
    // `columns` of a panel's sums, from `sums` on, as rows of weights: weights[l][k] = sums[k][l], k < depth, l < columns.
    void (*outer_rows)(const float* sums, std::int64_t depth, std::int64_t columns, float* weights);
    // y[i] = f(x[i]); for tests of the approximations. f: 0 sigmoid, 1 tanh, 2 relu. n a multiple of 16.
    void (*activate)(int f, const float* x, float* y, std::int64_t n);
    // `rounds` x 12 independent vector multiply-adds in registers, and how many operations that was: a measure of the
    // machine's peak for benchmarks. The sum written to `out` keeps the work from being left out.
    std::int64_t (*multiply_adds)(std::int64_t rounds, float factor, float* out);
    StepKernels step;
};

// Levels this processor can run, slowest first, and how many.
int level_count();
const Kernels& level(int index);

}  // namespace gatework::recurrent
