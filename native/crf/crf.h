// Contract of the linear-chain CRF kernels: whole ragged batches of float32 scores.
//
//   score(y) = start[y_0] + sum_t e[t, y_t] + sum_t transitions[y_t, y_t+1] + end[y_L-1]
//   nll(y)   = logZ - score(y),   logZ = log sum_y exp score(y)
//   d logZ / d e[t, k] = P(y_t = k),   d logZ / d transitions[i, j] = sum_t P(y_t = i, y_t+1 = j)
//
// Lafferty, McCallum and Pereira, ICML 2001; forward-backward and Viterbi as in Rabiner, Proc. IEEE 77(2), 1989.
// N-best: the parallel list Viterbi algorithm of Seshadri and Sundberg, IEEE Trans. Communications 42, 1994.
//
// K tags, B sequences, L a sequence's length, K' = K rounded up to whole vectors. Scores may be -inf: such a path has no
// weight at all. A sequence of length 0 has one path, of score 0. NaN and +inf in what a sequence reads give NaN for
// that sequence's results (and, through the sums, for the gradients of the transitions, of start and of end).
//
// Forward-backward works with numbers, not with logarithms: alpha is scaled by a power of two at each step, and the
// product with exp(transitions) is a matrix product for several sequences at once. That is accurate to
// float32 as long as no sum falls below kSmallest, for then all that underflow took away is less than a rounding error.
// Sums are watched; a sequence with one below (forbidden transitions meeting scores more than 60 apart) is done again by
// `exact`, in the log domain and in float64. A sequence's own results have the same bits whatever else is in the batch.
// Transition gradients are summed in parts that depend on the batch alone, never on threads.
//
// |error| of a marginal is at most 1e-5, and of nll 1e-6 (|logZ| + |score| + 1), for emissions up to 1e4 and L up to 5000.

#pragma once

#include <cstddef>
#include <cstdint>

namespace gatework::crf {

inline constexpr float kSmallest = 1e-27f;

// Where row t of sequence b begins, in elements from the array's first: time[t] + sequence[b]. Serves (T, B, K) of any
// strides, time-major packed rows, and sequences one after another.
struct Rows {
    const std::int64_t* time;
    const std::int64_t* sequence;

    std::int64_t at(std::int64_t t, std::int64_t b) const { return time[t] + sequence[b]; }
};

struct Model {
    std::int64_t tags;
    const float* transitions;  // (K, K), from row to column
    const float* start;        // (K)
    const float* end;          // (K)
};

// `order` lists the sequences by falling length, ties in the caller's order.
struct Batch {
    std::int64_t sequences;
    const std::int64_t* lengths;
    const std::int64_t* order;
    std::int64_t time;  // T where each sequence has T rows, and those past its length are to be zeros; else 0
    const float* emissions;
    Rows rows;
    const std::int64_t* gold;  // tags of the gold path, each in [0, K); null for logZ alone
    Rows gold_rows;
};

// nll (B): logZ - score of the gold path, or logZ without one. The rest may be null together: d_emissions is placed like
// the emissions and holds weight x (marginal - 1 at the gold tag), zeros past each length. weights (B) may be null for
// ones. d_transitions (K, K), d_start (K) and d_end (K) are sums over the batch, and 0 where the score is -inf.
struct Gradients {
    const float* weights;
    float* d_emissions;
    Rows rows;
    float* d_transitions;
    float* d_start;
    float* d_end;
};

// Along the gold path instead, placed like its tags: p[t] = P(y_t) and step[t] = P(y_t | y_t-1), step[0] = p[0]; a step from
// a tag of probability 0 is 0. Zeros past each length.
struct PathShares {
    float* p;
    float* step;
    Rows rows;
};

// What a level makes of a model, once a call. `floats` is 64-byte aligned, `prepared_floats` long.
struct Prepared {
    Model model;
    float* floats;
    float largest;     // subtracted from the transitions before exp
    float start, end;  // largest start and end score, likewise
    bool spoiled;      // a score of the model is NaN or +inf
};

struct Kernels {
    const char* level;
    int together;  // sequences done in step
    std::int64_t (*padded)(std::int64_t tags);
    std::size_t (*prepared_floats)(std::int64_t tags);
    std::size_t (*scratch_floats)(std::int64_t tags, std::int64_t longest);

    // Up to `together` sequences, order[first] onwards: nll, and with `gradients` d_emissions and the transitions' counts.
    // counts, (K rounded up to 4) x K' doubles, is added to: expected counts without their factor exp(transition).
    // With `path`, which excludes gradients, the path's shares.
    // inexact[i] becomes true for a sequence whose results must come from `exact`; it has added nothing to counts.
    void (*prepare)(Prepared& prepared);
    void (*forward_backward)(
        const Prepared& prepared, const Batch& batch, std::int64_t first, int count, float* nll,
        const Gradients* gradients, const PathShares* path, float* scratch, double* counts, bool* inexact);
    // The factor: counts[i, j] *= exp(transitions[i, j] - largest).
    void (*weigh)(const Prepared& prepared, double* counts);

    void (*prepare_viterbi)(Prepared& prepared);
    // The best path of each sequence and its score; of equal paths the one whose last tag is lowest, then the one before.
    // A sequence with NaN or +inf gets tags 0 and score NaN. Ahead of the sums the largest emission of a row and the
    // largest score of the step before are taken off, so that only differences are rounded: all levels agree in every bit.
    void (*viterbi)(
        const Prepared& prepared, const Batch& batch, std::int64_t first, int count, std::int64_t* tags, Rows tag_rows,
        float* scores, float* scratch);
};

int level_count();
const Kernels& level(int index);

// One sequence in the log domain, float64: logZ - score into *nll, d_emissions, and its expected counts added to
// counts (row length `stride`), weight included. `scratch` holds (L + 3) x K doubles. NaN where a score is NaN or +inf.
void exact(
    const Model& model, const Batch& batch, std::int64_t sequence, float* nll, const Gradients* gradients,
    const PathShares* path, double* counts, std::int64_t stride, double* scratch);

// Score of the gold path, float64.
double gold_score(const Model& model, const Batch& batch, std::int64_t sequence);

// As n_best below, one sequence.
void n_best_of(
    const Model& model, const Batch& batch, std::int64_t sequence, std::int64_t best, std::int64_t* tags, Rows tag_rows,
    std::int64_t path_stride, float* scores);

// Whole batches, in threads. These allocate and may throw std::bad_alloc.
void forward_backward(
    const Kernels& kernels, const Model& model, Batch batch, float* nll, const Gradients* gradients, const PathShares* path);
void viterbi(const Kernels& kernels, const Model& model, Batch batch, std::int64_t* tags, Rows tag_rows, float* scores);

// The `best` paths of highest score of each sequence, highest first, float64; ties as in Viterbi. Path n of a sequence
// goes to tags + n x path_stride; scores is (B, best). Fewer paths than `best`: the rest has score -inf and tags 0.
void n_best(
    const Model& model, Batch batch, std::int64_t best, std::int64_t* tags, Rows tag_rows, std::int64_t path_stride,
    float* scores);

}  // namespace gatework::crf
