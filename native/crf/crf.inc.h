// The CRF kernels, once for all levels. A level's file defines GATEWORK_LEVEL_NAME, GATEWORK_LANES (floats a vector),
// GATEWORK_PANEL (most vectors of a panel), GATEWORK_SUMS (most vectors of sums in registers), GATEWORK_TOGETHER (sequences
// in step) and perhaps GATEWORK_PLAIN, includes this, and is compiled with the flags of its instruction set. As in
// recurrent.inc.h, everything is in the level's namespace and no templates of the standard library are used.
//
// Sequences of about the same length go in step, so that a row of exp(transitions), once loaded, serves all of them.
// Each keeps a tape of two rows a step, K' long:
//   x   exp(e - largest e of the row); later x * beta
//   a   alpha, scaled;                 later alpha / P(sequence), so that counts = sum_t a[t]^T x[t + 1]

#include <float.h>
#include <math.h>

#include <cstdint>
#include <cstring>

#include "crf/crf.h"
#include "level.h"

namespace gatework::crf {
namespace GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME) {

#include "recurrent/vector.h"

constexpr int kPanel = GATEWORK_PANEL;
constexpr int kTogether = GATEWORK_TOGETHER;
constexpr int kMostSums = GATEWORK_SUMS;
constexpr std::int64_t kMostHeld = 256;  // steps whose counts are added up in float32
constexpr float kNever = -HUGE_VALF;

static std::int64_t round_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }
static std::int64_t padded(std::int64_t tags) { return round_up(tags, kLanes); }

// ------------------------------------------------------------------------------------------------- small vector tools

#ifndef GATEWORK_PLAIN

#if defined(__clang__) || __GNUC__ >= 12
#define GATEWORK_SHUFFLE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define GATEWORK_SHUFFLE(v, ...) __builtin_shuffle(v, Int{__VA_ARGS__})
#endif

