// The recurrent kernels. For random cells, shapes, lengths, states and values, at every level:
//   - finite input: as the portable level, within the error budget of both; padding is NaN and is not read;
//   - NaN or infinity in one sequence: the others keep their bits, and it comes through where it was read;
//   - huge and denormal input: no result outside the cell's bounds.

#include <cmath>
#include <cstring>
#include <limits>

#include "aligned.h"
#include "recurrent/recurrent.h"
#include "tests/fuzz.h"

namespace gatework::fuzz {
namespace {

using namespace gatework::recurrent;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
    CellInfo cell;
    std::int64_t time, batch, inputs, units;
    bool reverse;
    std::vector<std::int64_t> lengths;
    std::vector<float> w, r, b, rb, x, h0, c0;
};

struct Result {
    std::vector<float> y, h, c;
};

Case random_case(Random& random) {
    Case one;
    one.cell = kCells[random.below(sizeof kCells / sizeof *kCells)];
    one.time = random.below(12);
    one.batch = random.below(10);
    one.inputs = random.size(70);
    one.units = random.size(70);
    one.reverse = random.chance(0.5);
    one.lengths = random.lengths(one.batch, one.time);
    const std::size_t gates = (std::size_t)(one.cell.gates * one.units), states = (std::size_t)(one.batch * one.units);
    one.w = random.floats(gates * (std::size_t)one.inputs, std::sqrt(3.0f / (float)one.inputs));
    one.r = random.floats(gates * (std::size_t)one.units, std::sqrt(3.0f / (float)one.units));
    one.b = random.floats(gates, 1);
    if (one.cell.has_recurrent_bias) one.rb = random.floats(gates, 1);
    one.x = random.floats((std::size_t)(one.time * one.batch * one.inputs), 1);
    for (std::int64_t t = 0; t < one.time; ++t)
        for (std::int64_t s = 0; s < one.batch; ++s)
            for (std::int64_t i = 0; t >= one.lengths[(std::size_t)s] && i < one.inputs; ++i)
                one.x[(std::size_t)((t * one.batch + s) * one.inputs + i)] = kNaN;
    one.h0 = random.floats(states, 1);
    if (one.cell.has_memory) one.c0 = random.floats(states, 2);
    return one;
}

Result run(const Case& one, const Kernels& kernels) {
    const PackedFloats sizes = kernels.packed_floats(one.cell, one.inputs, one.units);
    AlignedFloats w = aligned_floats(sizes.w), r = aligned_floats(sizes.r), b = aligned_floats(sizes.b),
                  rb = aligned_floats(sizes.b);
    Packed packed{one.cell, one.inputs, one.units, w.get(), r.get(), b.get(), one.rb.empty() ? nullptr : rb.get()};
    kernels.pack({one.w.data(), one.r.data(), one.b.data(), one.rb.empty() ? nullptr : one.rb.data()}, packed);

    const std::size_t batch = (std::size_t)one.batch, time = (std::size_t)one.time;
    std::vector<std::int64_t> order(batch), sorted(batch), running(time), cursor(time + 1);
    Schedule schedule{one.time, one.batch, 0, order.data(), sorted.data(), running.data(), one.reverse};
    schedule.steps = make_schedule(
        one.lengths.data(), one.batch, one.time, order.data(), sorted.data(), running.data(), cursor.data());
    if (schedule.steps < 0) fail("recurrent: lengths refused");

    Result result;
    result.y = std::vector<float>(time * batch * (std::size_t)one.units, kNaN);
    result.h = std::vector<float>(one.h0.size(), kNaN);
    result.c = std::vector<float>(one.c0.size(), kNaN);
    AlignedFloats scratch = aligned_floats(kernels.scratch_floats(packed, schedule));
    kernels.forward(
        packed, schedule,
        {one.x.data(), one.h0.data(), one.c0.data(), result.y.data(), result.h.data(), result.c.data(), scratch.get()});
    return result;
}

// Every element close to `want`, relative to its size where that exceeds 1.
void expect_near(
    const char* what, const Case& one, const char* level, const std::vector<float>& got, const std::vector<float>& want,
    double tolerance) {
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double error = std::fabs((double)got[i] - want[i]), limit = tolerance * (1 + std::fabs((double)want[i]));
        if (!(error <= limit))
            fail(
                "recurrent: %s %s %s[%zu] = %.9g, portable %.9g; T %lld B %lld I %lld H %lld reverse %d", one.cell.name, level,
                what, i, got[i], want[i], (long long)one.time, (long long)one.batch, (long long)one.inputs,
                (long long)one.units, one.reverse);
    }
}

