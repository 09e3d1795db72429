// Recurrent layers. For random cells, precisions, shapes, lengths, directions, layouts, states, masks and values, at every
// level: outputs, states and gradients
//   - are near those of the portable level;
//   - have the same bits for any number of threads (gradients of weights: nearly the same);
//   - take nothing from padding, which is NaN, and write nothing there;
//   - of one sequence do not notice a NaN or infinity in another, and a NaN comes through;
//   - of huge and of denormal input are finite.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "recurrent/engine.h"
#include "tests/fuzz.h"
#include "threads/pool.h"

namespace gatework::fuzz {
namespace {

using namespace gatework::recurrent;

using Floats = std::vector<float>;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t cells(std::int64_t n) { return (std::size_t)n; }
template <class T>
T* pointer(std::vector<T>& values) { return values.empty() ? nullptr : values.data(); }
template <class T>
const T* pointer(const std::vector<T>& values) { return values.empty() ? nullptr : values.data(); }

enum class Layout { time_major, batch_major, packed };

// Where rows over time and sequences lie, for any width.
struct Places {
    std::vector<std::int64_t> at;
    std::int64_t stride = 0, floats = 0;

    Places(Layout layout, std::int64_t time, std::int64_t batch, const std::vector<std::int64_t>& lengths, std::int64_t width) {
        for (std::int64_t t = 0; t < time; ++t) {
            at.push_back(layout == Layout::batch_major ? t * width : layout == Layout::time_major ? t * batch * width : floats);
            for (std::int64_t b = 0; layout == Layout::packed && b < batch; ++b) floats += lengths[cells(b)] > t ? width : 0;
        }
        stride = layout == Layout::batch_major ? time * width : width;
        if (layout != Layout::packed) floats = time * batch * width;
    }
    std::size_t row(std::int64_t t, std::int64_t b) const { return cells(at[cells(t)] + b * stride); }
    template <class T>
    Rows<T> rows(T* base) const { return {base, pointer(at), stride}; }
};

struct Side {  // one direction's weights and states
    Floats w, r, b, rb, extra[4], h0, c0, mask, dh, dc;
    std::vector<std::uint8_t> keep_h, keep_c;
};

struct Case {
    CellInfo cell;
    Precision precision;
    Layout layout;
    std::int64_t time, batch, inputs, units, outputs;
    int directions;
    bool reversed, masked, zoneout, with_dy, with_dlast, with_dx;
    std::vector<std::int64_t> lengths;
    Floats x, dy;
    Side sides[2];

