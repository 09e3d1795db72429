// The sequence kernels, once for all levels. A level's file defines GATEWORK_LEVEL_NAME, GATEWORK_LANES (floats a
// vector), GATEWORK_ROWS (most sequences a micro-kernel takes) and perhaps GATEWORK_PLAIN, includes this, and is
// compiled with the flags of its instruction set. Everything is in a namespace of the level and uses no templates of
// the standard library: the linker keeps one copy of those, and it might be one this processor cannot run.
//
// A "row" is one sequence at one step. Both products, W x for all rows and R h for the rows of a step, are
// micro-kernels that hold ROWS x (4 vectors) sums in registers while one panel of weights streams by: weights are read
// once for ROWS sequences.

#include <cstdint>
#include <cstring>

#include "recurrent/recurrent.h"

#define GATEWORK_JOIN2(a, b) a##b
#define GATEWORK_JOIN(a, b) GATEWORK_JOIN2(a, b)
#define GATEWORK_STRING2(a) #a
#define GATEWORK_STRING(a) GATEWORK_STRING2(a)

#if defined(__GNUC__)
#define GATEWORK_INLINE inline __attribute__((always_inline))
#else
#define GATEWORK_INLINE __forceinline
#endif

namespace gatework::recurrent {
namespace GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME) {

#include "recurrent/vector.h"

constexpr int kRows = GATEWORK_ROWS;
// Rows of W x computed ahead of the recurrence: enough to reuse weights, few enough to stay in cache.
constexpr std::int64_t kAheadFloats = 64 * 1024;

static std::int64_t round_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }
static std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// ---------------------------------------------------------------------------------------------------- the layout
//
// A panel is V vectors wide and K deep: for each k of K, V x LANES floats. A vector column v of a matrix's panels is one
// gate of LANES consecutive units. Cells with gates put the gates of the same units in one panel (V = gates); without
// gates a panel takes 4 groups of units. `gru-reset-before` needs r before it can use n, so its R is two matrices: r and
// z in panels of 2, n in panels of 4.

static int panel_vectors(const CellInfo& cell) { return cell.gates == 1 ? 4 : cell.gates; }

static std::int64_t padded_units(const CellInfo& cell, std::int64_t units) {
    const bool grouped = cell.gates == 1 || cell.kind == CellKind::gru_reset_before;
    return round_up(units, grouped ? 4 * kLanes : kLanes);
}

static PackedFloats packed_floats(CellInfo cell, std::int64_t inputs, std::int64_t units) {
    const std::size_t columns = (std::size_t)(cell.gates * padded_units(cell, units));
    return {columns * (std::size_t)inputs, columns * (std::size_t)units, columns};
}

// Row of the packed weights (gate by gate) that column `lane` of vector `v` of panel `p` holds, or -1 for padding.
static std::int64_t source_row(std::int64_t p, int v, int lane, int vectors, int first_gate, int gates, std::int64_t units) {
    const std::int64_t group = gates == 1 ? p * vectors + v : p;
    const int gate = gates == 1 ? first_gate : first_gate + v;
    const std::int64_t unit = group * kLanes + lane;
    return unit < units ? gate * units + unit : -1;
}

// Regroup `gates` gates from `first_gate` of a matrix (G, K) into panels; returns the end of what was written.
static float* pack_matrix(
    const float* matrix, std::int64_t depth, int first_gate, int gates, int vectors, std::int64_t units,
    std::int64_t padded, float* out) {
    const std::int64_t panels = padded * gates / (vectors * kLanes);
    for (std::int64_t p = 0; p < panels; ++p)
        for (std::int64_t k = 0; k < depth; ++k)
            for (int v = 0; v < vectors; ++v)
                for (int lane = 0; lane < kLanes; ++lane) {
                    const std::int64_t row = source_row(p, v, lane, vectors, first_gate, gates, units);
                    *out++ = row < 0 ? 0.0f : matrix[row * depth + k];
                }
    return out;
}

