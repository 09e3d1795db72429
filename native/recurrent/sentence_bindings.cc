// One short text through a whole network in one call: rows of tables, layers in one or both directions, pooling, head and
// n-grams. For latency: what NumPy would take a microsecond for, many times over, takes none. The products of the first
// layer with token vectors are kept, row by row as tokens come up.
//
//   x[t] = (E[token[t]], sum of L[local[t]], beside[t]);   y = layers(x);   p = (mean, max, last of y);
//   out = head p + bias + sum of N[rows] / sqrt(their number)
//
// `beside` are inputs that the caller has, such as characters composed. Without pooling the answer is y itself.

#include <nanobind/nanobind.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "aligned.h"
#include "buffers.h"
#include "recurrent/bindings.h"
#include "recurrent/wide.h"
#include "threads/pool.h"
#include "view.h"

namespace nb = nanobind;

namespace gatework::recurrent {
namespace {

constexpr std::int64_t kRowsAtOnce = 32;
constexpr std::size_t kKeptBytes = 64 << 20;
constexpr std::int64_t kBytesWorthAThread = 4 << 20;  // weights that pass by in one direction

// Rows of float32, or of int8 with a scale each.
struct Table {
    const float* values = nullptr;
    const std::int8_t* levels = nullptr;
    const float* scales = nullptr;
    std::int64_t rows = 0, width = 0;

    // to += factor x row
    void add(std::int64_t row, float factor, float* to) const {
        if (levels) {
            const std::int8_t* from = levels + row * width;
            const float scale = scales[row] * factor;
            for (std::int64_t i = 0; i < width; ++i) to[i] += scale * (float)from[i];
        } else {
            const float* from = values + row * width;
            for (std::int64_t i = 0; i < width; ++i) to[i] += factor * from[i];
        }
    }
};

struct SentenceLayer {
    PackedLayer way[2];
    const Matrix* wide[2];  // R in 8 bits, or null
    PackedLayer local[2];   // W of the columns that are not the token's; the first layer's alone
};

class Sentence {
public:
    // layers: lists of Packed for one or two directions; the first for token vectors alone. local: Packed of each direction
    // for the rest of the first layer's inputs (n-grams, then `beside` values), or none. Tables: (rows, scales or None), or
    // None. recurrent: of each layer and direction a table of R, its int8 rows with scales, or none at all.
    Sentence(nb::list layers, nb::list local, nb::object tokens, nb::object locals, nb::object ngrams, nb::object head,
             nb::object bias, nb::str pooling, bool residual, nb::list recurrent, std::int64_t beside)
        : pooling_(pooling.c_str()), residual_(residual), beside_(beside) {
        owners_ = nb::make_tuple(layers, local, tokens, locals, ngrams, head, bias);
        tokens_ = table(tokens);
        if (!locals.is_none()) locals_ = table(locals);
        if (!ngrams.is_none()) ngrams_ = table(ngrams);
        ways_ = (int)nb::len(nb::object(layers[0]));
        require(ways_ == 1 || ways_ == 2, "one or two directions");
        for (nb::handle one : layers) {
            require((int)nb::len(one) == ways_, "layers with different directions");
            SentenceLayer layer{};
            for (int d = 0; d < ways_; ++d) layer.way[d] = packed_layer(nb::object(one[d]));
            layers_.push_back(layer);
        }
        require(beside_ >= 0 && (int)nb::len(local) == (rest() ? ways_ : 0), "a layer for local vectors is missing");
        for (int d = 0; d < ways_ && rest(); ++d) layers_[0].local[d] = packed_layer(nb::object(local[d]));
        check_sizes();
        require(nb::len(recurrent) == 0 || nb::len(recurrent) == layers_.size() * (std::size_t)ways_, "a table of R is missing");
        for (std::size_t k = 0; k < nb::len(recurrent); ++k) pack_recurrent(recurrent[k], k);
        if (pooling_.empty()) {
            outputs_ = ways_ * width_;
        } else {
            const View& matrix = views_.add(head, 'f', false);
            outputs_ = matrix.shape(0);
            const std::int64_t pooled = (std::int64_t)pooling_.size() * ways_ * width_;
            head_ = views_.floats(head, std::initializer_list<std::int64_t>{outputs_, pooled}, false);
            bias_ = views_.floats(bias, std::initializer_list<std::int64_t>{outputs_}, false);
        }
        require(!ngrams_.rows || ngrams_.width == outputs_, "n-grams do not have the head's outputs");
        kept_.assign((std::size_t)tokens_.rows, nullptr);
    }

