// Forward-backward in the log domain and in float64, one sequence at a time: for scores no scaling brings into float32's
// range, and for forbidden transitions that leave nothing but what underflowed. Slow and exact.

#include <cfloat>
#include <cmath>
#include <limits>

#include "crf/crf.h"

namespace gatework::crf {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr double kNothing = -60.0;  // exp of less does not change a sum of K <= 1e9 terms, the largest of them 1

// largest[j] + log sum[j] = log sum_i exp(terms(i, j)); `row(i)` gives the term of j = 0, they lie side by side.
struct LogSums {
    double* largest;
    double* sum;
    std::int64_t count;

    void clear() {
        for (std::int64_t j = 0; j < count; ++j) largest[j] = kNever, sum[j] = 0.0;
    }
    double value(std::int64_t j) const { return largest[j] == kNever ? kNever : largest[j] + std::log(sum[j]); }
};

bool spoiled(const float* scores, std::int64_t n) {
    for (std::int64_t k = 0; k < n; ++k)
        if (!(scores[k] <= FLT_MAX)) return true;
    return false;
}

bool spoiled(const Model& model, const Batch& batch, std::int64_t b) {
    const std::int64_t tags = model.tags;
    if (spoiled(model.start, tags) || spoiled(model.end, tags)) return true;
    if (batch.lengths[b] > 1 && spoiled(model.transitions, tags * tags)) return true;
    for (std::int64_t t = 0; t < batch.lengths[b]; ++t)
        if (spoiled(batch.emissions + batch.rows.at(t, b), tags)) return true;
    return false;
}

void fill_with_nan(
    const Model& model, const Batch& batch, std::int64_t b, float* nll, const Gradients* gradients,
    const PathShares* path, double* counts, std::int64_t stride) {
    *nll = NAN;
    for (std::int64_t t = 0; path && t < batch.lengths[b]; ++t)
        path->p[path->rows.at(t, b)] = path->step[path->rows.at(t, b)] = NAN;
    if (!gradients) return;
    for (std::int64_t t = 0; t < batch.lengths[b]; ++t)
        for (std::int64_t k = 0; k < model.tags; ++k) gradients->d_emissions[gradients->rows.at(t, b) + k] = NAN;
    if (batch.lengths[b] > 1)
        for (std::int64_t i = 0; i < model.tags; ++i)
            for (std::int64_t j = 0; j < model.tags; ++j) counts[i * stride + j] = NAN;
}

}  // namespace

double gold_score(const Model& model, const Batch& batch, std::int64_t b) {
    const std::int64_t length = batch.lengths[b];
    if (length == 0) return 0.0;
    std::int64_t tag = batch.gold[batch.gold_rows.at(0, b)];
    double score = (double)model.start[tag] + (double)batch.emissions[batch.rows.at(0, b) + tag];
    for (std::int64_t t = 1; t < length; ++t) {
        const std::int64_t next = batch.gold[batch.gold_rows.at(t, b)];
        score += (double)model.transitions[tag * model.tags + next];
        score += (double)batch.emissions[batch.rows.at(t, b) + next];
        tag = next;
    }
    return score + (double)model.end[tag];
}

