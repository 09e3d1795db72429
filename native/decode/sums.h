// Sums over a row, plain loops that become vector code.

#pragma once

#include <cstdint>

#include "generate/exponent.h"

namespace gatework::decode {

// Several sums at once, so that the loop becomes vector code.
inline float dot(const float* a, const float* b, std::int64_t n) {
    float sums[16] = {};
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; ++k) sums[k] += a[i + k] * b[i + k];
    float rest = 0.0f;
    for (; i < n; ++i) rest += a[i] * b[i];
    for (int k = 0; k < 16; ++k) rest += sums[k];
    return rest;
}

// to += weight x from.
inline void add(float* to, float weight, const float* from, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) to[i] += weight * from[i];
}

// Scores of S places, of which there is one, become weights.
inline void soften(float* scores, std::int64_t S) {
    float most = scores[0], total = 0.0f;
    for (std::int64_t s = 1; s < S; ++s) most = scores[s] > most ? scores[s] : most;
    for (std::int64_t s = 0; s < S; ++s) scores[s] = generate::exp_below(scores[s] - most);
    for (std::int64_t s = 0; s < S; ++s) total += scores[s];
    const float share = 1.0f / total;
    for (std::int64_t s = 0; s < S; ++s) scores[s] *= share;
}

}  // namespace gatework::decode