// `op` over all lanes: halves exchange places until every lane holds it.
template <class Op>
static GATEWORK_INLINE float fold(Vec v, Op op) {
#if GATEWORK_LANES == 16
    v = op(v, GATEWORK_SHUFFLE(v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = op(v, GATEWORK_SHUFFLE(v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    v = op(v, GATEWORK_SHUFFLE(v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    v = op(v, GATEWORK_SHUFFLE(v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
#elif GATEWORK_LANES == 8
    v = op(v, GATEWORK_SHUFFLE(v, 4, 5, 6, 7, 0, 1, 2, 3));
    v = op(v, GATEWORK_SHUFFLE(v, 2, 3, 0, 1, 6, 7, 4, 5));
    v = op(v, GATEWORK_SHUFFLE(v, 1, 0, 3, 2, 5, 4, 7, 6));
#else
    v = op(v, GATEWORK_SHUFFLE(v, 2, 3, 0, 1));
    v = op(v, GATEWORK_SHUFFLE(v, 1, 0, 3, 2));
#endif
    return v[0];
}
static GATEWORK_INLINE Vec zero_where_below(Vec x, float limit, Vec y) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    return (Vec)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(limit), _CMP_NLT_UQ), (__m512)y);
#else
    return (Vec)((Int)y & ~(Int)(x < limit));
#endif
}

#else

template <class Op>
static inline float fold(Vec v, Op op) {
    for (int half = kLanes / 2; half > 0; half /= 2) {
        Vec other = v;
        for (int l = 0; l < half; ++l) other.v[l] = v.v[l + half];
        v = op(v, other);
    }
    return v.v[0];
}
static inline Vec zero_where_below(Vec x, float limit, Vec y) {
    GATEWORK_EACH if (x.v[l] < limit) y.v[l] = 0.0f;
    return y;
}

#endif

struct Larger {
    GATEWORK_INLINE Vec operator()(Vec a, Vec b) const { return larger(a, b); }
};
struct Smaller {
    GATEWORK_INLINE Vec operator()(Vec a, Vec b) const { return smaller(a, b); }
};
struct Plus {
    GATEWORK_INLINE Vec operator()(Vec a, Vec b) const { return a + b; }
};

// exp(x) for x at most 0, 0 below -87; NaN in, NaN out.
static GATEWORK_INLINE Vec exp_or_zero(Vec x) {
    const Exp e = exp_parts(larger(constant(-87.0f), x));
    return zero_where_below(x, -87.0f, e.scale + e.scale * e.p);
}

// The first `n` lanes from memory, the rest `fill`; and the first `n` lanes to memory.
#if defined(__AVX512F__) && GATEWORK_LANES == 16
static GATEWORK_INLINE Vec load_part(const float* p, std::int64_t n, float fill) {
    return (Vec)_mm512_mask_loadu_ps(_mm512_set1_ps(fill), (__mmask16)((1u << n) - 1u), p);
}
static GATEWORK_INLINE void store_part(float* p, std::int64_t n, Vec v) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
}
#else
static inline Vec load_part(const float* p, std::int64_t n, float fill) {
    float lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = l < n ? p[l] : fill;
    return load(lanes);
}
static inline void store_part(float* p, std::int64_t n, Vec v) {
    float lanes[kLanes];
    store(lanes, v);
    for (int l = 0; l < n; ++l) p[l] = lanes[l];
}
#endif

// Place of the first lane equal to `value` among `n` floats, vectors of which `at(column)` gives; one is.
template <class At>
static GATEWORK_INLINE std::int64_t first_equal(const At& at, std::int64_t n, float value) {
    for (std::int64_t column = 0; column < n; column += kLanes) {
        const Vec v = at(column);
#if defined(__AVX512F__) && GATEWORK_LANES == 16
        const unsigned mask = _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(value), _CMP_EQ_OQ);
        if (mask) return column + __builtin_ctz(mask);
#elif defined(__AVX2__) && GATEWORK_LANES == 8
        const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_set1_ps(value), _CMP_EQ_OQ));
        if (mask) return column + __builtin_ctz(mask);
#else
        float lanes[kLanes];
        store(lanes, v);
        for (int l = 0; l < kLanes; ++l)
            if (lanes[l] == value) return column + l;
#endif
    }
    return 0;
}

// Vectors of a row of K floats: whole ones, and a last one filled up.
template <class Body>
static GATEWORK_INLINE void for_row(const float* row, std::int64_t tags, float fill, const Body& body) {
    std::int64_t column = 0;
    for (; column + kLanes <= tags; column += kLanes) body(column, load(row + column));
    if (column < tags) body(column, load_part(row + column, tags - column, fill));
}

static float largest_or_zero(const float* row, std::int64_t tags) {
    Vec top = constant(kNever);
    for_row(row, tags, kNever, [&](std::int64_t, Vec e) { top = larger(e, top); });
    const float largest = fold(top, Larger());
    return largest == kNever ? 0.0f : largest;
}

// NaN where a score is NaN or +inf, else 0.
static float spoilt(const float* scores, std::int64_t n) {
    Vec sum = constant(0.0f);
    for_row(scores, n, 0.0f, [&](std::int64_t, Vec e) { sum += larger(constant(-FLT_MAX), e) * 0.0f; });
    return fold(sum, Plus());
}

// ---------------------------------------------------------------------------------------------------- the products
//
// A panel is up to kPanel vectors wide and K deep: for each k of K, its vectors side by side; panels follow one another.
// Panels are filled from rows (K, K').

static void fill_panels(const float* rows, std::int64_t tags, float* panels) {
    const std::int64_t columns = padded(tags), widest = kPanel * kLanes;
    for (std::int64_t column = 0; column < columns; column += widest) {
        const std::int64_t wide = columns - column < widest ? columns - column : widest;
        for (std::int64_t k = 0; k < tags; ++k, panels += wide)
            std::memcpy(panels, rows + k * columns + column, sizeof(float) * (std::size_t)wide);
    }
}

// Rows (K, K') of the transpose of such rows; both are padded with `fill`.
static void transpose(const float* rows, std::int64_t tags, float fill, float* out) {
    const std::int64_t columns = padded(tags);
    for (std::int64_t j = 0; j < tags; ++j, out += columns) {
        for (std::int64_t i = 0; i < tags; ++i) out[i] = rows[i * columns + j];
        for (std::int64_t i = tags; i < columns; ++i) out[i] = fill;
    }
}

// out[m] = panel^T in[m] in two ways: sums of products, and largest of sums.
struct SumOfProducts {
    static constexpr float kStart = 0.0f;
    static GATEWORK_INLINE Vec join(Vec sum, Vec weight, float value) { return sum + weight * value; }
};
struct LargestOfSums {
    static constexpr float kStart = kNever;
    static GATEWORK_INLINE Vec join(Vec best, Vec weight, float value) { return larger(weight + value, best); }
};

template <class Join, int M, int V>
static GATEWORK_INLINE void panel_product(
    const float* panel, std::int64_t depth, const float* const* in, std::int64_t column, float* const* out) {
    Vec sum[M][V];
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v) sum[m][v] = constant(Join::kStart);
    for (std::int64_t k = 0; k < depth; ++k, panel += V * kLanes)
        for (int v = 0; v < V; ++v) {
            const Vec weight = load(panel + v * kLanes);
            for (int m = 0; m < M; ++m) sum[m][v] = Join::join(sum[m][v], weight, in[m][k]);
        }
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v) store(out[m] + column + v * kLanes, sum[m][v]);
}

