#include "decode/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gatework::decode {

namespace {

constexpr std::int64_t kHeadRows = 16;  // rows of logits at once
constexpr float kNever = -std::numeric_limits<float>::infinity();

double log_add(double a, double b) {
    const double most = std::max(a, b), least = std::min(a, b);
    return least == -std::numeric_limits<double>::infinity() ? most : most + std::log1p(std::exp(least - most));
}

}  // namespace

void soften(float* scores, std::int64_t S) {
    const float most = *std::max_element(scores, scores + S);
    float total = 0.0f;
    for (std::int64_t s = 0; s < S; ++s) total += scores[s] = std::exp(scores[s] - most);
    for (std::int64_t s = 0; s < S; ++s) scores[s] /= total;
}

Rows::Rows(const Network& network, std::int64_t most, std::int64_t places) : network_(network), places_(places) {
    weights_.resize((std::size_t)(most * places));
    logits_.resize((std::size_t)(most * network.outputs));
    head_.prepare(*network.head.packed, *network.head.kernels, std::min(most, kHeadRows));
    if (network.copy) copied_.resize((std::size_t)places);
}

void Rows::say(const float* const* o, std::int64_t rows) {
    for (std::int64_t at = 0; at < rows; at += kHeadRows) {
        const std::int64_t some = std::min(kHeadRows, rows - at);
        const float* out = head_.run(o + at, some);
        for (std::int64_t r = 0; r < some; ++r) std::copy_n(out + r * head_.wide, network_.outputs, logits(at + r));
    }
}

void Rows::copy(const Move& move, std::int64_t row, const float* h, const float* c) {
    const Network& n = network_;
    const Source& source = *move.source;
    const float *weight = n.copy, *a = looked(row), *x = n.embedding + move.token * n.embedding_width;
    const double z = (double)(dot(weight, c, n.memory) + dot(weight + n.memory, h, n.units) +
                              dot(weight + n.memory + n.units, x, n.embedding_width) + n.copy_bias);
    const double generates = -log_add(0.0, -z), copies = -log_add(0.0, z);
    float* own = logits(row);
    const auto shift = (float)(generates - (double)sums_.log_sum(own + 1, n.outputs - 1));
    own[0] = kNever;
    for (std::int64_t v = 1; v < n.outputs; ++v) own[v] += shift;
    float* copied = copied_.data();
    std::fill_n(copied, source.places, 0.0f);
    for (std::int64_t s = 0; s < source.places; ++s) copied[source.first[(std::size_t)s]] += a[s];
    for (std::int64_t s = 0; s < source.places; ++s) {
        if (copied[s] <= 0.0f) continue;
        float& to = own[source.ids[s]];
        to = (float)log_add((double)to, copies + std::log((double)copied[s]));
    }
}

}  // namespace gatework::decode