bool same_bits(const float* a, const float* b, std::int64_t n) {
    return n == 0 || std::memcmp(a, b, sizeof(float) * (std::size_t)n) == 0;
}

// One sequence gets a NaN or an infinity; the others must not notice.
void poison(Random& random, Case one, const Kernels& kernels, const Result& clean) {
    if (one.batch == 0) return;
    const std::int64_t victim = random.below(one.batch), length = one.lengths[(std::size_t)victim];
    if (length == 0) return;
    const std::int64_t t = random.below(length);
    const float value = random.chance(0.5) ? kNaN : random.chance(0.5) ? HUGE_VALF : -HUGE_VALF;
    one.x[(std::size_t)((t * one.batch + victim) * one.inputs + random.below(one.inputs))] = value;
    const Result got = run(one, kernels);
    const std::int64_t units = one.units;
    for (std::int64_t s = 0; s < one.batch; ++s) {
        const bool same_state = same_bits(got.h.data() + s * units, clean.h.data() + s * units, units);
        if (s != victim && !same_state)
            fail("recurrent: %s %s: a value of sequence %lld reached another", one.cell.name, kernels.level, (long long)victim);
        if (s == victim && std::isnan(value) && !std::isnan(got.h[(std::size_t)(s * units)]))
            fail("recurrent: %s %s: a NaN got lost", one.cell.name, kernels.level);
        for (std::int64_t step = 0; step < one.time; ++step) {
            const bool before = one.reverse ? step > t : step < t;
            const std::int64_t row = (step * one.batch + s) * units;
            if ((s != victim || before) && !same_bits(got.y.data() + row, clean.y.data() + row, units))
                fail("recurrent: %s %s: a value reached an earlier step or another sequence", one.cell.name, kernels.level);
        }
    }
}

void scaled(Case one, const Kernels& kernels, float scale) {
    for (float& x : one.x) x *= scale;
    const Result got = run(one, kernels);
    const float bound = one.cell.kind == CellKind::rnn_relu ? HUGE_VALF : 1.0001f;
    for (const float y : got.y)
        if (!(std::fabs(y) <= bound))
            fail("recurrent: %s %s: y = %g for x of size %g", one.cell.name, kernels.level, y, scale);
}

}  // namespace

void recurrent(std::int64_t rounds, std::uint64_t seed) {
    Random random(seed);
    for (std::int64_t round = 0; round < rounds; ++round) {
        const Case one = random_case(random);
        const Result want = run(one, level(0));
        // Rounding errors grow from step to step; each level is within its budget of the truth.
        const double tolerance = 8 * 0x1p-23 * std::sqrt((double)(one.inputs + one.units)) * (1 + (double)one.time);
        for (int index = 0; index < level_count(); ++index) {
            const Kernels& kernels = level(index);
            const Result got = run(one, kernels);
            expect_near("y", one, kernels.level, got.y, want.y, tolerance);
            expect_near("h", one, kernels.level, got.h, want.h, tolerance);
            expect_near("c", one, kernels.level, got.c, want.c, tolerance);
            for (std::int64_t t = 0; t < one.time; ++t)
                for (std::int64_t s = 0; s < one.batch; ++s)
                    for (std::int64_t u = 0; t >= one.lengths[(std::size_t)s] && u < one.units; ++u)
                        if (got.y[(std::size_t)((t * one.batch + s) * one.units + u)] != 0)
                            fail("recurrent: %s %s: y past a length is not 0", one.cell.name, kernels.level);
            poison(random, one, kernels, got);
            scaled(one, kernels, random.chance(0.5) ? 1e18f : 1e-41f);
        }
    }
    std::printf("recurrent: %lld cases;", (long long)rounds);
    for (int index = 0; index < level_count(); ++index) std::printf(" %s", level(index).level);
    std::puts("");
}

}  // namespace gatework::fuzz