static void pack(const Weights& weights, Packed& packed) {
    const CellInfo& cell = packed.cell;
    const std::int64_t units = packed.units, padded = padded_units(cell, units);
    const int vectors = panel_vectors(cell);
    pack_matrix(weights.w, packed.inputs, 0, cell.gates, vectors, units, padded, packed.w);
    pack_matrix(weights.b, 1, 0, cell.gates, vectors, units, padded, packed.b);
    if (cell.has_recurrent_bias) pack_matrix(weights.rb, 1, 0, cell.gates, vectors, units, padded, packed.rb);
    if (cell.kind == CellKind::gru_reset_before) {
        float* rest = pack_matrix(weights.r, units, 0, 2, 2, units, padded, packed.r);
        pack_matrix(weights.r, units, 2, 1, 4, units, padded, rest);
    } else {
        pack_matrix(weights.r, units, 0, cell.gates, vectors, units, padded, packed.r);
    }
}

// -------------------------------------------------------------------------------------------------- the products

// sum[m][v] += panel^T a[m] for M rows, a[m] K floats long.
template <int M, int V>
static GATEWORK_INLINE void multiply(const float* const* a, const float* panel, std::int64_t depth, Vec (&sum)[M][V]) {
    for (std::int64_t k = 0; k < depth; ++k, panel += V * kLanes)
        for (int v = 0; v < V; ++v) {
            const Vec weight = load(panel + v * kLanes);
            for (int m = 0; m < M; ++m) sum[m][v] += weight * a[m][k];
        }
}

// Calls body.template run<M>(first row) for all rows, M at a time. `Body` is one of the functors below.
template <int M, class Body>
static GATEWORK_INLINE void last_rows(const Body& body, std::int64_t first, std::int64_t rest) {
    if constexpr (M > 0) {
        if (rest == M) return body.template run<M>(first);
        last_rows<M - 1>(body, first, rest);
    }
}
template <class Body>
static GATEWORK_INLINE void for_rows(const Body& body, std::int64_t rows) {
    std::int64_t first = 0;
    for (; first + kRows <= rows; first += kRows) body.template run<kRows>(first);
    last_rows<kRows - 1>(body, first, rows - first);
}

// W x + b of some rows, one panel: out[row][panel columns].
template <int V>
struct InputPanel {
    const float* const* x;  // each row's inputs
    const float* panel;
    const float* bias;
    std::int64_t depth, stride;
    float* out;

    template <int M>
    void run(std::int64_t first) const {
        Vec sum[M][V];
        for (int m = 0; m < M; ++m)
            for (int v = 0; v < V; ++v) sum[m][v] = load(bias + v * kLanes);
        multiply<M, V>(x + first, panel, depth, sum);
        for (int m = 0; m < M; ++m)
            for (int v = 0; v < V; ++v) store(out + (first + m) * stride + v * kLanes, sum[m][v]);
    }
};

template <int V>
static void input_product(const Packed& p, const float* const* x, std::int64_t rows, std::int64_t columns, float* out) {
    const std::int64_t wide = V * kLanes;
    for (std::int64_t column = 0; column < columns; column += wide)
        for_rows(InputPanel<V>{x, p.w + column * p.inputs, p.b + column, p.inputs, columns, out + column}, rows);
}

// ----------------------------------------------------------------------------------------------------- the steps
//
// One step of a panel of units for some rows. wx is W x + b of the step's rows, (rows, columns); h the old state and
// next the new one, c the memory, updated in place, all (rows, H') in sorted order. `at` is the panel's place.

struct Step {
    const Packed* p;
    const float* wx;
    const float* h;
    float* next;
    float* c;
    float* reset;  // r * h of gru-reset-before
    std::int64_t columns, padded, at;

    const float* old_state(std::int64_t row) const { return h + row * padded; }
};