    Sentence(const Sentence&) = delete;
    Sentence& operator=(const Sentence&) = delete;

    // Whether it was done: ids beyond a table are left to the caller. out (C), or without pooling (T, Y); beside (T, X).
    bool run(nb::handle tokens, nb::handle local, nb::handle rows, nb::handle out, nb::handle beside) {
        const View token_view(tokens, 'i', false), local_view(local, 'i', false), row_view(rows, 'i', false);
        View out_view(out, 'f', true);
        require(token_view.ndim() == 1 && token_view.contiguous() && local_view.ndim() == 2 && local_view.contiguous() &&
                    row_view.ndim() == 1 && row_view.contiguous() && out_view.contiguous() && out_view.shape(out_view.ndim() - 1) == outputs_,
                "arrays have the wrong shapes");
        Call call{};
        call.T = token_view.shape(0);
        call.M = local_view.shape(1);
        call.N = row_view.shape(0);
        call.local = static_cast<const std::int32_t*>(local_view.data());
        call.rows = static_cast<const std::int32_t*>(row_view.data());
        call.out = static_cast<float*>(out_view.data());
        const std::int32_t* ids = static_cast<const std::int32_t*>(token_view.data());
        require(call.T > 0 && local_view.shape(0) == call.T, "arrays have the wrong shapes");
        require(!pooling_.empty() || (out_view.ndim() == 2 && out_view.shape(0) == call.T), "out has the wrong shape");
        std::optional<View> beside_view;
        if (beside_) {
            beside_view.emplace(beside, 'f', false);
            require(beside_view->ndim() == 2 && beside_view->contiguous() && beside_view->shape(0) == call.T &&
                        beside_view->shape(1) == beside_,
                    "beside has the wrong shape");
            call.beside = static_cast<const float*>(beside_view->data());
        }
        if (locals_.rows && call.M == 0) return false;
        for (std::int64_t t = 0; t < call.T; ++t)
            if (ids[t] < 0 || ids[t] >= tokens_.rows) return false;
        for (std::int64_t k = 0; locals_.rows && k < call.T * call.M; ++k)
            if (call.local[k] < 0 || call.local[k] >= locals_.rows) return false;
        for (std::int64_t k = 0; ngrams_.rows && k < call.N; ++k)
            if (call.rows[k] < 0 || call.rows[k] >= ngrams_.rows) return false;
        std::vector<const float*> kept((std::size_t)call.T);
        keep(ids, call.T, kept.data());
        call.kept = kept.data();
        struct Active {
            int& count;
            explicit Active(int& active) : count(active) { ++count; }
            ~Active() { --count; }
        } active(active_);
        nb::gil_scoped_release release;
        compute(call);
        return true;
    }

private:
    struct Call {
        std::int64_t T, M, N;
        const std::int32_t *local, *rows;
        const float* const* kept;
        const float* beside;
        float* out;
    };

    Table table(nb::handle given) {
        Table t;
        const nb::object values = given[0], scales = given[1];
        const View& view = views_.add(values, scales.is_none() ? 'f' : 'b', false);
        require(view.ndim() == 2 && view.contiguous(), "a table is not contiguous");
        t.rows = view.shape(0);
        t.width = view.shape(1);
        if (scales.is_none()) {
            t.values = static_cast<const float*>(view.data());
        } else {
            t.levels = static_cast<const std::int8_t*>(view.data());
            t.scales = views_.floats(scales, std::initializer_list<std::int64_t>{t.rows}, false);
        }
        return t;
    }
    void pack_recurrent(nb::handle given, std::size_t k) {
        SentenceLayer& layer = layers_[k / (std::size_t)ways_];
        wides_.push_back(std::make_unique<Wide>(layer.way[k % (std::size_t)ways_], given[0], given[1]));
        layer.wide[k % (std::size_t)ways_] = &wides_.back()->matrix;
    }
    std::int64_t rest() const { return (locals_.rows ? locals_.width : 0) + beside_; }
    static std::int64_t wide(const PackedLayer& layer) { return layer.packed->cell.w_slots * padded(layer.packed->units); }

