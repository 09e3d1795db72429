// The CRF kernels. For random numbers of tags, lengths, scores (some minus infinity) and weights, at every level:
//   - nll and gradients are near those of the portable level; best paths and their scores have the same bits;
//   - everything has the same bits for any number of threads;
//   - padding, which is NaN, is not read, and becomes 0 in gradients and tags;
//   - of the n best paths the first is Viterbi's;
//   - of one sequence a NaN or infinity does not reach another, and comes through.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "crf/crf.h"
#include "tests/fuzz.h"
#include "threads/pool.h"

namespace gatework::fuzz {
namespace {

using namespace gatework::crf;

using Floats = std::vector<float>;
using Tags = std::vector<std::int64_t>;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kBest = 3;

struct Case {
    std::int64_t time, sequences, tags;
    bool with_gold, with_weights;
    std::vector<std::int64_t> lengths, at_time, at_sequence, row_time, row_sequence;
    Floats emissions, transitions, start, end, weights;
    Tags gold;
};

struct Result {
    Floats nll, d_emissions, d_transitions, d_start, d_end, scores, n_scores;
    Tags best, n_best;
};

Case random_case(Random& random) {
    Case one;
    one.time = random.below(30);
    one.sequences = random.below(random.chance(0.2) ? 70 : 10);
    one.tags = random.size(40);
    one.with_gold = random.chance(0.7);
    one.with_weights = random.chance(0.3);
    one.lengths = random.lengths(one.sequences, one.time);
    for (std::int64_t t = 0; t < one.time; ++t) {
        one.at_time.push_back(t * one.sequences * one.tags);
        one.row_time.push_back(t * one.sequences);
    }
    for (std::int64_t b = 0; b < one.sequences; ++b) {
        one.at_sequence.push_back(b * one.tags);
        one.row_sequence.push_back(b);
    }
    const float scale = random.chance(0.7) ? 2.0f : random.chance(0.5) ? 1e-30f : 1e3f;
    const auto scores = [&](std::int64_t n) {
        Floats values = random.floats((std::size_t)n, scale);
        if (random.chance(0.3))
            for (float& value : values) value = random.chance(0.1) ? kNever : value;
        return values;
    };
    one.emissions = random.floats((std::size_t)(one.time * one.sequences * one.tags), scale);
    one.transitions = scores(one.tags * one.tags);
    one.start = scores(one.tags);
    one.end = scores(one.tags);
    one.weights = random.floats((std::size_t)one.sequences, 2);
    for (std::int64_t row = 0; row < one.time * one.sequences; ++row) one.gold.push_back(random.below(one.tags));
    for (std::int64_t b = 0; b < one.sequences; ++b)
        for (std::int64_t t = one.lengths[(std::size_t)b]; t < one.time; ++t) {
            std::fill_n(one.emissions.begin() + (t * one.sequences + b) * one.tags, one.tags, kNaN);
            one.gold[(std::size_t)(t * one.sequences + b)] = std::int64_t{1} << 40;
        }
    return one;
}

Result run(const Case& one, const Kernels& kernels) {
    const std::size_t rows = (std::size_t)(one.time * one.sequences), tags = (std::size_t)one.tags;
    const Model model{one.tags, one.transitions.data(), one.start.data(), one.end.data()};
    const Rows scores_at{one.at_time.data(), one.at_sequence.data()}, rows_at{one.row_time.data(), one.row_sequence.data()};
    Batch batch{one.sequences, one.lengths.data(), nullptr, one.time, one.emissions.data(), scores_at, nullptr, {}};
    Result r;
    r.scores.assign((std::size_t)one.sequences, kNaN);
    r.best.assign(rows, -1);
    viterbi(kernels, model, batch, r.best.data(), rows_at, r.scores.data());
    r.n_scores.assign((std::size_t)(one.sequences * kBest), kNaN);
    r.n_best.assign(rows * kBest, -1);
    n_best(model, batch, kBest, r.n_best.data(), rows_at, (std::int64_t)rows, r.n_scores.data());
    if (one.with_gold) {
        batch.gold = one.gold.data();
        batch.gold_rows = rows_at;
    }
    r.nll.assign((std::size_t)one.sequences, kNaN);
    r.d_emissions.assign(rows * tags, kNaN);
    r.d_transitions.assign(tags * tags, kNaN);
    r.d_start.assign(tags, kNaN);
    r.d_end.assign(tags, kNaN);
    const Gradients gradients{one.with_weights ? one.weights.data() : nullptr, r.d_emissions.data(), scores_at,
                              r.d_transitions.data(), r.d_start.data(), r.d_end.data()};
    forward_backward(kernels, model, batch, r.nll.data(), &gradients, nullptr);
    Floats alone((std::size_t)one.sequences, kNaN);
    forward_backward(kernels, model, batch, alone.data(), nullptr, nullptr);
    for (std::size_t b = 0; b < alone.size(); ++b)
        if (std::memcmp(&alone[b], &r.nll[b], sizeof(float)) != 0 && !(std::isnan(alone[b]) && std::isnan(r.nll[b])))
            fail("crf: %s: nll %.9g without gradients, %.9g with", kernels.level, alone[b], r.nll[b]);
    return r;
}

void expect_near(const Case& one, const char* level, const char* what, const Floats& got, const Floats& want, double tolerance) {
    for (std::size_t i = 0; i < want.size(); ++i) {
        const bool same = got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]));
        const double limit = tolerance * (1 + std::fabs((double)want[i]));
        if (!same && !(std::fabs((double)got[i] - want[i]) <= limit))
            fail(
                "crf: %s: %s[%zu] = %.9g, expected %.9g; T %lld B %lld K %lld", level, what, i, got[i], want[i],
                (long long)one.time, (long long)one.sequences, (long long)one.tags);
    }
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), sizeof(T) * a.size()) == 0);
}

