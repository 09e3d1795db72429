#include "decode/transformer_rows.h"

#include <algorithm>

namespace gatework::decode {

namespace {

using recurrent::Product;

void prepare(Product& product, const Weights& weights, std::int64_t rows) { product.prepare(*weights.packed, *weights.kernels, rows); }

}  // namespace

std::unique_ptr<Rows> TransformerNetwork::rows(std::int64_t most, std::int64_t places) const {
    return std::make_unique<TransformerRows>(*this, most, places);
}

TransformerRows::TransformerRows(const TransformerNetwork& network, std::int64_t most, std::int64_t places)
    : Rows(network, most, places), own_(network), width_(network.embedding_width), layers_(network.layers.size()) {
    for (std::size_t k = 0; k < layers_.size(); ++k) {
        const TransformerLayer& from = network.layers[k];
        prepare(layers_[k].self, from.self, most);
        prepare(layers_[k].self_output, from.self_output, most);
        prepare(layers_[k].source_query, from.source_query, most);
        prepare(layers_[k].source_output, from.source_output, most);
        prepare(layers_[k].inner, from.inner, most);
        prepare(layers_[k].inner_output, from.inner_output, most);
    }
    for (std::vector<float>* one : {&x_, &n_, &y_}) one->resize((std::size_t)(most * width_));
    c_.resize((std::size_t)network.memory);
    at_.resize((std::size_t)most);
}

// The tokens that were read follow their rows; each row has a slot more, for the one it reads.
void TransformerRows::gather(const std::vector<Move>& moves) {
    spare_.resize(moves.size());
    for (std::size_t r = 0; r < moves.size(); ++r) {
        if (moves[r].from < 0) spare_[r].clear();
        else spare_[r] = read_[(std::size_t)moves[r].from];
    }
    read_.swap(spare_);
    for (auto& row : read_) row.push_back(free_slot());
}

// One that no row reads. Where there is none left, those that beginnings left behind are looked for.
std::int32_t TransformerRows::free_slot() {
    const std::size_t each = layers_.size() * 2 * (std::size_t)width_;
    if (free_.empty()) {
        std::vector<bool> used(kept_.size() / each);
        for (const auto& row : read_)
            for (const std::int32_t slot : row) used[(std::size_t)slot] = true;
        for (std::size_t slot = used.size(); slot-- > 0;)
            if (!used[slot]) free_.push_back((std::int32_t)slot);
        if (free_.size() * 2 <= used.size()) {  // few are free: looking again would come soon
            const std::size_t more = std::max<std::size_t>(64, used.size());
            kept_.resize((used.size() + more) * each);
            for (std::size_t slot = used.size() + more; slot-- > used.size();) free_.push_back((std::int32_t)slot);
        }
    }
    const std::int32_t slot = free_.back();
    free_.pop_back();
    return slot;
}

void TransformerRows::step(const std::vector<Move>& moves) {
    const auto rows = (std::int64_t)moves.size();
    gather(moves);
    for (std::int64_t r = 0; r < rows; ++r)
        own_.positions.place(own_.embedding + moves[(std::size_t)r].token * width_, (std::int64_t)read_[(std::size_t)r].size() - 1,
                             x_.data() + r * width_);
    for (std::size_t k = 0; k < layers_.size(); ++k) {
        Layer& layer = layers_[k];
        const TransformerLayer& own = own_.layers[k];
        const float* made = layer.self.run(normed(own.self_norm, rows), rows);
        remember(layer.self, made, k, rows);
        attend_self(layer.self, made, k, rows);
        join(layer.self_output, layer.self_output.run(each(y_.data(), width_, rows), rows), rows);
        made = layer.source_query.run(normed(own.source_norm, rows), rows);
        attend_source(layer.source_query, made, k, moves);
        join(layer.source_output, layer.source_output.run(each(y_.data(), width_, rows), rows), rows);
        float* inner = layer.inner.run(normed(own.inner_norm, rows), rows);
        for (std::int64_t i = 0; i < rows * layer.inner.wide; ++i) inner[i] = std::max(inner[i], 0.0f);
        join(layer.inner_output, layer.inner_output.run(each(inner, layer.inner.wide, rows), rows), rows);
    }
    const float* const* o = normed(own_.norm, rows);
    say(o, moves);
    if (!own_.copy) return;
    for (std::int64_t r = 0; r < rows; ++r) {
        const Source& source = *moves[(std::size_t)r].source;
        std::fill(c_.begin(), c_.end(), 0.0f);
        for (std::int64_t s = 0; s < source.places; ++s) add(c_.data(), looked(r)[s], source.m + s * own_.memory, own_.memory);
        copy(moves[(std::size_t)r], r, n_.data() + r * width_, c_.data());
    }
}

// Rows of what a product made.
const float* const* TransformerRows::each(const float* made, std::int64_t wide, std::int64_t rows) {
    for (std::int64_t r = 0; r < rows; ++r) at_[(std::size_t)r] = made + r * wide;
    return at_.data();
}

// The rows of x with a mean of 0 and a variance of 1, times a gain, and a shift.
const float* const* TransformerRows::normed(const Norm& norm, std::int64_t rows) {
    for (std::int64_t r = 0; r < rows; ++r)
        decode::normed(x_.data() + r * width_, norm, own_.epsilon, width_, n_.data() + r * width_);
    return each(n_.data(), width_, rows);
}

// x is what it was and what a half of the layer adds.
void TransformerRows::join(const Product& product, const float* made, std::int64_t rows) {
    for (std::int64_t r = 0; r < rows; ++r) add(x_.data() + r * width_, 1.0f, made + r * product.wide, width_);
}

void TransformerRows::remember(const Product& product, const float* made, std::size_t layer, std::int64_t rows) {
    for (std::int64_t r = 0; r < rows; ++r) {
        const auto slot = (std::size_t)read_[(std::size_t)r].back() * layers_.size() + layer;
        std::copy_n(made + r * product.wide + width_, 2 * width_, kept_.data() + slot * 2 * (std::size_t)width_);
    }
}

void TransformerRows::attend_self(const Product& product, const float* made, std::size_t layer, std::int64_t rows) {
    for (std::int64_t r = 0; r < rows; ++r) {
        keys_.clear();
        for (const std::int32_t slot : read_[(std::size_t)r])
            keys_.push_back(kept_.data() + ((std::size_t)slot * layers_.size() + layer) * 2 * (std::size_t)width_);
        see(made + r * product.wide, y_.data() + r * width_, nullptr);
    }
}

void TransformerRows::attend_source(const Product& product, const float* queries, std::size_t layer, const std::vector<Move>& moves) {
    for (std::size_t r = 0; r < moves.size(); ++r) {
        const Source& source = *moves[r].source;
        keys_.clear();
        for (std::int64_t s = 0; s < source.places; ++s) keys_.push_back(source.keys + s * own_.keys + (std::int64_t)layer * 2 * width_);
        float* weights = layer + 1 == layers_.size() ? weights_.data() + (std::int64_t)r * places_ : nullptr;
        see(queries + (std::int64_t)r * product.wide, y_.data() + (std::int64_t)r * width_, weights);
    }
}

// What is seen of `keys_`, and the mean weights where they are wanted.
void TransformerRows::see(const float* q, float* y, float* weights) {
    scores_.resize(keys_.size());
    attend(q, keys_.data(), (std::int64_t)keys_.size(), width_, own_.heads, y, weights, scores_.data());
}

}  // namespace gatework::decode
