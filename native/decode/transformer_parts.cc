#include "decode/transformer_parts.h"

#include <algorithm>
#include <cmath>

#include "decode/sums.h"

namespace gatework::decode {

Positions::Positions(std::int64_t width) : half_(width / 2), scale_((float)std::sqrt((double)width)) {
    for (std::int64_t i = 0; i < half_; ++i) rates_.push_back(std::pow(10000.0, -(double)i / (double)half_));
    for (std::int64_t at = 0; at < kKept; ++at)
        for (const bool sine : {true, false})
            for (const double rate : rates_) kept_.push_back((float)(sine ? std::sin((double)at * rate) : std::cos((double)at * rate)));
}

void Positions::place(const float* from, std::int64_t at, float* to) const {
    if (at < kKept) {
        const float* kept = kept_.data() + at * 2 * half_;
        for (std::int64_t i = 0; i < 2 * half_; ++i) to[i] = from[i] * scale_ + kept[i];
        return;
    }
    for (std::int64_t i = 0; i < half_; ++i) {
        const double angle = (double)at * rates_[(std::size_t)i];
        to[i] = from[i] * scale_ + (float)std::sin(angle);
        to[half_ + i] = from[half_ + i] * scale_ + (float)std::cos(angle);
    }
}

void normed(const float* x, const Norm& norm, float epsilon, std::int64_t width, float* y) {
    const auto count = (float)width;
    float sum = 0.0f;
    for (std::int64_t i = 0; i < width; ++i) sum += x[i];
    const float mean = sum / count;
    for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] - mean;
    const float scale = 1.0f / std::sqrt(dot(y, y, width) / count + epsilon);
    for (std::int64_t i = 0; i < width; ++i) y[i] = y[i] * scale * norm.gain[i] + norm.shift[i];
}

void attend(const float* q, const float* const* keys, std::int64_t S, std::int64_t width, std::int64_t heads, float* y, float* weights,
            float* scores) {
    const std::int64_t wide = width / heads;
    const float scale = 1.0f / std::sqrt((float)wide), share = 1.0f / (float)heads;
    std::fill_n(y, width, 0.0f);
    if (weights) std::fill_n(weights, S, 0.0f);
    for (std::int64_t at = 0; at < width; at += wide) {
        for (std::int64_t s = 0; s < S; ++s) scores[s] = scale * dot(q + at, keys[s] + at, wide);
        soften(scores, S);
        for (std::int64_t s = 0; s < S; ++s) add(y + at, scores[s], keys[s] + width + at, wide);
        if (weights) add(weights, share, scores, S);
    }
}

}  // namespace gatework::decode