// Calls body.template run<N>() for the N given at run time, 1 to Most.
template <int Most, class Body>
static GATEWORK_INLINE void with_count(std::int64_t n, const Body& body) {
    if constexpr (Most > 1) {
        if (n < Most) return with_count<Most - 1>(n, body);
    }
    body.template run<Most>();
}

template <class Join, int M>
struct PanelProduct {
    const float* panel;
    std::int64_t depth;
    const float* const* in;
    std::int64_t column;
    float* const* out;

    template <int V>
    GATEWORK_INLINE void run() const {
        if constexpr (M * V > kMostSums) {
            panel_product<Join, M / 2, V>(panel, depth, in, column, out);
            panel_product<Join, M - M / 2, V>(panel, depth, in + M / 2, column, out + M / 2);
        } else {
            panel_product<Join, M, V>(panel, depth, in, column, out);
        }
    }
};

template <class Join>
struct Product {
    const float* panels;
    std::int64_t depth;
    const float* const* in;
    float* const* out;

    template <int M>
    GATEWORK_INLINE void run() const {
        const std::int64_t columns = padded(depth);
        for (std::int64_t column = 0; column < columns; column += kPanel * kLanes)
            with_count<kPanel>(
                (columns - column) / kLanes, PanelProduct<Join, M>{panels + column * depth, depth, in, column, out});
    }
};

template <class Join>
static void product(const float* panels, std::int64_t depth, int sequences, const float* const* in, float* const* out) {
    with_count<kTogether>(sequences, Product<Join>{panels, depth, in, out});
}

// ------------------------------------------------------------------------------------------------ forward-backward

// Parts of Prepared::floats. Tags no transition leads to (or from) have sums of 0 rightly: 1 is added where sums are
// watched, as it is to padding.
struct Weights {
    float *forward, *backward;  // panels of exp(transitions - largest), and of its transpose
    float *start, *end;         // exp(start - largest start), exp(end - largest end), (K')
    float *unreached, *unleft;  // 0, or 1 for tags whose sums are not watched, (K')
    float *rows, *turned;       // exp(transitions - largest) and its transpose, (K, K')

    Weights(float* floats, std::int64_t tags) {
        const std::int64_t columns = padded(tags);
        forward = floats;
        backward = forward + tags * columns;
        start = backward + tags * columns;
        end = start + columns;
        unreached = end + columns;
        unleft = unreached + columns;
        rows = unleft + columns;
        turned = rows + tags * columns;
    }
};

static std::size_t prepared_floats(std::int64_t tags) { return (std::size_t)(4 * (tags + 1) * padded(tags)); }