    void check_sizes() {
        std::int64_t inputs = tokens_.width;
        width_ = layers_[0].way[0].packed->outputs;
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            for (int d = 0; d < ways_; ++d) {
                const Packed& p = *layers_[l].way[d].packed;
                require(p.inputs == inputs && p.outputs == width_ && wide(layers_[l].way[d]) == wide(layers_[0].way[0]),
                        "layers do not fit each other");
            }
            inputs = ways_ * width_;
        }
        for (int d = 0; d < ways_ && rest(); ++d)
            require(layers_[0].local[d].packed->inputs == rest() && wide(layers_[0].local[d]) == wide(layers_[0].way[0]),
                    "the layer for local vectors does not fit");
    }

    // Rows of W x + b of each token, both directions one after the other; made where they are not there yet.
    void keep(const std::int32_t* ids, std::int64_t count, const float** kept) {
        const std::int64_t one = wide(layers_[0].way[0]), each = ways_ * one;
        if (used_ * (std::size_t)each * sizeof(float) > kKeptBytes && active_ == 0) {
            kept_.assign(kept_.size(), nullptr);
            chunks_.clear();
            used_ = room_ = 0;
        }
        for (std::int64_t start = 0; start < count;) {
            std::int32_t missing[kRowsAtOnce];
            std::int64_t n = 0, t = start;
            for (; t < count && n < kRowsAtOnce; ++t)
                if (!kept_[(std::size_t)ids[t]]) {
                    if (room_ == 0) {
                        chunks_.push_back(aligned_floats((std::size_t)(kRowsAtOnce * each)));
                        room_ = kRowsAtOnce;
                    }
                    kept_[(std::size_t)ids[t]] = chunks_.back().get() + (kRowsAtOnce - room_--) * each;
                    ++used_;
                    missing[n++] = ids[t];
                }
            start = t;
            if (n == 0) continue;
            try {
                fill(missing, n);
            } catch (...) {
                for (std::int64_t k = 0; k < n; ++k) kept_[(std::size_t)missing[k]] = nullptr;
                throw;
            }
        }
        for (std::int64_t t = 0; t < count; ++t) kept[t] = kept_[(std::size_t)ids[t]];
    }

    void fill(const std::int32_t* ids, std::int64_t n) {
        const std::int64_t one = wide(layers_[0].way[0]);
        std::vector<float> x((std::size_t)(n * tokens_.width), 0.0f), rows((std::size_t)(n * one));
        const float* pointers[kRowsAtOnce];
        for (std::int64_t k = 0; k < n; ++k) {
            tokens_.add(ids[k], 1.0f, x.data() + k * tokens_.width);
            pointers[k] = x.data() + k * tokens_.width;
        }
        for (int d = 0; d < ways_; ++d) {
            const PackedLayer& layer = layers_[0].way[d];
            Buffer scratch;
            scratch.reserve(layer.kernels->step.scratch(*layer.packed, n));
            layer.kernels->step.project(*layer.packed, pointers, n, false, rows.data(), scratch.bytes());
            for (std::int64_t k = 0; k < n; ++k)
                std::memcpy(kept_[(std::size_t)ids[k]] + d * one, rows.data() + k * one, (std::size_t)one * sizeof(float));
        }
    }