void expect_padding(const Case& one, const char* level, const Result& got) {
    for (std::int64_t b = 0; b < one.sequences; ++b)
        for (std::int64_t t = 0; t < one.time; ++t) {
            const std::size_t row = (std::size_t)(t * one.sequences + b);
            const bool real = t < one.lengths[(std::size_t)b];
            if (got.best[row] < 0 || got.best[row] >= one.tags || (!real && got.best[row] != 0))
                fail("crf: %s: tag %lld at t %lld", level, (long long)got.best[row], (long long)t);
            for (std::int64_t k = 0; !real && k < one.tags; ++k)
                if (got.d_emissions[row * (std::size_t)one.tags + (std::size_t)k] != 0) fail("crf: %s: a gradient past a length", level);
        }
}

// NaN or plus infinity in one sequence stays there and shows.
void poison(Random& random, Case one, const Kernels& kernels, const Result& clean) {
    if (one.sequences == 0) return;
    const std::int64_t victim = random.below(one.sequences), length = one.lengths[(std::size_t)victim];
    if (length == 0) return;
    const std::int64_t row = random.below(length) * one.sequences + victim;
    one.emissions[(std::size_t)(row * one.tags + random.below(one.tags))] = random.chance(0.5) ? kNaN : HUGE_VALF;
    const Result got = run(one, kernels);
    if (!std::isnan(got.nll[(std::size_t)victim])) fail("crf: %s: nll %g with a NaN", kernels.level, got.nll[(std::size_t)victim]);
    for (std::int64_t b = 0; b < one.sequences; ++b) {
        if (b == victim) continue;
        const std::size_t i = (std::size_t)b;
        bool same = std::memcmp(&got.nll[i], &clean.nll[i], sizeof(float)) == 0 && std::memcmp(&got.scores[i], &clean.scores[i], sizeof(float)) == 0;
        for (std::int64_t t = 0; t < one.time; ++t) {
            const std::size_t at = (std::size_t)(t * one.sequences + b);
            same = same && got.best[at] == clean.best[at];
            same = same && std::memcmp(&got.d_emissions[at * (std::size_t)one.tags], &clean.d_emissions[at * (std::size_t)one.tags], sizeof(float) * (std::size_t)one.tags) == 0;
        }
        if (!same) fail("crf: %s: a value of sequence %lld reached sequence %lld", kernels.level, (long long)victim, (long long)b);
    }
}

}  // namespace

void crf(std::int64_t rounds, std::uint64_t seed) {
    Random random(seed);
    const int before = gatework::threads::count();
    for (std::int64_t round = 0; round < rounds; ++round) {
        const Case one = random_case(random);
        gatework::threads::set_count(1);
        const Result want = run(one, level(0));
        for (int index = 0; index < level_count(); ++index) {
            const Kernels& kernels = level(index);
            gatework::threads::set_count(1 + (int)random.below(5));
            const Result got = run(one, kernels);
            expect_padding(one, kernels.level, got);
            expect_near(one, kernels.level, "nll", got.nll, want.nll, 4e-6 * (1 + (double)one.time));
            expect_near(one, kernels.level, "d_emissions", got.d_emissions, want.d_emissions, 4e-5);
            expect_near(one, kernels.level, "d_transitions", got.d_transitions, want.d_transitions, 1e-4 * (1 + (double)one.time));
            expect_near(one, kernels.level, "d_start", got.d_start, want.d_start, 4e-4);
            expect_near(one, kernels.level, "d_end", got.d_end, want.d_end, 4e-4);
            if (!same_bits(got.best, want.best)) fail("crf: %s: another best path", kernels.level);
            for (std::int64_t b = 0; b < one.sequences; ++b) {
                const float first = got.n_scores[(std::size_t)(b * kBest)], best = got.scores[(std::size_t)b];
                if (!(first == best || std::fabs(first - best) <= 1e-5f * (1 + std::fabs(best))))
                    fail("crf: %s: best score %g, first of the n best %g", kernels.level, best, first);
            }
            const Result again = run(one, kernels);
            gatework::threads::set_count(1);
            const Result alone = run(one, kernels);
            for (const Result* other : {&again, &alone})
                if (!same_bits(got.nll, other->nll) || !same_bits(got.d_emissions, other->d_emissions) ||
                    !same_bits(got.d_transitions, other->d_transitions) || !same_bits(got.best, other->best) ||
                    !same_bits(got.scores, other->scores) || !same_bits(got.n_best, other->n_best))
                    fail("crf: %s: other bits with other threads", kernels.level);
            poison(random, one, kernels, got);
        }
    }
    gatework::threads::set_count(before);
    std::printf("crf: %lld cases;", (long long)rounds);
    for (int index = 0; index < level_count(); ++index) std::printf(" %s", level(index).level);
    std::puts("");
}

}  // namespace gatework::fuzz