static void prepare(Prepared& prepared) {
    const Model& model = prepared.model;
    const std::int64_t tags = model.tags, columns = padded(tags);
    const Weights w(prepared.floats, tags);
    prepared.largest = largest_or_zero(model.transitions, tags * tags);
    prepared.start = largest_or_zero(model.start, tags);
    prepared.end = largest_or_zero(model.end, tags);
    for_row(model.start, tags, kNever, [&](std::int64_t k, Vec s) { store(w.start + k, exp_or_zero(s - prepared.start)); });
    for_row(model.end, tags, kNever, [&](std::int64_t k, Vec s) { store(w.end + k, exp_or_zero(s - prepared.end)); });
    for (std::int64_t k = 0; k < columns; ++k) w.unreached[k] = w.unleft[k] = 1.0f;
    for (std::int64_t i = 0; i < tags; ++i) {
        const float* row = model.transitions + i * tags;
        float* out = w.rows + i * columns;
        for_row(row, tags, kNever, [&](std::int64_t j, Vec a) { store(out + j, exp_or_zero(a - prepared.largest)); });
        for (std::int64_t j = 0; j < tags; ++j)
            if (row[j] != kNever) w.unreached[j] = w.unleft[i] = 0.0f;
    }
    transpose(w.rows, tags, 0.0f, w.turned);
    fill_panels(w.rows, tags, w.forward);
    fill_panels(w.turned, tags, w.backward);
}

// 2^-n for a number in [2^n, 2^(n+1)).
struct Scale {
    float factor;
    int exponent;
};
static GATEWORK_INLINE Scale scale_of(float largest) {
    std::int32_t bits;
    std::memcpy(&bits, &largest, sizeof bits);
    int biased = (bits >> 23) & 255;
    biased = biased < 1 ? 1 : biased > 253 ? 253 : biased;
    bits = (254 - biased) << 23;
    Scale scale;
    std::memcpy(&scale.factor, &bits, sizeof bits);
    scale.exponent = biased - 127;
    return scale;
}

// Sequences in step.
struct Group {
    std::int64_t tags, columns;
    int count;
    std::int64_t sequence[kTogether], length[kTogether];
    float *a[kTogether], *x[kTogether];  // tapes
    float* sum[kTogether];               // a product's result
    Vec low[kTogether];                  // least watched sums
    float least[kTogether];
    Scale scale[kTogether];
    double shift[kTogether];             // what logZ has beyond the log of the scaled sum

    // How many are longer than t; they are the first.
    int running(std::int64_t t) const {
        int n = count;
        while (n > 0 && length[n - 1] <= t) --n;
        return n;
    }
};

static std::size_t sums_floats(std::int64_t tags) { return (std::size_t)(round_up(tags, 4) * padded(tags)); }
static std::size_t scratch_floats(std::int64_t tags, std::int64_t longest) {
    return (std::size_t)(padded(tags) * (2 * longest + 1) * kTogether) + sums_floats(tags);
}

static Group make_group(std::int64_t tags, const Batch& batch, std::int64_t first, int count, float* scratch) {
    Group g;
    g.tags = tags;
    g.columns = padded(tags);
    g.count = count;
    for (int m = 0; m < count; ++m) {
        g.sequence[m] = batch.order[first + m];
        g.length[m] = batch.lengths[g.sequence[m]];
        g.sum[m] = scratch;
        g.a[m] = scratch + g.columns;
        g.x[m] = g.a[m] + g.length[m] * g.columns;
        scratch = g.x[m] + g.length[m] * g.columns;
        g.low[m] = constant(1.0f);
        g.least[m] = 1.0f;
        g.shift[m] = 0.0;
    }
    return g;
}

// x = exp(e - largest) of every row of a sequence.
static void exponentiate(Group& g, int m, const Batch& batch) {
    double shift = 0.0;
    for (std::int64_t t = 0; t < g.length[m]; ++t) {
        const float* e = batch.emissions + batch.rows.at(t, g.sequence[m]);
        float* x = g.x[m] + t * g.columns;
        const float largest = largest_or_zero(e, g.tags);
        for_row(e, g.tags, kNever, [&](std::int64_t k, Vec v) { store(x + k, exp_or_zero(v - largest)); });
        shift += (double)largest;
    }
    g.shift[m] = shift;
}

