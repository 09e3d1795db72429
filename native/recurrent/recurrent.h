// Contract of the recurrent sequence kernels: whole ragged batches of float32 through one layer and direction.
//
//   rnn, rnn-relu     h' = f(W x + R h + b)
//   gru               r, z, n of cells/gru.py: reset after the recurrent product, biases b and rb
//   gru-reset-before  cells/gru_reset_before.py
//   lstm              cells/lstm.py, packed i f g o
//
// T time, B sequences, I inputs, H units, G = gates x H; H' is H rounded up to whole vectors. Row-major float32.
//
// |error| <= 4 eps sqrt(I + H) against float64 for weights of the usual size (rows of W and R of norm about 1).
// Each sequence's result has the same bits whatever else is in the batch, and on every run, at one level.
// No allocation, no exception, no global state: every function may run in several threads at once.
//
// Room for training: kernels that keep the gates and go back through time become further entries of `Kernels`, in a
// recurrent_train.inc.h that each level's file includes after recurrent.inc.h. `Packed` and `Schedule` serve them as
// they stand; R transposed is one more panel buffer.

#pragma once

#include <cstddef>
#include <cstdint>

namespace gatework::recurrent {

enum class CellKind { rnn, rnn_relu, gru, gru_reset_before, lstm };

struct CellInfo {
    CellKind kind;
    const char* name;
    int gates;
    bool has_memory;          // carries c beside h
    bool has_recurrent_bias;  // rb beside b
};

inline constexpr CellInfo kCells[] = {
    {CellKind::rnn, "rnn", 1, false, false},
    {CellKind::rnn_relu, "rnn-relu", 1, false, false},
    {CellKind::gru, "gru", 3, false, true},
    {CellKind::gru_reset_before, "gru-reset-before", 3, false, false},
    {CellKind::lstm, "lstm", 4, true, false},
};

// Weights as the cells name them: w (G, I), r (G, H), b (G), rb (G) or null.
struct Weights {
    const float* w;
    const float* r;
    const float* b;
    const float* rb;
};

// Weights regrouped for one level. Columns are grouped by vectors of units, all gates of the same units side by side, so
// that a step's new state is computed while its gates are still in registers. Buffers are 64-byte aligned.
struct Packed {
    CellInfo cell;
    std::int64_t inputs, units;
    float* w;   // panels of W, `packed_floats` says how many
    float* r;   // panels of R
    float* b;   // (gates x H'), in panel order
    float* rb;  // likewise; unused without a recurrent bias
};
struct PackedFloats {
    std::size_t w, r, b;
};

// Which sequences run when. Sequences are sorted by falling length, so those running at step s are the first
// running[s]; backwards, a sequence starts at its own end and the same sequences run.
struct Schedule {
    std::int64_t time, batch, steps;  // steps = longest length
    const std::int64_t* order;        // (batch): sequence of each sorted place
    const std::int64_t* lengths;      // (batch): by sorted place, falling
    const std::int64_t* running;      // (steps)
    bool reverse;
};

// Fill a schedule's arrays from the lengths in the caller's order; ties keep it. order and sorted hold `batch`, running
// `time`, cursor (scratch) `time` + 1 entries. Returns the longest length, or -1 where a length is below 0 or above `time`.
std::int64_t make_schedule(
    const std::int64_t* lengths, std::int64_t batch, std::int64_t time, std::int64_t* order, std::int64_t* sorted,
    std::int64_t* running, std::int64_t* cursor);

// x (T, B, I); y (T, B, H), zero past each length; h0, c0, h, c (B, H): states before and after, in the caller's order.
// c0 and c are null for cells without memory. y, h and c overlap nothing. `scratch` holds `scratch_floats`, aligned to 64.
struct Sequences {
    const float* x;
    const float* h0;
    const float* c0;
    float* y;
    float* h;
    float* c;
    float* scratch;
};

// One instruction-set level.
struct Kernels {
    const char* level;
    PackedFloats (*packed_floats)(CellInfo cell, std::int64_t inputs, std::int64_t units);
    void (*pack)(const Weights& weights, Packed& packed);
    std::size_t (*scratch_floats)(const Packed& packed, const Schedule& schedule);
    void (*forward)(const Packed& packed, const Schedule& schedule, const Sequences& sequences);
    // y[i] = f(x[i]); for tests of the approximations. f: 0 sigmoid, 1 tanh, 2 relu. n a multiple of 16.
    void (*activate)(int f, const float* x, float* y, std::int64_t n);
    // `rounds` x 12 independent vector multiply-adds in registers, and how many operations that was: a measure of the
    // machine's peak for benchmarks. The sum written to `out` keeps the work from being left out.
    std::int64_t (*multiply_adds)(std::int64_t rounds, float factor, float* out);
};

// Levels this processor can run, slowest first, and how many.
int level_count();
const Kernels& level(int index);

}  // namespace gatework::recurrent