template <int M>
static GATEWORK_INLINE void row_pointers(const float* base, std::int64_t stride, std::int64_t first, const float* (&rows)[M]) {
    for (int m = 0; m < M; ++m) rows[m] = base + (first + m) * stride;
}

template <int M, int V>
static GATEWORK_INLINE void load_sums(const Step& s, std::int64_t first, std::int64_t column, Vec (&sum)[M][V]) {
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < V; ++v) sum[m][v] = load(s.wx + (first + m) * s.columns + column + v * kLanes);
}

struct LSTMPanel : Step {
    template <int M>
    void run(std::int64_t first) const {
        const float* old[M];
        row_pointers<M>(h, padded, first, old);
        Vec sum[M][4];
        load_sums<M, 4>(*this, first, at * 4 * kLanes, sum);
        multiply<M, 4>(old, p->r + at * 4 * kLanes * p->units, p->units, sum);
        for (int m = 0; m < M; ++m) {
            const std::int64_t place = (first + m) * padded + at * kLanes;
            const Vec memory = sigmoid(sum[m][1]) * load(c + place) + sigmoid(sum[m][0]) * tanh(sum[m][2]);
            store(c + place, memory);
            store(next + place, sigmoid(sum[m][3]) * tanh(memory));
        }
    }
};

struct GRUPanel : Step {
    template <int M>
    void run(std::int64_t first) const {
        const float* old[M];
        row_pointers<M>(h, padded, first, old);
        const std::int64_t column = at * 3 * kLanes;
        Vec sum[M][3];
        for (int m = 0; m < M; ++m)
            for (int v = 0; v < 3; ++v) sum[m][v] = load(p->rb + column + v * kLanes);
        multiply<M, 3>(old, p->r + column * p->units, p->units, sum);
        for (int m = 0; m < M; ++m) {
            const float* x = wx + (first + m) * columns + column;
            const Vec r = sigmoid(load(x) + sum[m][0]), z = sigmoid(load(x + kLanes) + sum[m][1]);
            const Vec n = tanh(load(x + 2 * kLanes) + r * sum[m][2]);
            const Vec before = load(old[m] + at * kLanes);
            store(next + (first + m) * padded + at * kLanes, (1.0f - z) * n + z * before);
        }
    }
};

// First half of gru-reset-before: r * h into `reset`, z into `next`.
struct GatesPanel : Step {
    template <int M>
    void run(std::int64_t first) const {
        const float* old[M];
        row_pointers<M>(h, padded, first, old);
        Vec sum[M][2];
        load_sums<M, 2>(*this, first, at * 3 * kLanes, sum);
        multiply<M, 2>(old, p->r + at * 2 * kLanes * p->units, p->units, sum);
        for (int m = 0; m < M; ++m) {
            const std::int64_t place = (first + m) * padded + at * kLanes;
            store(reset + place, sigmoid(sum[m][0]) * load(old[m] + at * kLanes));
            store(next + place, sigmoid(sum[m][1]));
        }
    }
};

// Second half: 4 groups of units of n.
struct CandidatePanel : Step {
    template <int M>
    void run(std::int64_t first) const {
        const float* rows[M];
        row_pointers<M>(reset, padded, first, rows);
        Vec sum[M][4];
        for (int m = 0; m < M; ++m)
            for (int v = 0; v < 4; ++v)
                sum[m][v] = load(wx + (first + m) * columns + ((at * 4 + v) * 3 + 2) * kLanes);
        multiply<M, 4>(rows, p->r + (2 * padded + at * 4 * kLanes) * p->units, p->units, sum);
        for (int m = 0; m < M; ++m)
            for (int v = 0; v < 4; ++v) {
                const std::int64_t place = (first + m) * padded + (at * 4 + v) * kLanes;
                const Vec z = load(next + place);
                store(next + place, (1.0f - z) * tanh(sum[m][v]) + z * load(h + place));
            }
    }
};