// After `sum` of step t: a[t] = scale * sum * x, the scale of the next step, and the watch on the sums.
static GATEWORK_INLINE void end_forward(
    Group& g, int m, std::int64_t t, const float* sum, const float* unwatched, bool watch) {
    const std::int64_t row = t * g.columns;
    const float factor = watch ? g.scale[m].factor : 1.0f;
    Vec top = constant(0.0f), low = g.low[m];
    for (std::int64_t k = 0; k < g.columns; k += kLanes) {
        const Vec s = load(sum + k);
        if (watch) low = smaller(s + load(unwatched + k), low);
        const Vec a = (s * factor) * load(g.x[m] + row + k);
        store(g.a[m] + row + k, a);
        top = larger(a, top);
    }
    g.low[m] = low;
    if (watch) g.shift[m] += (double)g.scale[m].exponent * 0.693147180559945309;
    g.scale[m] = scale_of(fold(top, Larger()));
}

static GATEWORK_INLINE float dot(const float* a, const float* b, std::int64_t n) {
    Vec sum = constant(0.0f);
    for (std::int64_t k = 0; k < n; k += kLanes) sum += load(a + k) * load(b + k);
    return fold(sum, Plus());
}

// After `sum` of step t, which is beta: marginals out, x becomes x * beta, a becomes weight * a / P.
static GATEWORK_INLINE void end_backward(
    Group& g, int m, std::int64_t t, const float* beta, const float* unwatched, bool watch, float weight, float* d_row) {
    float *a = g.a[m] + t * g.columns, *x = g.x[m] + t * g.columns, *joint = g.sum[m];
    const float factor = watch ? g.scale[m].factor : 1.0f;
    Vec top = constant(0.0f), total = constant(0.0f), low = g.low[m];
    for (std::int64_t k = 0; k < g.columns; k += kLanes) {
        const Vec s = load(beta + k);
        if (watch) low = smaller(s + load(unwatched + k), low);
        const Vec b = s * factor, ab = load(a + k) * b, xb = load(x + k) * b;
        store(joint + k, ab);
        store(x + k, xb);
        total += ab;
        top = larger(xb, top);
    }
    const float all = fold(total, Plus());
    if (all < g.least[m]) g.least[m] = all;
    g.low[m] = low;
    g.scale[m] = scale_of(fold(top, Larger()));
    const float share = weight / all, count = share * factor;
    std::int64_t k = 0;
    for (; k + kLanes <= g.tags; k += kLanes) {
        store(d_row + k, load(joint + k) * share);
        store(a + k, load(a + k) * count);
    }
    if (k < g.tags) {
        store_part(d_row + k, g.tags - k, load(joint + k) * share);
        store(a + k, load(a + k) * count);
    }
}

// counts += sum over some steps of a[t]^T x[t + 1], a tile of R rows x V vectors in registers at a time.
template <int R, int V>
static GATEWORK_INLINE void count_tile(
    const float* a, const float* x, std::int64_t steps, std::int64_t columns, float* counts) {
    Vec sum[R][V];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) sum[r][v] = load(counts + r * columns + v * kLanes);
    for (std::int64_t t = 0; t < steps; ++t, a += columns, x += columns)
        for (int v = 0; v < V; ++v) {
            const Vec next = load(x + v * kLanes);
            for (int r = 0; r < R; ++r) sum[r][v] = sum[r][v] + next * a[r];
        }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) store(counts + r * columns + v * kLanes, sum[r][v]);
}

struct CountPanel {
    const float *a, *x;
    std::int64_t steps, tags, columns, column;
    float* counts;

    template <int V>
    GATEWORK_INLINE void run() const {
        // Rows up to the next multiple of 4 are there, of zeros.
        std::int64_t i = 0;
        if constexpr (8 * V <= kMostSums)
            for (; i + 4 < tags; i += 8)
                count_tile<8, V>(a + i, x + column, steps, columns, counts + i * columns + column);
        for (; i < tags; i += 4)
            count_tile<4, V>(a + i, x + column, steps, columns, counts + i * columns + column);
    }
};

