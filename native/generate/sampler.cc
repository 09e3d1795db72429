#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "generate/exponent.h"

namespace gatework::generate {

namespace {

std::uint64_t mixed(std::uint64_t x) {  // SplitMix64
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

}  // namespace

double uniform(std::uint64_t seed, std::uint64_t position) {
    return (double)(mixed(seed ^ mixed(position)) >> 11) * 0x1p-53;
}

std::uint64_t row_seed(std::uint64_t seed, std::uint64_t row) { return row == 0 ? seed : mixed(mixed(seed) ^ row); }

float Sampler::log_sum(const float* values, std::int64_t count) {
    // Several maxima and sums side by side, so that the loops become vector code.
    constexpr int kWide = 16;
    float highest[kWide];
    std::fill_n(highest, kWide, -std::numeric_limits<float>::infinity());
    const std::int64_t whole = count - count % kWide;
    for (std::int64_t i = 0; i < whole; i += kWide)
        for (int k = 0; k < kWide; ++k) highest[k] = values[i + k] > highest[k] ? values[i + k] : highest[k];
    float most = *std::max_element(highest, highest + kWide);
    for (std::int64_t i = whole; i < count; ++i) most = values[i] > most ? values[i] : most;
    double sums[kWide] = {};
    float terms[kWide];
    for (std::int64_t i = 0; i < whole; i += kWide) {
        for (int k = 0; k < kWide; ++k) terms[k] = exp_below(values[i + k] - most);
        for (int k = 0; k < kWide; ++k) sums[k] += (double)terms[k];
    }
    for (std::int64_t i = whole; i < count; ++i) sums[i - whole] += (double)exp_below(values[i] - most);
    double total = 0.0;
    for (const double sum : sums) total += sum;
    return most + (float)std::log(total);
}

// Marks candidates that would make n-grams of the text, `length` long, come again.
void Sampler::ban(const std::int32_t* candidates, std::int64_t count, const std::int32_t* recent, std::int64_t remembered,
                  std::int64_t length, std::int32_t exempt) {
    banned_.assign((std::size_t)count, 0);
    const std::int64_t before = length - 1;
    std::int64_t left = count;
    for (std::int64_t start = 0; start + length <= remembered; ++start) {
        if (!std::equal(recent + start, recent + start + before, recent + remembered - before)) continue;
        const std::int32_t token = recent[start + before];
        if (token == exempt) continue;
        const std::int32_t* at = std::lower_bound(candidates, candidates + count, token);
        if (at == candidates + count || *at != token || banned_[(std::size_t)(at - candidates)]) continue;
        banned_[(std::size_t)(at - candidates)] = 1;
        --left;
    }
    if (left == 0) banned_.assign((std::size_t)count, 0);  // something has to come
}

// Sets the weights of candidates to 0 that top_k, top_p or min_p leave out. Of equal ones the lower ids stay.
void Sampler::keep_top(const Settings& settings) {
    const auto count = (std::int64_t)weights_.size();
    const double* weights = weights_.data();
    const auto above = [weights](std::int32_t a, std::int32_t b) { return weights[a] > weights[b] || (weights[a] == weights[b] && a < b); };
    double total = 0.0, most = 0.0;
    order_.clear();
    for (std::int64_t i = 0; i < count; ++i) {
        if (weights[i] > 0.0) order_.push_back((std::int32_t)i);
        most = std::max(most, weights[i]);
    }
    auto kept = (std::int64_t)order_.size();
    if (settings.top_k > 0 && settings.top_k < kept) {
        std::nth_element(order_.begin(), order_.begin() + settings.top_k, order_.end(), above);
        kept = settings.top_k;
    }
    if (settings.top_p < 1.0) {
        for (std::int64_t i = 0; i < kept; ++i) total += weights[order_[(std::size_t)i]];
        // The most likely first, in ever larger portions: rarely are many needed.
        double sum = 0.0;
        std::int64_t needed = 0;
        for (std::int64_t sorted = 0, portion = 64; needed < kept && sum < settings.top_p * total; portion *= 8) {
            if (needed == sorted) {
                sorted = std::min(kept, sorted + portion);
                std::partial_sort(order_.begin() + needed, order_.begin() + sorted, order_.begin() + kept, above);
            }
            while (needed < sorted && sum < settings.top_p * total) sum += weights[order_[(std::size_t)needed++]];
        }
        kept = needed;
    }
    std::vector<double>& all = weights_;
    for (auto i = (std::size_t)kept; i < order_.size(); ++i) all[(std::size_t)order_[i]] = 0.0;
    for (std::int64_t i = 0; i < kept; ++i) {
        double& weight = all[(std::size_t)order_[(std::size_t)i]];
        if (weight < settings.min_p * most) weight = 0.0;
    }
}

Choice Sampler::choose(const float* logits, float log_sum, const std::int32_t* candidates, std::int64_t count,
                       const std::int32_t* recent, std::int64_t remembered, const Settings& settings, double u) {
    scores_.resize((std::size_t)count);
    float* scores = scores_.data();
    for (std::int64_t i = 0; i < count; ++i) scores[i] = logits[candidates[i]] - log_sum;
    if (settings.repetition_penalty != 1.0) {
        const auto penalty = (float)settings.repetition_penalty;
        banned_.assign((std::size_t)count, 0);
        for (std::int64_t k = 0; k < remembered; ++k) {
            if (recent[k] == settings.exempt) continue;
            const std::int32_t* at = std::lower_bound(candidates, candidates + count, recent[k]);
            if (at != candidates + count && *at == recent[k]) banned_[(std::size_t)(at - candidates)] = 1;
        }
        for (std::int64_t i = 0; i < count; ++i)
            if (banned_[(std::size_t)i]) scores[i] *= penalty;
    }
    if (settings.no_repeat > 0) {
        ban(candidates, count, recent, remembered, settings.no_repeat, settings.exempt);
        for (std::int64_t i = 0; i < count; ++i)
            if (banned_[(std::size_t)i]) scores[i] = -std::numeric_limits<float>::infinity();
    }
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < count; ++i)
        if (scores[i] > scores[best]) best = i;
    std::int64_t chosen = best;
    if (settings.temperature > 0.0) {
        weights_.resize((std::size_t)count);
        terms_.resize((std::size_t)count);
        float* terms = terms_.data();
        const float most = scores[best], cold = (float)(1.0 / settings.temperature);
        for (std::int64_t i = 0; i < count; ++i) terms[i] = exp_below((scores[i] - most) * cold);
        for (std::int64_t i = 0; i < count; ++i) weights_[(std::size_t)i] = (double)terms[i];
        if (settings.top_k > 0 || settings.top_p < 1.0 || settings.min_p > 0.0) keep_top(settings);
        double total = 0.0, reached = 0.0;
        for (const double weight : weights_) total += weight;
        for (std::int64_t i = 0; i < count; ++i) {
            if (weights_[(std::size_t)i] == 0.0) continue;
            chosen = i;
            reached += weights_[(std::size_t)i];
            if (reached > u * total) break;
        }
    }
    return {candidates[chosen], chosen, logits[candidates[chosen]] - log_sum};
}

}  // namespace gatework::generate
