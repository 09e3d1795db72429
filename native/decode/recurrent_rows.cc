#include "decode/recurrent_rows.h"

#include <algorithm>

namespace gatework::decode {

namespace {

using recurrent::padded;
using recurrent::StepLayer;

// Rows of `width` floats, `apart` from each other, change places through `spare`.
void take(float* rows, std::int64_t apart, std::int64_t width, const std::vector<Move>& moves, std::vector<float>& spare) {
    spare.resize(moves.size() * (std::size_t)width);
    for (std::size_t r = 0; r < moves.size(); ++r)
        if (moves[r].from >= 0) std::copy_n(rows + moves[r].from * apart, width, spare.data() + r * (std::size_t)width);
    for (std::size_t r = 0; r < moves.size(); ++r)
        if (moves[r].from >= 0) std::copy_n(spare.data() + r * (std::size_t)width, width, rows + (std::int64_t)r * apart);
}

}  // namespace

RecurrentRows::RecurrentRows(const RecurrentNetwork& network, std::int64_t most, std::int64_t places)
    : Rows(network, most, places), own_(network), joined_(padded(network.units + network.memory)) {
    const RecurrentNetwork& n = own_;
    for (const Weights& own : n.layers) {
        layers_.push_back(std::make_unique<StepLayer>(*own.packed, *own.kernels));
        layers_.back()->resize(most);
    }
    if (n.attention == Attention::additive) query_.prepare(*n.query.packed, *n.query.kernels, most);
    output_.prepare(*n.output.packed, *n.output.kernels, most);
    if (n.input_feeding) inputs_.resize((std::size_t)(most * 2 * n.embedding_width));
    join_.resize((std::size_t)(most * joined_));
    fed_.resize((std::size_t)(most * output_.wide));
    seen_.resize((std::size_t)(n.coverage ? most * places : 0));
    scores_.resize((std::size_t)(places * padded(std::max<std::int64_t>(n.keys, 1))));
    x_.resize((std::size_t)most);
}

std::unique_ptr<Rows> RecurrentNetwork::rows(std::int64_t most, std::int64_t places) const {
    return std::make_unique<RecurrentRows>(*this, most, places);
}

std::vector<Network::Widths> RecurrentNetwork::states() const {
    std::vector<Widths> widths;
    for (const Weights& own : layers) widths.push_back({own.packed->outputs, own.packed->cell.memory ? own.packed->units : 0});
    return widths;
}

// States, what is fed back and what was seen follow their rows; new ones begin.
void RecurrentRows::gather(const std::vector<Move>& moves) {
    bool same = true;
    for (std::size_t r = 0; r < moves.size(); ++r) same = same && moves[r].from == (std::int64_t)r;
    if (same) return;
    for (std::size_t k = 0; k < layers_.size(); ++k) {
        StepLayer& layer = *layers_[k];
        const std::int64_t width = layer.packed->outputs, units = layer.packed->units;
        take(layer.state_h(), layer.P, layer.P, moves, spare_);
        if (layer.packed->cell.memory) take(layer.state_c(), layer.H, layer.H, moves, spare_);
        for (std::size_t r = 0; r < moves.size(); ++r) {
            if (moves[r].from >= 0) continue;
            layer.clear((std::int64_t)r);
            std::copy_n(moves[r].source->h[k], width, layer.state_h() + (std::int64_t)r * layer.P);
            if (moves[r].source->c[k]) std::copy_n(moves[r].source->c[k], units, layer.state_c() + (std::int64_t)r * layer.H);
        }
    }
    const auto follow = [&](std::vector<float>& rows, std::int64_t width) {
        take(rows.data(), width, width, moves, spare_);
        for (std::size_t r = 0; r < moves.size(); ++r)
            if (moves[r].from < 0) std::fill_n(rows.data() + (std::int64_t)r * width, width, 0.0f);
    };
    if (own_.input_feeding) follow(fed_, output_.wide);
    if (own_.coverage) follow(seen_, places_);
}

void RecurrentRows::step(const std::vector<Move>& moves) {
    const RecurrentNetwork& n = own_;
    const auto rows = (std::int64_t)moves.size();
    const std::int64_t E = n.embedding_width, H = n.units;
    gather(moves);
    StepLayer& first = *layers_[0];
    const std::int64_t stride = n.layers[0].packed->cell.w_slots * first.H;
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t read = moves[(std::size_t)r].token;
        if (n.table) {
            first.x[(std::size_t)r] = n.table + read * stride;
        } else if (n.input_feeding) {
            float* to = inputs_.data() + r * 2 * E;
            std::copy_n(n.embedding + read * E, E, to);
            std::copy_n(fed_.data() + r * output_.wide, E, to + E);
            first.x[(std::size_t)r] = to;
        } else {
            first.x[(std::size_t)r] = n.embedding + read * E;
        }
    }
    first.step(rows, n.table != nullptr, false);
    for (std::int64_t r = 0; r < rows; ++r) x_[(std::size_t)r] = first.state_h() + r * first.P;
    const float* asked = n.attention == Attention::additive ? query_.run(x_.data(), rows) : nullptr;
    for (std::int64_t r = 0; r < rows; ++r)
        attend(*moves[(std::size_t)r].source, r, x_[(std::size_t)r], asked ? asked + r * query_.wide : nullptr);
    for (std::size_t k = 0; k < layers_.size(); ++k) {
        StepLayer& below = *layers_[k];
        for (std::int64_t r = 0; r < rows; ++r) {
            float* to = join_.data() + r * joined_;
            std::copy_n(below.state_h() + r * below.P, H, to);
            if (k + 1 < layers_.size()) layers_[k + 1]->x[(std::size_t)r] = to;
            x_[(std::size_t)r] = to;
        }
        if (k + 1 < layers_.size()) layers_[k + 1]->step(rows, false, false);
    }
    const float* sums = output_.run(x_.data(), rows);
    n.output.kernels->activate(1, sums, fed_.data(), rows * output_.wide);
    for (std::int64_t r = 0; r < rows; ++r) x_[(std::size_t)r] = fed_.data() + r * output_.wide;
    say(x_.data(), moves);
    if (n.copy) {
        for (std::int64_t r = 0; r < rows; ++r) {
            const float* h = join_.data() + r * joined_;
            copy(moves[(std::size_t)r], r, h, h + H);
        }
    }
}