// Adds the float32 sums to the float64 ones and clears them.
static void add_up(float* sums, std::int64_t n, double* counts) {
    for (std::int64_t k = 0; k < n; ++k) counts[k] += (double)sums[k];
    std::memset(sums, 0, sizeof(float) * (std::size_t)n);
}

// Steps are taken in pieces that stay in the first-level cache, and their sums moved to float64 before they grow long.
static void count_moves(const Group& g, const bool* leave_out, float* sums, double* counts) {
    const std::int64_t size = round_up(g.tags, 4) * g.columns;
    const std::int64_t piece = 4096 / g.columns > 8 ? 4096 / g.columns : 8;
    std::int64_t held = 0;
    std::memset(sums, 0, sizeof(float) * (std::size_t)size);
    for (int m = 0; m < g.count; ++m)
        for (std::int64_t t = 0; !leave_out[m] && t + 1 < g.length[m]; t += piece) {
            const std::int64_t left = g.length[m] - 1 - t, steps = left < piece ? left : piece;
            const float *a = g.a[m] + t * g.columns, *x = g.x[m] + (t + 1) * g.columns;
            for (std::int64_t column = 0; column < g.columns; column += kPanel * kLanes)
                with_count<kPanel>((g.columns - column) / kLanes, CountPanel{a, x, steps, g.tags, g.columns, column, sums});
            held += steps;
            if (held >= kMostHeld) add_up(sums, size, counts), held = 0;
        }
    if (held) add_up(sums, size, counts);
}

// After step t of a sequence: the share of its tag there, and of the move from it.
static GATEWORK_INLINE void follow(
    const Group& g, int m, std::int64_t t, const Batch& batch, const float* rows, const float* d_row,
    const PathShares& path) {
    const std::int64_t b = g.sequence[m], tag = batch.gold[batch.gold_rows.at(t, b)];
    const float p = d_row[tag];
    path.p[path.rows.at(t, b)] = p > 1.0f ? 1.0f : p;
    if (t == 0) path.step[path.rows.at(0, b)] = path.p[path.rows.at(0, b)];
    if (t + 1 >= g.length[m]) return;
    const std::int64_t next = batch.gold[batch.gold_rows.at(t + 1, b)];
    const float both = g.a[m][t * g.columns + tag] * rows[tag * g.columns + next] * g.x[m][(t + 1) * g.columns + next];
    const float step = p > 0.0f ? both / p : 0.0f * p;
    path.step[path.rows.at(t + 1, b)] = step > 1.0f ? 1.0f : step;
}