template <bool Relu>
struct RNNPanel : Step {
    template <int M>
    void run(std::int64_t first) const {
        const float* old[M];
        row_pointers<M>(h, padded, first, old);
        Vec sum[M][4];
        load_sums<M, 4>(*this, first, at * 4 * kLanes, sum);
        multiply<M, 4>(old, p->r + at * 4 * kLanes * p->units, p->units, sum);
        for (int m = 0; m < M; ++m)
            for (int v = 0; v < 4; ++v)
                store(next + (first + m) * padded + (at * 4 + v) * kLanes, Relu ? relu(sum[m][v]) : tanh(sum[m][v]));
    }
};

template <class Panel>
static void for_panels(Step step, std::int64_t panels, std::int64_t rows) {
    for (step.at = 0; step.at < panels; ++step.at) for_rows(Panel{step}, rows);
}

static void one_step(const Step& step, std::int64_t rows) {
    const std::int64_t groups = step.padded / kLanes;
    switch (step.p->cell.kind) {
        case CellKind::rnn: return for_panels<RNNPanel<false>>(step, groups / 4, rows);
        case CellKind::rnn_relu: return for_panels<RNNPanel<true>>(step, groups / 4, rows);
        case CellKind::gru: return for_panels<GRUPanel>(step, groups, rows);
        case CellKind::lstm: return for_panels<LSTMPanel>(step, groups, rows);
        case CellKind::gru_reset_before:
            for_panels<GatesPanel>(step, groups, rows);
            return for_panels<CandidatePanel>(step, groups / 4, rows);
    }
}

// -------------------------------------------------------------------------------------------------- the sequences

// Scratch: row pointers and W x of the rows computed ahead, then h, next h, c and reset (B, H') each.
struct Plan {
    std::int64_t columns, padded, ahead;
    std::size_t pointers, states;
};

static Plan plan(const Packed& p, const Schedule& schedule) {
    Plan plan;
    plan.padded = padded_units(p.cell, p.units);
    plan.columns = p.cell.gates * plan.padded;
    std::int64_t total = 0;
    for (std::int64_t s = 0; s < schedule.steps; ++s) total += schedule.running[s];
    const std::int64_t wanted = kAheadFloats / plan.columns;
    plan.ahead = smaller(total, wanted > schedule.batch ? wanted : schedule.batch);
    plan.pointers = (std::size_t)round_up(plan.ahead * (std::int64_t)(sizeof(void*) / sizeof(float)), 16);
    plan.states = (std::size_t)(schedule.batch * plan.padded);
    return plan;
}

static std::size_t scratch_floats(const Packed& p, const Schedule& schedule) {
    const Plan sizes = plan(p, schedule);
    return sizes.pointers + (std::size_t)(sizes.ahead * sizes.columns) + 4 * sizes.states;
}

static std::int64_t position(const Schedule& schedule, std::int64_t place, std::int64_t step) {
    return schedule.reverse ? schedule.lengths[place] - 1 - step : step;
}

static void load_state(const float* from, const Schedule& schedule, std::int64_t units, std::int64_t padded, float* to) {
    std::memset(to, 0, sizeof(float) * (std::size_t)(schedule.batch * padded));
    for (std::int64_t place = 0; place < schedule.batch; ++place)
        std::memcpy(to + place * padded, from + schedule.order[place] * units, sizeof(float) * (std::size_t)units);
}

// States of the places first to last - 1, back to the caller's order.
static void save_state(
    const float* from, const Schedule& schedule, std::int64_t first, std::int64_t last, std::int64_t units,
    std::int64_t padded, float* to) {
    for (std::int64_t place = first; place < last; ++place)
        std::memcpy(to + schedule.order[place] * units, from + place * padded, sizeof(float) * (std::size_t)units);
}