    // One direction of a layer; x (T) rows where `from_kept` is false. y: (T, ways x P), this direction's columns.
    struct Way {
        const Sentence* self;
        const Call* call;
        std::size_t layer;
        const float* x;       // (T, inputs) of a layer above the first
        const float* locals;  // (T, L) of the first
        float* y;
        char* work;
        std::size_t bytes;
    };
    std::size_t way_bytes(std::int64_t T) const {
        std::size_t most = 0;
        for (const SentenceLayer& layer : layers_)
            for (int d = 0; d < ways_; ++d) {
                const PackedLayer& own = layer.way[d];
                std::size_t scratch = own.kernels->step.scratch(*own.packed, kRowsAtOnce);
                if (layer.local[d].packed) {
                    const std::size_t other = own.kernels->step.scratch(*layer.local[d].packed, kRowsAtOnce);
                    scratch = other > scratch ? other : scratch;
                }
                const std::size_t floats = (std::size_t)(T * wide(own) + (T + 1) * padded(width_) + padded(own.packed->units));
                const std::size_t bytes = (floats * sizeof(float) + scratch + 4 * 64 + 63) / 64 * 64;
                most = bytes > most ? bytes : most;
            }
        return most;
    }
    static void run_way(void* context, int d) {
        const Way& way = *static_cast<const Way*>(context);
        way.self->direction(way, d);
    }
    void direction(const Way& way, int d) const {
        const SentenceLayer& layer = layers_[way.layer];
        const PackedLayer& own = layer.way[d];
        const Packed& p = *own.packed;
        const std::int64_t T = way.call->T, one = wide(own), P = padded(width_), H = padded(p.units);
        float* z = reinterpret_cast<float*>(way.work + (std::size_t)d * way.bytes);
        float* h = z + T * one;  // one is a multiple of 16, so all stay aligned
        float* c = h + (T + 1) * P;
        char* scratch = reinterpret_cast<char*>(c + H);
        const bool first = way.layer == 0, plain = first && !rest();
        if (!plain) {
            const PackedLayer& product = first ? layer.local[d] : own;
            const float* x = first ? way.locals : way.x;
            const std::int64_t inputs = product.packed->inputs;
            for (std::int64_t t = 0; first && t < T; ++t)
                std::memcpy(z + t * one, way.call->kept[t] + d * one, (std::size_t)one * sizeof(float));
            for (std::int64_t t = 0; t < T; t += kRowsAtOnce) {
                const float* pointers[kRowsAtOnce];
                const std::int64_t count = T - t < kRowsAtOnce ? T - t : kRowsAtOnce;
                for (std::int64_t k = 0; k < count; ++k) pointers[k] = x + (t + k) * inputs;
                own.kernels->step.project(*product.packed, pointers, count, first, z + t * one, scratch);
            }
        }
        std::memset(c, 0, (std::size_t)H * sizeof(float));
        const std::int64_t start = d == 0 ? 0 : T;  // h before the first step
        std::memset(h + start * P, 0, (std::size_t)P * sizeof(float));
        for (std::int64_t s = 0; s < T; ++s) {
            const std::int64_t t = d == 0 ? s : T - 1 - s;
            const float* x = plain ? way.call->kept[t] + d * one : z + t * one;
            const SingleStep io{1, &x, nullptr, true, h + (d == 0 ? t : t + 1) * P, h + (d == 0 ? t + 1 : t) * P, c, scratch, layer.wide[d]};
            own.kernels->step.begin(p, io);
            own.kernels->step.units(p, io, 0, H);
            own.kernels->step.end(p, io);
        }
        for (std::int64_t t = 0; t < T; ++t)
            std::memcpy(way.y + (t * ways_ + d) * width_, h + (d == 0 ? t + 1 : t) * P, (std::size_t)width_ * sizeof(float));
    }

    void compute(const Call& call) const {
        const std::int64_t T = call.T, Y = ways_ * width_, L = rest(), own = L - beside_;
        const std::size_t bytes = way_bytes(T);
        const auto lines = [](std::int64_t floats) { return ((std::size_t)floats * sizeof(float) + 63) / 64 * 64; };
        Buffer buffer;
        buffer.reserve(bytes * (std::size_t)ways_ + 2 * lines(T * Y) + lines(T * L + 1) + lines((std::int64_t)pooling_.size() * Y));
        char* at = buffer.bytes() + bytes * (std::size_t)ways_;
        float* y = reinterpret_cast<float*>(at);
        float* below = reinterpret_cast<float*>(at + lines(T * Y));
        float* locals = reinterpret_cast<float*>(at + 2 * lines(T * Y));
        float* pooled = reinterpret_cast<float*>(at + 2 * lines(T * Y) + lines(T * L + 1));
        std::memset(locals, 0, (std::size_t)(T * L) * sizeof(float));
        for (std::int64_t t = 0; locals_.rows && t < T; ++t)
            for (std::int64_t m = 0; m < call.M; ++m) locals_.add(call.local[t * call.M + m], 1.0f, locals + t * L);
        for (std::int64_t t = 0; beside_ && t < T; ++t)
            std::memcpy(locals + t * L + own, call.beside + t * beside_, (std::size_t)beside_ * sizeof(float));
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            Way way{this, &call, l, below, locals, y, buffer.bytes(), bytes};
            const Packed& p = *layers_[l].way[0].packed;
            const std::int64_t passing = T * p.cell.r_slots * p.units * p.outputs * (layers_[l].wide[0] ? 1 : 4);
            if (ways_ == 2 && passing >= kBytesWorthAThread && threads::count() > 1) {
                threads::run(2, run_way, &way);
            } else {
                for (int d = 0; d < ways_; ++d) direction(way, d);
            }
            if (residual_ && l > 0)
                for (std::int64_t j = 0; j < T * Y; ++j) y[j] += below[j];
            float* other = y;
            y = below;
            below = other;
        }
        if (pooling_.empty()) {
            std::memcpy(call.out, below, (std::size_t)(T * Y) * sizeof(float));
            return;
        }
        pool(below, T, Y, pooled);
        answer(call, pooled, (std::int64_t)pooling_.size() * Y);
    }