void exact(
    const Model& model, const Batch& batch, std::int64_t b, float* nll, const Gradients* gradients,
    const PathShares* path, double* counts, std::int64_t stride, double* scratch) {
    const std::int64_t tags = model.tags, length = batch.lengths[b];
    if (spoiled(model, batch, b)) return fill_with_nan(model, batch, b, nll, gradients, path, counts, stride);
    const auto emissions = [&](std::int64_t t) { return batch.emissions + batch.rows.at(t, b); };
    LogSums sums{scratch, scratch + tags, tags};
    double *beta = scratch + 2 * tags, *alpha = scratch + 3 * tags;

    for (std::int64_t k = 0; k < tags; ++k) alpha[k] = (double)model.start[k] + (double)emissions(0)[k];
    for (std::int64_t t = 1; t < length; ++t) {
        const double* before = alpha + (t - 1) * tags;
        sums.clear();
        for (std::int64_t i = 0; i < tags; ++i)
            for (std::int64_t j = 0; j < tags; ++j) {
                const double score = before[i] + (double)model.transitions[i * tags + j];
                sums.largest[j] = score > sums.largest[j] ? score : sums.largest[j];
            }
        for (std::int64_t i = 0; i < tags; ++i) {
            if (before[i] == kNever) continue;
            for (std::int64_t j = 0; j < tags; ++j) {
                const double rest = before[i] + (double)model.transitions[i * tags + j] - sums.largest[j];
                if (rest > kNothing) sums.sum[j] += std::exp(rest);
            }
        }
        for (std::int64_t j = 0; j < tags; ++j) alpha[t * tags + j] = sums.value(j) + (double)emissions(t)[j];
    }
    const double* last = alpha + (length - 1) * tags;
    double largest = kNever, sum = 0.0;
    for (std::int64_t k = 0; k < tags; ++k) {
        beta[k] = (double)model.end[k];
        largest = last[k] + beta[k] > largest ? last[k] + beta[k] : largest;
    }
    if (largest != kNever)
        for (std::int64_t k = 0; k < tags; ++k) sum += std::exp(last[k] + beta[k] - largest);
    const double log_z = largest == kNever ? kNever : largest + std::log(sum);
    // No path is allowed: logZ is -inf, and shares of it mean nothing.
    if (log_z == kNever && (gradients || path || batch.gold)) {
        fill_with_nan(model, batch, b, nll, gradients, path, counts, stride);
        if (!batch.gold) *nll = (float)kNever;
        return;
    }
    *nll = (float)(batch.gold ? log_z - gold_score(model, batch, b) : log_z);
    if (!gradients && !path) return;

    const double weight = gradients && gradients->weights ? (double)gradients->weights[b] : 1.0;
    for (std::int64_t t = length - 1; t >= 0; --t) {
        const double* now = alpha + t * tags;
        if (t + 1 < length) {
            // Here beta is the next step's, with its emissions: beta[j] + e[t + 1, j].
            for (std::int64_t i = 0; i < tags; ++i) {
                const float* row = model.transitions + i * tags;
                double top = kNever, total = 0.0;
                for (std::int64_t j = 0; j < tags; ++j) {
                    const double score = (double)row[j] + beta[j];
                    top = score > top ? score : top;
                }
                if (top != kNever)
                    for (std::int64_t j = 0; j < tags; ++j) {
                        const double score = (double)row[j] + beta[j], share = now[i] + score - log_z;
                        if (score - top > kNothing) total += std::exp(score - top);
                        if (gradients && share > kNothing) counts[i * stride + j] += weight * std::exp(share);
                    }
                sums.sum[i] = top == kNever ? kNever : top + std::log(total);
            }
            if (path) {
                const std::int64_t tag = batch.gold[batch.gold_rows.at(t, b)], next = batch.gold[batch.gold_rows.at(t + 1, b)];
                const double step = (double)model.transitions[tag * tags + next] + beta[next] - sums.sum[tag];
                path->step[path->rows.at(t + 1, b)] = sums.sum[tag] == kNever ? 0.0f : (float)std::exp(step);
            }
            for (std::int64_t k = 0; k < tags; ++k) beta[k] = sums.sum[k];
        }
        if (path) {
            const std::int64_t tag = batch.gold[batch.gold_rows.at(t, b)];
            path->p[path->rows.at(t, b)] = (float)std::exp(now[tag] + beta[tag] - log_z);
            if (t == 0) path->step[path->rows.at(0, b)] = path->p[path->rows.at(0, b)];
            for (std::int64_t k = 0; k < tags; ++k) beta[k] += (double)emissions(t)[k];
            continue;
        }
        float* out = gradients->d_emissions + gradients->rows.at(t, b);
        for (std::int64_t k = 0; k < tags; ++k) out[k] = (float)(weight * std::exp(now[k] + beta[k] - log_z));
        if (batch.gold) out[batch.gold[batch.gold_rows.at(t, b)]] -= (float)weight;
        for (std::int64_t k = 0; k < tags; ++k) beta[k] += (double)emissions(t)[k];
    }
}

}  // namespace gatework::crf