    Places places(std::int64_t width) const { return Places(layout, time, batch, lengths, width); }
    std::string name() const {
        static constexpr const char* precisions[] = {"float32", "bfloat16", "int8"};
        char text[200];
        std::snprintf(
            text, sizeof text, "%s %s T %lld B %lld I %lld H %lld P %lld D %d layout %d%s%s", cell.name,
            precisions[(int)precision], (long long)time, (long long)batch, (long long)inputs, (long long)units,
            (long long)outputs, directions, (int)layout, masked ? " masked" : "", zoneout ? " zoneout" : "");
        return text;
    }
};

struct Result {
    Floats y, dx;
    Side sides[2];  // h0, c0: last states; dh, dc: gradients of the first states; the rest: gradients of weights
};

std::vector<std::int64_t> extra_sizes(const Case& one) {
    switch (one.cell.kind) {
        case CellKind::lstm_peephole: return {one.units, one.units, one.units};
        case CellKind::lstm_layernorm: return {4 * one.units, 4 * one.units, one.units, one.units};
        case CellKind::lstm_projection: return {one.outputs * one.units};
        default: return {};
    }
}

// Rows past each length become NaN, so that whoever reads them is found out.
void spoil_padding(const Case& one, const Places& places, std::int64_t width, Floats& values) {
    if (one.layout == Layout::packed) return;
    for (std::int64_t b = 0; b < one.batch; ++b)
        for (std::int64_t t = one.lengths[cells(b)]; t < one.time; ++t)
            std::fill_n(values.begin() + (std::ptrdiff_t)places.row(t, b), width, kNaN);
}

Case random_case(Random& random) {
    Case one;
    one.cell = kCells[random.below(sizeof kCells / sizeof *kCells)];
    one.precision = random.chance(0.6) ? Precision::float32 : random.chance(0.6) ? Precision::bfloat16 : Precision::int8;
    one.layout = (Layout)random.below(3);
    one.time = random.below(12);
    one.batch = random.below(random.chance(0.2) ? 40 : 10);
    one.inputs = random.size(70);
    // Normalised over one or two units hardly anything but rounding is left.
    one.units = one.cell.kind == CellKind::lstm_layernorm ? 4 + random.size(60) : random.size(70);
    one.outputs = one.cell.kind == CellKind::lstm_projection ? random.size(40) : one.units;
    one.directions = random.chance(0.4) ? 2 : 1;
    one.reversed = one.directions == 1 && random.chance(0.3);
    one.masked = random.chance(0.3);
    one.zoneout = random.chance(0.3);
    one.with_dy = random.chance(0.9);
    one.with_dlast = random.chance(0.7);
    one.with_dx = random.chance(0.8);
    one.lengths = random.lengths(one.batch, one.time);
    if (one.layout == Layout::packed) {
        std::sort(one.lengths.rbegin(), one.lengths.rend());
        one.time = one.batch ? one.lengths[0] : 0;
    }
    const std::int64_t rows = one.cell.gates * one.units, states = one.batch * one.outputs;
    const std::int64_t width = one.directions * one.outputs;
    for (int d = 0; d < one.directions; ++d) {
        Side& side = one.sides[d];
        const float scale = random.chance(0.05) ? 0.0f : 1.0f;
        side.w = random.floats(cells(rows * one.inputs), scale * std::sqrt(3.0f / (float)one.inputs));
        side.r = random.floats(cells(rows * one.outputs), scale * std::sqrt(3.0f / (float)one.outputs));
        side.b = random.floats(cells(rows), 1);
        if (one.cell.recurrent_bias) side.rb = random.floats(cells(rows), 1);
        const std::vector<std::int64_t> sizes = extra_sizes(one);
        for (std::size_t e = 0; e < sizes.size(); ++e)
            side.extra[e] = random.floats(
                cells(sizes[e]), one.cell.kind == CellKind::lstm_projection ? std::sqrt(3.0f / (float)one.units) : 1);
        if (random.chance(0.9)) {
            side.h0 = random.floats(cells(states), 1);
            if (one.cell.memory) side.c0 = random.floats(cells(one.batch * one.units), 2);
        }
        if (one.masked) {
            side.mask = random.floats(cells(states), 1);
            for (float& factor : side.mask) factor = factor < 0 ? 0.0f : 1.5f;
        }
        if (one.zoneout) {
            side.keep_h.resize(cells(one.places(one.outputs).floats));
            side.keep_c.resize(one.cell.memory ? cells(one.places(one.units).floats) : 0);
            for (std::uint8_t& kept : side.keep_h) kept = random.chance(0.2);
            for (std::uint8_t& kept : side.keep_c) kept = random.chance(0.2);
        }
        side.dh = random.floats(cells(states), 1);
        if (one.cell.memory) side.dc = random.floats(cells(one.batch * one.units), 1);
    }
    const Places x = one.places(one.inputs), dy = one.places(width);
    one.x = random.floats(cells(x.floats), 1);
    one.dy = random.floats(cells(dy.floats), 1);
    spoil_padding(one, x, one.inputs, one.x);
    spoil_padding(one, dy, width, one.dy);
    return one;
}

// Forward and, unless the precision is for inference alone, backward. `tape` false: inference, weights packed before.
Result run(const Case& one, const Kernels& kernels, bool tape) {
    const std::int64_t width = one.directions * one.outputs;
    const Places x = one.places(one.inputs), y = one.places(width), keep_h = one.places(one.outputs), keep_c = one.places(one.units);
    Result result;
    result.y = Floats(cells(y.floats), kNaN);
    Layer layer{};
    layer.kernels = &kernels;
    layer.cell = one.cell;
    layer.precision = one.precision;
    layer.inputs = one.inputs;
    layer.units = one.units;
    layer.outputs = one.outputs;
    layer.time = one.time;
    layer.batch = one.batch;
    layer.lengths = one.lengths.data();
    layer.directions = one.directions;
    layer.reversed = one.reversed;
    layer.x = x.rows(one.x.data());
    std::vector<std::vector<float>> buffers;
    Packed packed[2];
    for (int d = 0; d < one.directions; ++d) {
        const Side& side = one.sides[d];
        Direction& direction = layer.direction[d];
        direction.weights = {side.w.data(), side.r.data(), side.b.data(), pointer(side.rb), {}};
        for (int e = 0; e < one.cell.extras; ++e) direction.weights.extra[e] = side.extra[e].data();
        direction.h0 = pointer(side.h0);
        direction.c0 = pointer(side.c0);
        direction.mask = pointer(side.mask);
        direction.keep_h = keep_h.rows(pointer(side.keep_h));
        direction.keep_c = keep_c.rows(pointer(side.keep_c));
        Side& last = result.sides[d];
        last.h0 = Floats(cells(one.batch * one.outputs), kNaN);
        if (one.cell.memory) last.c0 = Floats(cells(one.batch * one.units), kNaN);
        direction.h = last.h0.data();
        direction.c = pointer(last.c0);
        layer.y[d] = y.rows(result.y.data() + d * one.outputs);
        if (!tape) {
            packed[d] = Packed{};
            packed[d].cell = one.cell;
            packed[d].precision = one.precision;
            packed[d].inputs = one.inputs;
            packed[d].units = one.units;
            packed[d].outputs = one.outputs;
            const std::size_t bytes = packed_bytes(one.cell, one.precision, one.inputs, one.units, one.outputs, false);
            buffers.emplace_back((bytes + 64) / sizeof(float));
            const std::size_t past = (std::size_t)((std::uintptr_t)buffers.back().data() % 64);
            place_packed(packed[d], false, reinterpret_cast<char*>(buffers.back().data()) + (past ? 64 - past : 0));
            pack(kernels, direction.weights, packed[d], false);
            direction.packed = &packed[d];
        }
    }
    std::int64_t rows = 0;
    for (const std::int64_t length : one.lengths) rows += length;
    Floats room;
    if (tape) {
        room.assign(cells(tape_floats(one.cell, one.units, one.outputs, rows, one.batch, one.directions, one.masked)), kNaN);
        layer.tape = room.data();
    }
    if (!forward(layer)) fail("recurrent: %s: lengths refused", one.name().c_str());
    if (!tape) return result;

    const Places dy = one.places(width);
    result.dx = Floats(one.with_dx ? one.x.size() : 0, kNaN);
    if (one.with_dx) layer.dx = x.rows(result.dx.data());
    for (int d = 0; d < one.directions; ++d) {
        const Side& side = one.sides[d];
        Side& to = result.sides[d];
        Direction& direction = layer.direction[d];
        to.w = Floats(side.w.size(), kNaN);
        to.r = Floats(side.r.size(), kNaN);
        to.b = Floats(side.b.size(), kNaN);
        to.rb = Floats(side.rb.size(), kNaN);
        direction.gradients = {to.w.data(), to.r.data(), to.b.data(), pointer(to.rb), {}};
        for (int e = 0; e < one.cell.extras; ++e) {
            to.extra[e] = Floats(side.extra[e].size(), kNaN);
            direction.gradients.extra[e] = to.extra[e].data();
        }
        to.dh = Floats(to.h0.size(), kNaN);
        to.dc = Floats(to.c0.size(), kNaN);
        direction.dh0 = to.dh.data();
        direction.dc0 = pointer(to.dc);
        if (one.with_dlast) {
            direction.dh = side.dh.data();
            direction.dc = pointer(side.dc);
        }
        if (one.with_dy) layer.dy[d] = dy.rows(one.dy.data() + d * one.outputs);
    }
    if (!backward(layer)) fail("recurrent: %s: lengths refused on the way back", one.name().c_str());
    return result;
}

// Visits the arrays of two results: check(name, of a, of b, whether a gradient, whether of weights).
template <class Check>
void compare(const Case& one, const Result& a, const Result& b, const Check& check) {
    check("y", a.y, b.y, false, false);
    for (int d = 0; d < one.directions; ++d) {
        const Side &l = a.sides[d], &r = b.sides[d];
        check("h", l.h0, r.h0, false, false);
        check("c", l.c0, r.c0, false, false);
        check("dh0", l.dh, r.dh, true, false);
        check("dc0", l.dc, r.dc, true, false);
        check("dw", l.w, r.w, true, true);
        check("dr", l.r, r.r, true, true);
        check("db", l.b, r.b, true, true);
        check("drb", l.rb, r.rb, true, true);
        for (int e = 0; e < one.cell.extras; ++e) check("further gradient", l.extra[e], r.extra[e], true, true);
    }
    check("dx", a.dx, b.dx, true, false);
}

// What two levels may differ by, in units of the array's largest number (at least 1 for outputs).
double tolerance(const Case& one, bool gradient) {
    if (one.precision == Precision::int8) return 0.3;  // a rounding that falls the other way, and what follows
    if (one.cell.kind == CellKind::rnn_relu && gradient) return 1;  // a sum that falls on the other side of 0
    if (one.precision == Precision::bfloat16) return 0.1;
    const double budget = 8 * 0x1p-23 * std::sqrt((double)(one.inputs + one.units)) * (1 + (double)one.time);
    return budget * (one.cell.kind == CellKind::lstm_layernorm ? 20 : gradient ? 4 : 1);
}

void expect_near(const Case& one, const char* level, const Result& got, const Result& want) {
    compare(one, got, want, [&](const char* what, const Floats& a, const Floats& b, bool gradient, bool) {
        double largest = gradient ? 1e-3 : 1;
        for (const float value : b) largest = std::isnan(value) ? largest : std::max(largest, std::fabs((double)value));
        for (std::size_t i = 0; i < b.size(); ++i)
            // NaN marks what nobody wrote: padding, in both.
            if (std::isnan(b[i]) ? !std::isnan(a[i]) : !(std::fabs((double)a[i] - b[i]) <= tolerance(one, gradient) * largest))
                fail("recurrent: %s: %s: %s[%zu] = %.9g, expected %.9g of %.3g", one.name().c_str(), level, what, i, a[i], b[i], largest);
    });
}

bool same_bits(const Floats& a, const Floats& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), sizeof(float) * a.size()) == 0);
}