// The weights of the source's places, and behind H floats of the joined row what they make of the memory.
void RecurrentRows::attend(const Source& source, std::int64_t row, const float* q, const float* asked) {
    const RecurrentNetwork& n = own_;
    float* c = join_.data() + row * joined_ + n.units;
    if (n.attention == Attention::none) {
        std::copy_n(source.summary, n.memory, c);
        return;
    }
    float* a = weights_.data() + row * places_;
    const std::int64_t S = source.places, K = n.keys;
    float* seen = n.coverage ? seen_.data() + row * places_ : nullptr;
    if (n.attention == Attention::product) {
        for (std::int64_t s = 0; s < S; ++s) a[s] = dot(q, source.keys + s * K, K);
    } else {
        const std::int64_t wide = padded(K);
        for (std::int64_t s = 0; s < S; ++s) {
            float* z = scores_.data() + s * wide;
            const float* key = source.keys + s * K;
            for (std::int64_t k = 0; k < K; ++k) z[k] = asked[k] + key[k];
            if (seen)
                for (std::int64_t k = 0; k < K; ++k) z[k] += seen[s] * n.coverage[k];
            std::fill(z + K, z + wide, 0.0f);
        }
        n.output.kernels->activate(1, scores_.data(), scores_.data(), S * wide);
        for (std::int64_t s = 0; s < S; ++s) a[s] = dot(n.vector, scores_.data() + s * wide, K);
    }
    soften(a, S);
    std::fill_n(c, n.memory, 0.0f);
    for (std::int64_t s = 0; s < S; ++s) {
        add(c, a[s], source.m + s * n.memory, n.memory);
        if (seen) seen[s] += a[s];
    }
}

}  // namespace gatework::decode
