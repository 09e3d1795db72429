#include "decode/transformer_encoder.h"

#include <algorithm>
#include <atomic>
#include <new>

#include "decode/look.h"
#include "decode/sums.h"
#include "recurrent/product.h"
#include "threads/pool.h"

namespace gatework::decode {

namespace {

using recurrent::Product;

constexpr std::int64_t kRows = 64;  // of a product at once; shorter sources make groups of about as many

// One thread's room.
class Worker {
public:
    explicit Worker(const TransformerEncoder& network)
        : n_(network), E_(network.width), layers_(network.layers.size()), look_(look_of(network.lanes)) {
        for (std::size_t k = 0; k < layers_.size(); ++k) {
            const EncoderLayer& own = network.layers[k];
            const Weights* from[] = {&own.self, &own.self_output, &own.inner, &own.inner_output};
            Product* to[] = {&layers_[k].self, &layers_[k].self_output, &layers_[k].inner, &layers_[k].inner_output};
            for (int i = 0; i < 4; ++i) to[i]->prepare(*from[i]->packed, *from[i]->kernels, kRows);
        }
        normed_.resize((std::size_t)(kRows * E_));
        at_.resize((std::size_t)kRows);
    }

    // Sources first to last - 1.
    void run(const float* x, const std::int64_t* offsets, std::int64_t first, std::int64_t last, float* y) {
        const std::int64_t base = offsets[first], rows = offsets[last] - base;
        x_.resize((std::size_t)(rows * E_));
        seen_.resize((std::size_t)(rows * E_));
        made_.resize((std::size_t)(rows * 3 * E_));
        for (std::int64_t b = first; b < last; ++b)
            for (std::int64_t at = offsets[b]; at < offsets[b + 1]; ++at)
                n_.positions.place(x + at * E_, at - offsets[b], x_.data() + (at - base) * E_);
        for (std::size_t k = 0; k < layers_.size(); ++k) {
            self(k, rows);
            for (std::int64_t b = first; b < last; ++b) look(offsets[b] - base, offsets[b + 1] - offsets[b]);
            rest(k, rows);
        }
        for (std::int64_t r = 0; r < rows; ++r) normed(x_.data() + r * E_, n_.norm, n_.epsilon, E_, y + (base + r) * E_);
    }

private:
    struct Layer {
        Product self, self_output, inner, inner_output;
    };

    const float* const* each(const float* rows, std::int64_t wide, std::int64_t count) {
        for (std::int64_t r = 0; r < count; ++r) at_[(std::size_t)r] = rows + r * wide;
        return at_.data();
    }
    const float* const* norms(const Norm& norm, std::int64_t from, std::int64_t count) {
        for (std::int64_t r = 0; r < count; ++r) normed(x_.data() + (from + r) * E_, norm, n_.epsilon, E_, normed_.data() + r * E_);
        return each(normed_.data(), E_, count);
    }

    // Query, key and value of every token.
    void self(std::size_t k, std::int64_t rows) {
        Product& product = layers_[k].self;
        for (std::int64_t from = 0; from < rows; from += kRows) {
            const std::int64_t some = std::min(kRows, rows - from);
            const float* made = product.run(norms(n_.layers[k].self_norm, from, some), some);
            for (std::int64_t r = 0; r < some; ++r) std::copy_n(made + r * product.wide, 3 * E_, made_.data() + (from + r) * 3 * E_);
        }
    }

    // What the tokens of one source see of each other.
    void look(std::int64_t from, std::int64_t S) {
        room_.resize(std::max(room_.size(), (std::size_t)look_.room(S, E_ / n_.heads)));
        look_.look(made_.data() + from * 3 * E_, S, E_, n_.heads, seen_.data() + from * E_, room_.data());
    }

    void rest(std::size_t k, std::int64_t rows) {
        Layer& layer = layers_[k];
        for (std::int64_t from = 0; from < rows; from += kRows) {
            const std::int64_t some = std::min(kRows, rows - from);
            join(layer.self_output, layer.self_output.run(each(seen_.data() + from * E_, E_, some), some), from, some);
            float* inner = layer.inner.run(norms(n_.layers[k].inner_norm, from, some), some);
            for (std::int64_t i = 0; i < some * layer.inner.wide; ++i) inner[i] = std::max(inner[i], 0.0f);
            join(layer.inner_output, layer.inner_output.run(each(inner, layer.inner.wide, some), some), from, some);
        }
    }
    void join(const Product& product, const float* made, std::int64_t from, std::int64_t count) {
        for (std::int64_t r = 0; r < count; ++r) add(x_.data() + (from + r) * E_, 1.0f, made + r * product.wide, E_);
    }

    const TransformerEncoder& n_;
    std::int64_t E_;
    std::vector<Layer> layers_;
    const Look& look_;
    std::vector<float> x_, seen_, made_, normed_, room_;  // made: (rows, 3 E)
    std::vector<const float*> at_;
};

struct Share {
    const TransformerEncoder* network;
    const float* x;
    const std::int64_t* offsets;
    float* y;
    std::vector<std::int64_t> groups;  // first source of each, and the end
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> failed{false};
};

void run(void* context, int) {
    Share& share = *static_cast<Share*>(context);
    try {
        Worker worker(*share.network);
        for (;;) {
            const auto group = (std::size_t)share.next.fetch_add(1, std::memory_order_relaxed);
            if (group + 1 >= share.groups.size()) return;
            worker.run(share.x, share.offsets, share.groups[group], share.groups[group + 1], share.y);
        }
    } catch (const std::bad_alloc&) {
        share.failed = true;
    }
}

}  // namespace

void encode(const TransformerEncoder& network, const float* x, const std::int64_t* offsets, std::int64_t batch, float* y) {
    Share share;
    share.network = &network;
    share.x = x;
    share.offsets = offsets;
    share.y = y;
    const int threads = threads::count();
    const std::int64_t most = std::clamp<std::int64_t>(offsets[batch] / threads, 1, kRows);
    share.groups.push_back(0);
    for (std::int64_t b = 1; b <= batch; ++b)
        if (b == batch || offsets[b + 1] - offsets[share.groups.back()] > most) share.groups.push_back(b);
    const int parts = (int)std::min<std::int64_t>(threads, (std::int64_t)share.groups.size() - 1);
    if (parts == 1) run(&share, 0);
    else if (parts > 1) threads::run(parts, run, &share);
    if (share.failed) throw std::bad_alloc();
}

}  // namespace gatework::decode