// Every real row was written, none of the padding.
void expect_rows(const Case& one, const char* level, const Result& got) {
    const std::int64_t width = one.directions * one.outputs;
    const Places y = one.places(width), x = one.places(one.inputs);
    for (std::int64_t b = 0; b < one.batch; ++b)
        for (std::int64_t t = 0; t < one.time; ++t) {
            const bool real = t < one.lengths[cells(b)];
            if (!real && one.layout == Layout::packed) continue;
            for (std::int64_t u = 0; u < width; ++u)
                if (std::isnan(got.y[y.row(t, b) + cells(u)]) == real)
                    fail("recurrent: %s: %s: y[%lld, %lld] %s", one.name().c_str(), level, (long long)t, (long long)b, real ? "missing" : "written");
            for (std::int64_t i = 0; i < one.inputs && !got.dx.empty(); ++i)
                if (std::isnan(got.dx[x.row(t, b) + cells(i)]) == real)
                    fail("recurrent: %s: %s: dx[%lld, %lld] %s", one.name().c_str(), level, (long long)t, (long long)b, real ? "missing" : "written");
        }
    compare(one, got, got, [&](const char* what, const Floats& values, const Floats&, bool, bool) {
        if (std::strcmp(what, "y") == 0 || std::strcmp(what, "dx") == 0) return;
        for (const float value : values)
            if (std::isnan(value)) fail("recurrent: %s: %s: %s holds NaN", one.name().c_str(), level, what);
    });
}

