// List Viterbi: the n paths of highest score. Each tag at each step keeps its n best arrivals, which are merged from the
// sorted lists of the step before: Seshadri and Sundberg's parallel algorithm. Float64, plain C++.

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <vector>

#include "crf/crf.h"

namespace gatework::crf {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// The next arrival from one source list: its score, the list, and the place in it.
struct Arrival {
    double score;
    std::int32_t source, place;

    // Order of a heap whose top is the highest score; of equal ones the lowest source, then the lowest place.
    bool operator<(const Arrival& other) const {
        if (score != other.score) return score < other.score;
        return source != other.source ? source > other.source : place > other.place;
    }
};

// Lists of paths that end in each tag, best first.
struct Lists {
    std::int64_t best;
    std::vector<double> scores;       // (K, best)
    std::vector<std::int64_t> sizes;  // (K)

    Lists(std::int64_t tags, std::int64_t n) : best(n), scores((std::size_t)(tags * n)), sizes((std::size_t)tags) {}
    const double* of(std::int64_t tag) const { return scores.data() + tag * best; }
};

// Takes the `best` highest of all sums lists[i][r] + more(i), in order: take(arrival). Sums of -inf are no paths.
template <class More, class Take>
void merge(const Lists& lists, std::vector<Arrival>& heap, const More& more, const Take& take) {
    heap.clear();
    for (std::size_t i = 0; i < lists.sizes.size(); ++i)
        if (lists.sizes[i] > 0) {
            const double score = lists.of((std::int64_t)i)[0] + more((std::int64_t)i);
            if (score > kNever) heap.push_back({score, (std::int32_t)i, 0});
        }
    std::make_heap(heap.begin(), heap.end());
    for (std::int64_t n = 0; n < lists.best && !heap.empty(); ++n) {
        std::pop_heap(heap.begin(), heap.end());
        Arrival& top = heap.back();
        take(top);
        if (++top.place < lists.sizes[(std::size_t)top.source]) {
            top.score = lists.of(top.source)[top.place] + more(top.source);
            std::push_heap(heap.begin(), heap.end());
        } else {
            heap.pop_back();
        }
    }
}

bool spoiled(const float* scores, std::int64_t n) {
    for (std::int64_t k = 0; k < n; ++k)
        if (!(scores[k] <= FLT_MAX)) return true;
    return false;
}

}  // namespace

void n_best_of(
    const Model& model, const Batch& batch, std::int64_t b, std::int64_t best, std::int64_t* tags, Rows tag_rows,
    std::int64_t path_stride, float* scores) {
    const std::int64_t tag_count = model.tags, length = batch.lengths[b];
    const auto emissions = [&](std::int64_t t) { return batch.emissions + batch.rows.at(t, b); };
    scores += b * best;
    for (std::int64_t n = 0; n < best; ++n) {
        scores[n] = (float)kNever;
        for (std::int64_t t = 0; t < length; ++t) tags[n * path_stride + tag_rows.at(t, b)] = 0;
    }
    if (length == 0) {
        scores[0] = 0.0f;
        return;
    }
    bool spoil = spoiled(model.start, tag_count) || spoiled(model.end, tag_count) ||
                 spoiled(model.transitions, tag_count * tag_count);
    for (std::int64_t t = 0; t < length; ++t) spoil = spoil || spoiled(emissions(t), tag_count);
    if (spoil) {
        std::fill(scores, scores + best, (float)NAN);
        return;
    }

    Lists now(tag_count, best), next(tag_count, best);
    std::vector<Arrival> heap;
    heap.reserve((std::size_t)tag_count);
    // from[t, j, n]: where the n-th best path to tag j at step t came from, as source x best + place.
    std::vector<std::int32_t> from((std::size_t)(length * tag_count * best));
    for (std::int64_t k = 0; k < tag_count; ++k) {
        now.scores[(std::size_t)(k * best)] = (double)model.start[k] + (double)emissions(0)[k];
        now.sizes[(std::size_t)k] = now.of(k)[0] > kNever;
    }
    for (std::int64_t t = 1; t < length; ++t) {
        for (std::int64_t j = 0; j < tag_count; ++j) {
            const double e = (double)emissions(t)[j];
            double* list = next.scores.data() + j * best;
            std::int32_t* arrivals = from.data() + (t * tag_count + j) * best;
            std::int64_t n = 0;
            merge(
                now, heap, [&](std::int64_t i) { return (double)model.transitions[i * tag_count + j]; },
                [&](const Arrival& top) {
                    list[n] = top.score + e;
                    arrivals[n++] = (std::int32_t)(top.source * best + top.place);
                });
            next.sizes[(std::size_t)j] = e > kNever ? n : 0;
        }
        std::swap(now, next);
    }
    std::int64_t n = 0;
    merge(
        now, heap, [&](std::int64_t i) { return (double)model.end[i]; },
        [&](const Arrival& top) {
            std::int64_t tag = top.source, place = top.place;
            for (std::int64_t t = length - 1; t >= 0; --t) {
                tags[n * path_stride + tag_rows.at(t, b)] = tag;
                if (t == 0) break;
                const std::int32_t arrival = from[(std::size_t)((t * tag_count + tag) * best + place)];
                tag = arrival / best;
                place = arrival % best;
            }
            scores[n++] = (float)top.score;
        });
}

}  // namespace gatework::crf