    void pool(const float* y, std::int64_t T, std::int64_t Y, float* __restrict pooled) const {
        for (const char kind : pooling_) {
            if (kind == 'l') {
                std::memcpy(pooled, y + (T - 1) * Y, (std::size_t)width_ * sizeof(float));
                if (ways_ == 2) std::memcpy(pooled + width_, y + width_, (std::size_t)width_ * sizeof(float));
            } else {
                std::memcpy(pooled, y, (std::size_t)Y * sizeof(float));
                for (const float* row = y + Y; row < y + T * Y; row += Y) {
                    if (kind == 'm') {
                        for (std::int64_t j = 0; j < Y; ++j) pooled[j] += row[j];
                    } else {  // NaN stays, as with NumPy
                        for (std::int64_t j = 0; j < Y; ++j) pooled[j] = row[j] > pooled[j] || row[j] != row[j] ? row[j] : pooled[j];
                    }
                }
                for (std::int64_t j = 0; kind == 'm' && j < Y; ++j) pooled[j] /= (float)T;
            }
            pooled += Y;
        }
    }
    void answer(const Call& call, const float* pooled, std::int64_t count) const {
        std::vector<float> wide((std::size_t)outputs_, 0.0f);
        for (std::int64_t k = 0; ngrams_.rows && k < call.N; ++k) ngrams_.add(call.rows[k], 1.0f, wide.data());
        const float root = std::sqrt((float)(call.N > 0 ? call.N : 1));
        for (std::int64_t c = 0; c < outputs_; ++c) {
            const float* row = head_ + c * count;
            float sums[16] = {};
            std::int64_t k = 0;
            for (; k + 16 <= count; k += 16)
                for (int l = 0; l < 16; ++l) sums[l] += row[k + l] * pooled[k + l];
            for (; k < count; ++k) sums[0] += row[k] * pooled[k];
            for (int l = 1; l < 16; ++l) sums[0] += sums[l];
            call.out[c] = sums[0] + bias_[c] + wide[(std::size_t)c] / root;
        }
    }

    nb::object owners_;
    Views views_;
    std::vector<std::unique_ptr<Wide>> wides_;
    std::string pooling_;  // m mean, x max, l last
    bool residual_;
    std::int64_t beside_;  // inputs the caller gives
    int ways_ = 1;
    std::int64_t width_ = 0, outputs_ = 0;
    Table tokens_, locals_, ngrams_;
    std::vector<SentenceLayer> layers_;
    const float *head_ = nullptr, *bias_ = nullptr;
    std::vector<float*> kept_;
    std::vector<AlignedFloats> chunks_;
    std::size_t used_ = 0;
    std::int64_t room_ = 0;
    int active_ = 0;  // calls that compute; changed under the interpreter lock alone
};

}  // namespace

void bind_sentence(nb::module_& parent) {
    nb::class_<Sentence>(parent, "Sentence")
        .def(nb::init<nb::list, nb::list, nb::object, nb::object, nb::object, nb::object, nb::object, nb::str, bool, nb::list, std::int64_t>(),
             nb::arg("layers"), nb::arg("local"), nb::arg("tokens"), nb::arg("locals").none(), nb::arg("ngrams").none(),
             nb::arg("head").none(), nb::arg("bias").none(), nb::arg("pooling"), nb::arg("residual"), nb::arg("recurrent"),
             nb::arg("beside"))
        .def("run", &Sentence::run, nb::arg("tokens"), nb::arg("local"), nb::arg("rows"), nb::arg("out"),
             nb::arg("beside") = nb::none());
}

}  // namespace gatework::recurrent
