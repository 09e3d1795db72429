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

// A path's last step: its score, the tag it came from, and its place in that tag's list.
struct Arrival {
    double score;
    std::int64_t source, place;
};

// Lists of paths that end in each tag, best first.
struct Lists {
    std::int64_t best;
    std::vector<double> scores;       // (K, best)
    std::vector<std::int64_t> sizes;  // (K)

    Lists(std::int64_t tags, std::int64_t n) : best(n), scores((std::size_t)(tags * n)), sizes((std::size_t)tags) {}
    const double* of(std::int64_t tag) const { return scores.data() + tag * best; }
};

// Takes the `best` highest of all sums lists[i][r] + more[i], in order: take(arrival); of equal ones the lowest i, then the
// lowest r. Sums of -inf are no paths. The heads of the lists are searched one after another: for tens of them that is
// several times as fast as a heap.
class Merge {
public:
    explicit Merge(std::int64_t tags)
        : more((std::size_t)tags), heads_((std::size_t)(tags + 3) / 4 * 4), places_((std::size_t)tags) {}

    std::vector<double> more;

    template <class Take>
    void run(const Lists& lists, const Take& take) {
        const std::size_t tags = more.size();
        std::fill(heads_.begin(), heads_.end(), kNever);
        std::fill(places_.begin(), places_.end(), 0);
        for (std::size_t i = 0; i < tags; ++i)
            if (lists.sizes[i] > 0) heads_[i] = lists.of((std::int64_t)i)[0] + more[i];
        for (std::int64_t n = 0; n < lists.best; ++n) {
            const double top = largest();
            if (top == kNever) break;
            std::size_t i = 0;
            while (heads_[i] != top) ++i;
            take(Arrival{top, (std::int64_t)i, places_[i]});
            const std::int64_t next = ++places_[i];
            heads_[i] = next < lists.sizes[i] ? lists.of((std::int64_t)i)[next] + more[i] : kNever;
        }
    }

private:
    double largest() const {
        double top[4] = {kNever, kNever, kNever, kNever};
        for (std::size_t i = 0; i < heads_.size(); i += 4)
            for (std::size_t l = 0; l < 4; ++l) top[l] = heads_[i + l] > top[l] ? heads_[i + l] : top[l];
        const double left = top[0] > top[1] ? top[0] : top[1], right = top[2] > top[3] ? top[2] : top[3];
        return left > right ? left : right;
    }

    std::vector<double> heads_;  // the best sum left of each list
    std::vector<std::int64_t> places_;
};

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
    Merge merge(tag_count);
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
            for (std::int64_t i = 0; i < tag_count; ++i)
                merge.more[(std::size_t)i] = (double)model.transitions[i * tag_count + j];
            merge.run(now, [&](const Arrival& top) {
                list[n] = top.score + e;
                arrivals[n++] = (std::int32_t)(top.source * best + top.place);
            });
            next.sizes[(std::size_t)j] = e > kNever ? n : 0;
        }
        std::swap(now, next);
    }
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < tag_count; ++i) merge.more[(std::size_t)i] = (double)model.end[i];
    merge.run(now, [&](const Arrival& top) {
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
