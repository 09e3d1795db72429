#include "decode/ensemble_rows.h"

#include <algorithm>
#include <limits>

#include "generate/exponent.h"

namespace gatework::decode {

namespace {

constexpr std::int64_t kBlock = 256;  // tokens mixed at once
constexpr float kNever = -std::numeric_limits<float>::infinity();

}  // namespace

EnsembleRows::EnsembleRows(const EnsembleNetwork& network, std::int64_t most, std::int64_t places)
    : Rows(network, most, places), own_(network), parts_((std::size_t)kBlock * network.members.size()) {
    for (const Network* one : network.members) members_.push_back(one->rows(most, places));
    mixed_.resize((std::size_t)kBlock);
}

std::unique_ptr<Rows> EnsembleNetwork::rows(std::int64_t most, std::int64_t places) const {
    return std::make_unique<EnsembleRows>(*this, most, places);
}

void EnsembleRows::step(const std::vector<Move>& moves) {
    for (std::size_t m = 0; m < members_.size(); ++m) {
        moves_.clear();
        for (const Move& one : moves) moves_.push_back({one.from, &one.source->members[m], one.token, one.heads ? one.heads + m : nullptr});
        members_[m]->step(moves_);
    }
    for (std::size_t row = 0; row < moves.size(); ++row) {
        mix(moves[row], (std::int64_t)row);
        if (own_.attention != Attention::none) look(moves[row], (std::int64_t)row);
    }
}

// log of the mean probability of every token, or of those that may come; a block after the other.
void EnsembleRows::mix(const Move& move, std::int64_t row) {
    float* to = logits(row);
    const std::vector<std::int32_t>& only = move.source->only;
    const bool some = move.heads != nullptr;
    const std::int64_t all = some ? (std::int64_t)only.size() : own_.outputs - 1;
    if (some) std::fill_n(to, own_.outputs, kNever);
    to[0] = kNever;
    const float share = 1.0f / (float)members_.size();
    for (std::int64_t at = 0; at < all; at += kBlock) {
        const std::int64_t count = std::min(kBlock, all - at);
        std::fill_n(mixed_.data(), count, kNever);
        for (std::size_t m = 0; m < members_.size(); ++m) {
            const float *from = members_[m]->logits(row), total = members_[m]->total(row);
            float *part = parts_.data() + m * kBlock, *most = mixed_.data();
            if (some)
                for (std::int64_t k = 0; k < count; ++k) part[k] = from[only[(std::size_t)(at + k)]] - total;
            else
                for (std::int64_t k = 0; k < count; ++k) part[k] = from[1 + at + k] - total;
            for (std::int64_t k = 0; k < count; ++k) most[k] = part[k] > most[k] ? part[k] : most[k];
        }
        float sums[kBlock] = {};
        for (std::size_t m = 0; m < members_.size(); ++m) {
            const float *part = parts_.data() + m * kBlock, *most = mixed_.data();
            for (std::int64_t k = 0; k < count; ++k) sums[k] += generate::exp_below(part[k] - most[k]);
        }
        for (std::int64_t k = 0; k < count; ++k) mixed_[(std::size_t)k] += generate::log_of(sums[k] * share);
        if (some)
            for (std::int64_t k = 0; k < count; ++k) to[only[(std::size_t)(at + k)]] = mixed_[(std::size_t)k];
        else
            std::copy_n(mixed_.data(), count, to + 1 + at);
    }
    totals_[(std::size_t)row] = 0.0f;
}

// The mean weights of members that look.
void EnsembleRows::look(const Move& move, std::int64_t row) {
    float* to = weights_.data() + row * places_;
    const std::int64_t S = move.source->places;
    std::fill_n(to, S, 0.0f);
    float looking = 0.0f;
    for (std::size_t m = 0; m < members_.size(); ++m) {
        if (own_.members[m]->attention == Attention::none) continue;
        add(to, 1.0f, members_[m]->looked(row), S);
        looking += 1.0f;
    }
    for (std::int64_t s = 0; s < S; ++s) to[s] /= looking;
}

}  // namespace gatework::decode