static void forward_backward(
    const Prepared& prepared, const Batch& batch, std::int64_t first, int count, float* nll, const Gradients* gradients,
    const PathShares* path, float* scratch, double* counts, bool* inexact) {
    const Model& model = prepared.model;
    const Weights w(prepared.floats, model.tags);
    Group g = make_group(model.tags, batch, first, count, scratch);
    const std::int64_t columns = g.columns;
    const float* in[kTogether];

    for (int m = 0; m < count; ++m) {
        exponentiate(g, m, batch);
        if (g.length[m] > 0) end_forward(g, m, 0, w.start, nullptr, false);
    }
    for (std::int64_t t = 1; t < g.length[0]; ++t) {
        const int running = g.running(t);
        for (int m = 0; m < running; ++m) in[m] = g.a[m] + (t - 1) * columns;
        product<SumOfProducts>(w.forward, model.tags, running, in, g.sum);
        for (int m = 0; m < running; ++m) end_forward(g, m, t, g.sum[m], w.unreached, true);
    }
    for (int m = 0; m < count; ++m) {
        const std::int64_t length = g.length[m];
        double log_z = 0.0;
        if (length > 0) {
            const float last = dot(g.a[m] + (length - 1) * columns, w.end, columns);
            g.least[m] = last;
            log_z = log((double)last) + g.shift[m] + (double)prepared.start + (double)prepared.end +
                    (double)(length - 1) * (double)prepared.largest;
        }
        nll[g.sequence[m]] = (float)(batch.gold ? log_z - gold_score(model, batch, g.sequence[m]) : log_z);
    }
    if (gradients || path) {
        for (std::int64_t t = g.length[0] - 1; t >= 0; --t) {
            const int running = g.running(t), going_on = g.running(t + 1);
            for (int m = 0; m < going_on; ++m) in[m] = g.x[m] + (t + 1) * columns;
            if (going_on) product<SumOfProducts>(w.backward, model.tags, going_on, in, g.sum);
            for (int m = 0; m < running; ++m) {
                const std::int64_t b = g.sequence[m];
                const float weight = gradients && gradients->weights ? gradients->weights[b] : 1.0f;
                float* d_row = path ? g.sum[m] : gradients->d_emissions + gradients->rows.at(t, b);
                if (m < going_on)
                    end_backward(g, m, t, g.sum[m], w.unleft, true, weight, d_row);
                else
                    end_backward(g, m, t, w.end, nullptr, false, weight, d_row);
                if (path)
                    follow(g, m, t, batch, w.rows, d_row, *path);
                else if (batch.gold)
                    d_row[batch.gold[batch.gold_rows.at(t, b)]] -= weight;
            }
        }
    }
    for (int m = 0; m < count; ++m)
        inexact[m] = g.length[m] > 0 && (g.least[m] < kSmallest || fold(g.low[m], Smaller()) < kSmallest);
    if (gradients)
        count_moves(g, inexact, scratch + (scratch_floats(model.tags, g.length[0]) - sums_floats(model.tags)), counts);
}

static void weigh(const Prepared& prepared, double* counts) {
    const std::int64_t tags = prepared.model.tags, size = tags * padded(tags);
    const float* rows = Weights(prepared.floats, tags).rows;
    for (std::int64_t n = 0; n < size; ++n) counts[n] *= (double)rows[n];
}

// --------------------------------------------------------------------------------------------------------- Viterbi

// Prepared::floats: panels of the transitions, the rows of their transpose (K, K'), start and end (K'), and the rows. All
// are padded with -inf.
struct Scores {
    float *panels, *transposed, *start, *end, *rows;

    Scores(float* floats, std::int64_t tags) {
        const std::int64_t columns = padded(tags);
        panels = floats;
        transposed = panels + tags * columns;
        start = transposed + tags * columns;
        end = start + columns;
        rows = end + columns;
    }
};

static void prepare_viterbi(Prepared& prepared) {
    const Model& model = prepared.model;
    const std::int64_t tags = model.tags, columns = padded(tags);
    const Scores w(prepared.floats, tags);
    const float spoil = spoilt(model.transitions, tags * tags) + spoilt(model.start, tags) + spoilt(model.end, tags);
    prepared.spoiled = spoil != spoil;
    for_row(model.start, tags, kNever, [&](std::int64_t k, Vec s) { store(w.start + k, s); });
    for_row(model.end, tags, kNever, [&](std::int64_t k, Vec s) { store(w.end + k, s); });
    for (std::int64_t i = 0; i < tags; ++i)
        for_row(model.transitions + i * tags, tags, kNever, [&](std::int64_t j, Vec a) {
            store(w.rows + i * columns + j, a);
        });
    transpose(w.rows, tags, kNever, w.transposed);
    fill_panels(w.rows, tags, w.panels);
}

// The tape keeps e - largest e of each row, then the scores.
static bool shift_emissions(Group& g, int m, const Batch& batch) {
    Vec spoil = constant(0.0f);
    for (std::int64_t t = 0; t < g.length[m]; ++t) {
        const float* e = batch.emissions + batch.rows.at(t, g.sequence[m]);
        float* x = g.a[m] + t * g.columns;
        const float largest = largest_or_zero(e, g.tags);
        for_row(e, g.tags, kNever, [&](std::int64_t k, Vec v) {
            spoil += larger(constant(-FLT_MAX), v) * 0.0f;
            store(x + k, v - largest);
        });
    }
    const float sum = fold(spoil, Plus());
    return sum != sum;
}