// One sequence gets a NaN or an infinity; the others must not notice.
void poison(Random& random, Case one, const Kernels& kernels, const Result& clean, bool tape) {
    if (one.batch == 0) return;
    const std::int64_t victim = random.below(one.batch), length = one.lengths[cells(victim)];
    if (length == 0) return;
    const Places x = one.places(one.inputs), y = one.places(one.directions * one.outputs);
    const std::int64_t t = random.below(length);
    const float value = random.chance(0.5) ? kNaN : random.chance(0.5) ? HUGE_VALF : -HUGE_VALF;
    one.x[x.row(t, victim) + cells(random.below(one.inputs))] = value;
    const Result got = run(one, kernels, tape);
    const auto same = [](const Floats& a, const Floats& b, std::size_t at, std::int64_t n) {
        return n == 0 || std::memcmp(a.data() + at, b.data() + at, sizeof(float) * cells(n)) == 0;
    };
    const auto noticed = [&](const char* what) {
        fail("recurrent: %s: %s: a value of sequence %lld reached %s", one.name().c_str(), kernels.level, (long long)victim, what);
    };
    for (std::int64_t b = 0; b < one.batch; ++b) {
        for (std::int64_t step = 0; step < one.lengths[cells(b)]; ++step) {
            const bool before = one.directions == 1 && (one.reversed ? step > t : step < t);
            const bool other = b != victim;
            if ((other || before) && !same(got.y, clean.y, y.row(step, b), one.directions * one.outputs))
                noticed(other ? "another's y" : "an earlier y");
            if (other && !got.dx.empty() && !same(got.dx, clean.dx, x.row(step, b), one.inputs)) noticed("another's dx");
        }
        for (int d = 0; d < one.directions; ++d) {
            const Side &now = got.sides[d], &then = clean.sides[d];
            const auto row = [&](const Floats& a, const Floats& c, std::int64_t n) { return a.empty() || same(a, c, cells(b * n), n); };
            const bool fine = row(now.h0, then.h0, one.outputs) && row(now.c0, then.c0, one.units) &&
                              row(now.dh, then.dh, one.outputs) && row(now.dc, then.dc, one.units);
            if (b != victim && !fine) noticed("another's state");
        }
    }
    // Zoneout, masks and weights of 0 may keep a NaN out of a single unit, int8 out of the sums.
    if (std::isnan(value) && !one.zoneout) {
        bool comes_through = false;
        for (std::int64_t u = 0; u < one.directions * one.outputs; ++u)
            comes_through = comes_through || std::isnan(got.y[y.row(t, victim) + cells(u)]);
        if (!comes_through) fail("recurrent: %s: %s: a NaN got lost", one.name().c_str(), kernels.level);
    }
}

