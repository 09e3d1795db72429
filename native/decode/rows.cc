#include "decode/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gatework::decode {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

double log_add(double a, double b) {
    const double most = std::max(a, b), least = std::min(a, b);
    return least == -std::numeric_limits<double>::infinity() ? most : most + std::log1p(std::exp(least - most));
}

}  // namespace

Rows::Rows(const Network& network, std::int64_t most, std::int64_t places) : network_(network), places_(places) {
    weights_.resize((std::size_t)(most * places));
    logits_.resize((std::size_t)(most * network.outputs));
    totals_.resize((std::size_t)most);
    if (network.head.packed) head_.prepare(*network.head.packed, *network.head.kernels, std::min(most, kHeadRows));
    if (network.copy) copied_.resize((std::size_t)places);
}

void Rows::say(const float* const* o, const std::vector<Move>& moves) {
    const auto rows = (std::int64_t)moves.size();
    for (std::int64_t at = 0, some; at < rows; at += some) {
        const auto* own = moves[(std::size_t)at].heads;
        for (some = 1; at + some < rows && some < kHeadRows && moves[(std::size_t)(at + some)].heads == own;) ++some;
        recurrent::Product& product = own ? (*own)->product : head_;
        const float* out = product.run(o + at, some);
        for (std::int64_t r = 0; r < some; ++r) {
            const float* from = out + r * product.wide;
            if (own) spread(moves[(std::size_t)at].source->only, from, at + r);
            else whole(from, at + r);
        }
    }
}

void Rows::whole(const float* from, std::int64_t row) {
    std::copy_n(from, network_.outputs, logits(row));
    totals_[(std::size_t)row] = sums_.log_sum(from + 1, network_.outputs - 1);
}

void Rows::spread(const std::vector<std::int32_t>& ids, const float* from, std::int64_t row) {
    float* to = logits(row);
    std::fill_n(to, network_.outputs, kNever);
    for (std::size_t k = 0; k < ids.size(); ++k) to[ids[k]] = from[k];
    totals_[(std::size_t)row] = sums_.log_sum(from, (std::int64_t)ids.size());
}

void Rows::copy(const Move& move, std::int64_t row, const float* h, const float* c) {
    const Network& n = network_;
    const Source& source = *move.source;
    const float *weight = n.copy, *a = looked(row), *x = n.embedding + move.token * n.embedding_width;
    const double z = (double)(dot(weight, c, n.memory) + dot(weight + n.memory, h, n.units) +
                              dot(weight + n.memory + n.units, x, n.embedding_width) + n.copy_bias);
    const double generates = -log_add(0.0, -z), copies = -log_add(0.0, z);
    float* own = logits(row);
    const auto shift = (float)(generates - (double)totals_[(std::size_t)row]);
    totals_[(std::size_t)row] = 0.0f;
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