static void clear_padding(const Schedule& schedule, std::int64_t units, float* y) {
    for (std::int64_t place = 0; place < schedule.batch; ++place)
        for (std::int64_t t = schedule.lengths[place]; t < schedule.time; ++t)
            std::memset(y + (t * schedule.batch + schedule.order[place]) * units, 0, sizeof(float) * (std::size_t)units);
}

static void forward(const Packed& p, const Schedule& schedule, const Sequences& io) {
    const Plan sizes = plan(p, schedule);
    const std::int64_t units = p.units, padded = sizes.padded;
    const float** x = reinterpret_cast<const float**>(io.scratch);
    float* wx = io.scratch + sizes.pointers;
    float* h = wx + sizes.ahead * sizes.columns;
    float* next = h + sizes.states;
    float* c = next + sizes.states;
    load_state(io.h0, schedule, units, padded, h);
    if (p.cell.has_memory) load_state(io.c0, schedule, units, padded, c);
    Step step{&p, wx, h, next, c, c + sizes.states, sizes.columns, padded, 0};

    std::int64_t still = schedule.batch;
    std::int64_t ready = 0;  // rows of W x computed and not yet used; they begin at step.wx
    for (std::int64_t s = 0; s < schedule.steps; ++s) {
        const std::int64_t rows = schedule.running[s];
        if (rows < still) {
            save_state(step.h, schedule, rows, still, units, padded, io.h);
            if (p.cell.has_memory) save_state(c, schedule, rows, still, units, padded, io.c);
            still = rows;
        }
        if (ready == 0) {
            for (std::int64_t ahead = s; ahead < schedule.steps && ready + schedule.running[ahead] <= sizes.ahead; ++ahead)
                for (std::int64_t place = 0; place < schedule.running[ahead]; ++place)
                    x[ready++] = io.x + (position(schedule, place, ahead) * schedule.batch + schedule.order[place]) * p.inputs;
            switch (panel_vectors(p.cell)) {
                case 3: input_product<3>(p, x, ready, sizes.columns, wx); break;
                default: input_product<4>(p, x, ready, sizes.columns, wx); break;
            }
            step.wx = wx;
        }
        one_step(step, rows);
        for (std::int64_t place = 0; place < rows; ++place)
            std::memcpy(
                io.y + (position(schedule, place, s) * schedule.batch + schedule.order[place]) * units,
                step.next + place * padded, sizeof(float) * (std::size_t)units);
        const float* used = step.h;
        step.h = step.next;
        step.next = const_cast<float*>(used);
        step.wx += rows * sizes.columns;
        ready -= rows;
    }
    save_state(step.h, schedule, 0, still, units, padded, io.h);
    if (p.cell.has_memory) save_state(c, schedule, 0, still, units, padded, io.c);
    clear_padding(schedule, units, io.y);
}

static void activate(int f, const float* x, float* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += kLanes) {
        const Vec v = load(x + i);
        store(y + i, f == 0 ? sigmoid(v) : f == 1 ? tanh(v) : relu(v));
    }
}

static std::int64_t multiply_adds(std::int64_t rounds, float factor, float* out) {
    const Vec a = constant(factor), b = constant(1.0f - factor);
    Vec sum[12];
    for (int i = 0; i < 12; ++i) sum[i] = constant((float)i);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (int i = 0; i < 12; ++i) sum[i] = sum[i] * a + b;
    for (int i = 1; i < 12; ++i) sum[0] += sum[i];
    float lanes[kLanes];
    store(lanes, sum[0]);
    *out = lanes[0];
    return rounds * 12 * 2 * kLanes;
}

}  // namespace level_...

extern const Kernels GATEWORK_JOIN(kernels_, GATEWORK_LEVEL_NAME);
const Kernels GATEWORK_JOIN(kernels_, GATEWORK_LEVEL_NAME) = {
    GATEWORK_STRING(GATEWORK_LEVEL_NAME),
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::packed_floats,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::pack,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::scratch_floats,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::forward,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::activate,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::multiply_adds,
};

}  // namespace gatework::recurrent