void scaled(Case one, const Kernels& kernels, float scale, bool tape) {
    for (float& x : one.x) x *= scale;
    expect_rows(one, kernels.level, run(one, kernels, tape));
}

}  // namespace

void recurrent(std::int64_t rounds, std::uint64_t seed) {
    Random random(seed);
    const int before = gatework::threads::count();
    for (std::int64_t round = 0; round < rounds; ++round) {
        const Case one = random_case(random);
        const bool tape = one.precision != Precision::int8;
        gatework::threads::set_count(1);
        const Result want = run(one, level(0), tape);
        for (int index = 0; index < level_count(); ++index) {
            const Kernels& kernels = level(index);
            gatework::threads::set_count(1);
            const Result alone = run(one, kernels, tape);
            expect_rows(one, kernels.level, alone);
            expect_near(one, kernels.level, alone, want);
            gatework::threads::set_count(1 + (int)random.below(5));
            const Result got = run(one, kernels, tape);
            expect_near(one, kernels.level, got, want);
            compare(one, got, alone, [&](const char* what, const Floats& a, const Floats& b, bool, bool weights) {
                if (!weights && !same_bits(a, b))
                    fail("recurrent: %s: %s: %s has other bits with other threads", one.name().c_str(), kernels.level, what);
            });
            if (tape) {
                Result packed = run(one, kernels, false);
                if (!same_bits(packed.y, got.y))
                    fail("recurrent: %s: %s: inference differs from training", one.name().c_str(), kernels.level);
            }
            poison(random, one, kernels, got, tape);
            scaled(one, kernels, random.chance(0.5) ? 1e15f : 1e-41f, tape);
        }
    }
    gatework::threads::set_count(before);
    std::printf("recurrent: %lld cases;", (long long)rounds);
    for (int index = 0; index < level_count(); ++index) std::printf(" %s", level(index).level);
    std::puts("");
}

}  // namespace gatework::fuzz