static GATEWORK_INLINE float end_step(const Group& g, int m, std::int64_t t, const float* best, float taken_off) {
    float* scores = g.a[m] + t * g.columns;
    Vec top = constant(kNever);
    for (std::int64_t k = 0; k < g.columns; k += kLanes) {
        const Vec v = (load(best + k) - taken_off) + load(scores + k);
        store(scores + k, v);
        top = larger(v, top);
    }
    const float largest = fold(top, Larger());
    return largest == kNever ? 0.0f : largest;
}

// The lowest k with the largest scores[k] + more[k].
static GATEWORK_INLINE std::int64_t best_of_sums(const float* scores, const float* more, std::int64_t columns) {
    Vec top = constant(kNever);
    for (std::int64_t k = 0; k < columns; k += kLanes) top = larger(load(scores + k) + load(more + k), top);
    return first_equal(
        [&](std::int64_t k) { return load(scores + k) + load(more + k); }, columns, fold(top, Larger()));
}

static void viterbi(
    const Prepared& prepared, const Batch& batch, std::int64_t first, int count, std::int64_t* tags, Rows tag_rows,
    float* scores, float* scratch) {
    const Model& model = prepared.model;
    const Scores w(prepared.floats, model.tags);
    Group g = make_group(model.tags, batch, first, count, scratch);
    const std::int64_t columns = g.columns;
    const float* in[kTogether];
    float largest[kTogether];
    bool spoiled[kTogether];

    for (int m = 0; m < count; ++m) {
        spoiled[m] = shift_emissions(g, m, batch) || prepared.spoiled;
        if (g.length[m] > 0) largest[m] = end_step(g, m, 0, w.start, 0.0f);
    }
    for (std::int64_t t = 1; t < g.length[0]; ++t) {
        const int running = g.running(t);
        for (int m = 0; m < running; ++m) in[m] = g.a[m] + (t - 1) * columns;
        product<LargestOfSums>(w.panels, model.tags, running, in, g.sum);
        for (int m = 0; m < running; ++m) largest[m] = end_step(g, m, t, g.sum[m], largest[m]);
    }
    // Back along the best paths, all in step: each lookup waits for the one before.
    std::int64_t tag[kTogether];
    double total[kTogether];
    for (std::int64_t t = g.length[0] - 1; t >= 0; --t) {
        const int running = g.running(t), going_on = g.running(t + 1);
        for (int m = 0; m < running; ++m) {
            const std::int64_t b = g.sequence[m];
            const float *now = g.a[m] + t * columns, *more = m < going_on ? w.transposed + tag[m] * columns : w.end;
            std::int64_t found = best_of_sums(now, more, columns);
            if (spoiled[m] || found >= model.tags) found = 0;  // where sums are NaN, padding may seem best
            total[m] = m < going_on ? total[m] + (double)model.transitions[found * model.tags + tag[m]]
                                    : (double)model.end[found];
            tag[m] = found;
            total[m] += (double)batch.emissions[batch.rows.at(t, b) + found];
            tags[tag_rows.at(t, b)] = found;
        }
    }
    for (int m = 0; m < count; ++m) {
        const double score = g.length[m] > 0 ? total[m] + (double)model.start[tag[m]] : 0.0;
        scores[g.sequence[m]] = spoiled[m] && g.length[m] > 0 ? (float)NAN : (float)score;
    }
}

}  // namespace level_...

extern const Kernels GATEWORK_JOIN(kernels_, GATEWORK_LEVEL_NAME);
const Kernels GATEWORK_JOIN(kernels_, GATEWORK_LEVEL_NAME) = {
    GATEWORK_STRING(GATEWORK_LEVEL_NAME),
    GATEWORK_TOGETHER,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::padded,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::prepared_floats,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::scratch_floats,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::prepare,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::forward_backward,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::weigh,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::prepare_viterbi,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::viterbi,
};

}  // namespace gatework::crf
