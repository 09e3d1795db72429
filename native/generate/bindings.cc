// Generation from a language model: steps, head, sampling, constraints and stops without Python between tokens.
//
// Everything a text needs to go on is handed in and back as arrays, so a Generator holds weights alone and any threads may
// share it. The definition is kernels/generation.py.

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "buffers.h"
#include "generate/automaton.h"
#include "generate/bindings.h"
#include "generate/sampler.h"
#include "recurrent/bindings.h"
#include "recurrent/product.h"
#include "recurrent/step_layer.h"
#include "recurrent/wide.h"
#include "view.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gatework::generate {
namespace {

using recurrent::PackedLayer;
using recurrent::Product;
using recurrent::padded;
using recurrent::StepLayer;

constexpr std::int64_t kHeadRows = 16;  // rows of logits at once
enum Reason : std::int32_t { kGoing = 0, kEnd, kLength, kStop, kConstraint };

// Tokens and what they write.
class Vocabulary {
public:
    Vocabulary(nb::object bytes, nb::object offsets, bool spaced) {
        const View& text = views_.add(bytes, 'B', false);
        const View& places = views_.add(offsets, 'l', false);
        require(text.ndim() == 1 && text.contiguous() && places.ndim() == 1 && places.contiguous() && places.shape(0) > 1,
                "pieces are not contiguous");
        pieces_.bytes = static_cast<const std::uint8_t*>(text.data());
        pieces_.offsets = static_cast<const std::int64_t*>(places.data());
        pieces_.count = (std::int32_t)(places.shape(0) - 1);
        pieces_.spaced = spaced;
        for (std::int32_t v = 0; v < pieces_.count; ++v) require(pieces_.offsets[v] <= pieces_.offsets[v + 1], "offsets fall");
        require(pieces_.offsets[0] == 0 && pieces_.offsets[pieces_.count] == text.shape(0), "offsets do not fit the bytes");
        owners_ = nb::make_tuple(bytes, offsets);
    }
    Vocabulary(const Vocabulary&) = delete;
    Vocabulary& operator=(const Vocabulary&) = delete;

    const Pieces& pieces() const { return pieces_; }
    const Trie& trie() {  // under the interpreter lock
        if (!trie_) trie_ = std::make_unique<Trie>(pieces_);
        return *trie_;
    }

private:
    Views views_;
    nb::object owners_;
    Pieces pieces_;
    std::unique_ptr<Trie> trie_;
};

// The arrays of an automaton, checked.
class Table {
public:
    Table(nb::object table, nb::object classes, nb::object accept) {
        const View &next = views_.add(table, 'i', false), &columns = views_.add(classes, 'B', false);
        const View& ends = views_.add(accept, 'B', false);
        require(next.ndim() == 2 && next.contiguous() && columns.ndim() == 1 && columns.contiguous() && columns.shape(0) == 256 &&
                    ends.ndim() == 1 && ends.contiguous() && ends.shape(0) == next.shape(0) && next.shape(0) > 0,
                "the arrays of an automaton do not fit");
        dfa_ = {static_cast<const std::int32_t*>(next.data()), static_cast<const std::uint8_t*>(columns.data()),
                static_cast<const std::uint8_t*>(ends.data()), (std::int32_t)next.shape(0), (std::int32_t)next.shape(1)};
        for (std::int64_t i = 0; i < next.shape(0) * next.shape(1); ++i)
            require(dfa_.table[i] >= kDead && dfa_.table[i] < dfa_.states, "an automaton leads nowhere");
        for (int b = 0; b < 256; ++b) require(dfa_.classes[b] < dfa_.columns, "an automaton lacks a column");
        owners_ = nb::make_tuple(table, classes, accept);
    }
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;
    const Dfa& dfa() const { return dfa_; }

private:
    Views views_;
    nb::object owners_;
    Dfa dfa_;
};

class TokenAutomaton {
public:
    TokenAutomaton(nb::object table, nb::object classes, nb::object accept, nb::object vocabulary)
        : table_(table, classes, accept), owner_(vocabulary) {
        Vocabulary& own = nb::cast<Vocabulary&>(vocabulary);
        const Trie& trie = own.trie();
        nb::gil_scoped_release release;
        automaton_ = std::make_unique<Automaton>(table_.dfa(), own.pieces(), trie);
    }
    Automaton& automaton() { return *automaton_; }
    nb::tuple row(std::int32_t state) {
        require(state >= 0 && state < automaton_->states(), "no such state");
        const auto row = automaton_->row(state);
        nb::list tokens, next;
        for (const std::int32_t token : row->tokens) tokens.append(token);
        for (const std::int32_t one : row->next) next.append(one);
        return nb::make_tuple(tokens, next);
    }
    std::int32_t distance(std::int32_t state) {
        require(state >= 0 && state < automaton_->states(), "no such state");
        return automaton_->distance(state);
    }
    bool accepts(std::int32_t state) {
        require(state >= 0 && state < automaton_->states(), "no such state");
        return automaton_->accepts(state);
    }
    bool within(std::int32_t state, std::int64_t fewest, std::int64_t most) {
        require(state >= 0 && state < automaton_->states(), "no such state");
        return automaton_->within(state, fewest, most);
    }

private:
    Table table_;
    nb::object owner_;
    std::unique_ptr<Automaton> automaton_;
};

// One text that is written.
struct Text {
    std::int64_t place;  // in the caller's arrays
    std::vector<std::int32_t> recent;
    std::uint64_t position, seed;
    std::int32_t state, stop;
    std::int64_t written, made = 0;
    double log_p = 0.0;
    std::int32_t reason;
};

// What a call asks for.
struct Request {
    Settings settings;
    std::int64_t steps, most, fewest;
    Automaton* automaton = nullptr;
    const Dfa* stop = nullptr;
    std::int32_t* ids = nullptr;  // (B, steps)
};

class Generator {
public:
    // table: rows of W x + b for each id, or none: then the first layer multiplies rows of `embedding`, which is also what a
    // residual first layer adds. stored: R of each layer, its int8 rows and their scales, or none at all.
    Generator(nb::list layers, nb::object table, nb::object embedding, bool residual, nb::object projection,
              nb::object head, nb::object clusters, std::vector<std::int32_t> cutoffs, nb::object vocabulary,
              std::vector<std::int32_t> candidates, std::int32_t end, nb::list stored)
        : residual_(residual), cutoffs_(std::move(cutoffs)), candidates_(std::move(candidates)), end_(end) {
        owners_ = nb::make_tuple(layers, table, embedding, projection, head, clusters, vocabulary);
        for (nb::handle one : layers) layers_.push_back(recurrent::packed_layer(one));
        require(!layers_.empty(), "no layers");
        require(nb::len(stored) == 0 || nb::len(stored) == layers_.size(), "a table of R is missing");
        for (std::size_t k = 0; k < nb::len(stored); ++k) {
            require(layers_[k].packed->precision == recurrent::Precision::float32, "a table of R beside other precisions");
            const nb::object given = stored[k];
            wides_.push_back(std::make_unique<recurrent::Wide>(layers_[k], given[0], given[1]));
        }
        for (std::size_t k = 1; k < layers_.size(); ++k)
            require(layers_[k].packed->inputs == layers_[k - 1].packed->outputs, "layers do not fit each other");
        const recurrent::Packed& first = *layers_[0].packed;
        head_ = recurrent::packed_layer(head);
        count_ = (std::int32_t)head_.packed->units;
        folded_ = !table.is_none();
        stride_ = folded_ ? first.cell.w_slots * padded(first.units) : first.inputs;
        const float* rows = views_.floats(folded_ ? table : embedding, std::initializer_list<std::int64_t>{count_, stride_}, false);
        table_ = rows;
        adds_ = residual && first.inputs == first.outputs;
        if (adds_) embedding_ = views_.floats(embedding, std::initializer_list<std::int64_t>{count_, first.outputs}, false);
        std::int64_t width = layers_.back().packed->outputs;
        if (!projection.is_none()) {
            projection_ = recurrent::packed_layer(projection);
            require(projection_.packed->inputs == width, "the projection does not fit");
            width = projection_.packed->units;
        }
        require(head_.packed->inputs == width && head_.packed->units == count_, "the head does not fit");
        if (!clusters.is_none()) {
            clusters_ = recurrent::packed_layer(clusters);
            require(clusters_.packed->inputs == width && clusters_.packed->units == (std::int64_t)cutoffs_.size(),
                    "the clusters do not fit");
        }
        for (const std::int32_t cutoff : cutoffs_) require(cutoff > 0 && cutoff < count_, "a cutoff is out of range");
        vocabulary_ = &nb::cast<Vocabulary&>(vocabulary).pieces();
        require(vocabulary_->count == count_, "pieces do not fit the vocabulary");
        require(!candidates_.empty(), "no candidates");
        for (const std::int32_t token : candidates_) require(token > 0 && token < count_, "a candidate is out of range");
    }
    Generator(const Generator&) = delete;
    Generator& operator=(const Generator&) = delete;

    // See kernels/generation.py for what the dictionary holds; arrays are changed in place.
    void run(nb::dict given) const {
        Views views;
        const auto array = [&](const char* name, char type, int axes) -> const View& {
            const View& view = views.add(given[name], type, true);
            require(view.ndim() == axes && view.contiguous(), "an array is not contiguous");
            return view;
        };
        const View& recent = array("recent", 'i', 2);
        const std::int64_t batch = recent.shape(0), room = recent.shape(1);
        const auto column = [&](const char* name, char type) {
            const View& view = array(name, type, 1);
            require(view.shape(0) == batch, "an array has the wrong length");
            return view.data();
        };
        std::int64_t* remembered = static_cast<std::int64_t*>(column("remembered", 'l'));
        std::uint64_t* position = static_cast<std::uint64_t*>(column("position", 'Q'));
        const std::uint64_t* seed = static_cast<const std::uint64_t*>(column("seed", 'Q'));
        std::int32_t* state = static_cast<std::int32_t*>(column("state", 'i'));
        std::int32_t* stop = static_cast<std::int32_t*>(column("stop_state", 'i'));
        std::int64_t* written = static_cast<std::int64_t*>(column("written", 'l'));
        std::int64_t* made = static_cast<std::int64_t*>(column("made", 'l'));
        std::int32_t* reason = static_cast<std::int32_t*>(column("reason", 'i'));
        const View& log_p_view = array("log_p", 'd', 1);
        require(log_p_view.shape(0) == batch, "an array has the wrong length");
        double* log_p = static_cast<double*>(log_p_view.data());
        const View& ids = array("ids", 'i', 2);
        require(ids.shape(0) == batch, "an array has the wrong length");

        Request request;
        request.steps = ids.shape(1);
        request.ids = static_cast<std::int32_t*>(ids.data());
        request.most = nb::cast<std::int64_t>(given["most"]);
        request.fewest = nb::cast<std::int64_t>(given["fewest"]);
        request.settings.temperature = nb::cast<double>(given["temperature"]);
        request.settings.top_k = nb::cast<std::int64_t>(given["top_k"]);
        request.settings.top_p = nb::cast<double>(given["top_p"]);
        request.settings.min_p = nb::cast<double>(given["min_p"]);
        request.settings.repetition_penalty = nb::cast<double>(given["repetition_penalty"]);
        request.settings.no_repeat = nb::cast<std::int64_t>(given["no_repeat"]);
        request.settings.exempt = nb::cast<std::int32_t>(given["exempt"]);
        if (!given["automaton"].is_none()) request.automaton = &token_automaton(given["automaton"]);
        if (!given["stop"].is_none()) request.stop = &nb::cast<Table&>(given["stop"]).dfa();

        std::vector<Text> texts;
        for (std::int64_t row = 0; row < batch; ++row) {
            require(remembered[row] > 0 && remembered[row] <= room, "a text has nothing to read");
            const std::int32_t* from = static_cast<const std::int32_t*>(recent.data()) + row * room;
            for (std::int64_t k = 0; k < remembered[row]; ++k) require(from[k] > 0 && from[k] < count_, "an id is out of range");
            require(!request.automaton || (state[row] >= 0 && state[row] < request.automaton->states()), "no such state");
            require(!request.stop || (stop[row] >= 0 && stop[row] < request.stop->states), "no such state");
            texts.push_back({row, {from, from + remembered[row]}, position[row], seed[row], state[row], stop[row],
                             written[row], 0, 0.0, reason[row]});
        }
        std::vector<std::unique_ptr<StepLayer>> layers;
        const nb::list h = nb::cast<nb::list>(given["h"]), c = nb::cast<nb::list>(given["c"]);
        require(nb::len(h) == layers_.size() && nb::len(c) == layers_.size(), "states do not fit");
        std::vector<float*> all_h, all_c;
        for (std::size_t k = 0; k < layers_.size(); ++k) {
            const recurrent::Packed& p = *layers_[k].packed;
            all_h.push_back(views.floats(h[k], std::initializer_list<std::int64_t>{batch, p.outputs}, true));
            require(c[k].is_none() != p.cell.memory, "a state has the wrong parts");
            all_c.push_back(p.cell.memory ? views.floats(c[k], std::initializer_list<std::int64_t>{batch, p.units}, true) : nullptr);
        }
        {
            nb::gil_scoped_release release;
            for (std::size_t k = 0; k < layers_.size(); ++k) {
                layers.push_back(std::make_unique<StepLayer>(*layers_[k].packed, *layers_[k].kernels));
                if (!wides_.empty()) layers[k]->wide = &wides_[k]->matrix;
                layers[k]->resize(batch);
                for (std::int64_t row = 0; row < batch; ++row) load(*layers[k], row, all_h[k], all_c[k]);
            }
            write(layers, texts, request, room);
            for (std::size_t row = 0; row < texts.size(); ++row) {
                const Text& text = texts[row];
                for (std::size_t k = 0; k < layers.size(); ++k) save(*layers[k], (std::int64_t)row, text.place, all_h[k], all_c[k]);
            }
        }
        for (const Text& text : texts) {
            const std::int64_t row = text.place, kept = std::min<std::int64_t>(room, (std::int64_t)text.recent.size());
            std::copy(text.recent.end() - kept, text.recent.end(), static_cast<std::int32_t*>(recent.data()) + row * room);
            remembered[row] = kept;
            position[row] = text.position;
            state[row] = text.state;
            stop[row] = text.stop;
            written[row] = text.written;
            made[row] = text.made;
            reason[row] = text.reason;
            log_p[row] += text.log_p;
        }
    }

private:
    using Layers = std::vector<std::unique_ptr<StepLayer>>;

    static void load(StepLayer& layer, std::int64_t row, const float* h, const float* c) {
        const std::int64_t P = layer.packed->outputs, H = layer.packed->units;
        std::memcpy(layer.state_h() + row * layer.P, h + row * P, (std::size_t)P * sizeof(float));
        if (c) std::memcpy(layer.state_c() + row * layer.H, c + row * H, (std::size_t)H * sizeof(float));
    }
    static void save(StepLayer& layer, std::int64_t row, std::int64_t place, float* h, float* c) {
        const std::int64_t P = layer.packed->outputs, H = layer.packed->units;
        std::memcpy(h + place * P, layer.state_h() + row * layer.P, (std::size_t)P * sizeof(float));
        if (c) std::memcpy(c + place * H, layer.state_c() + row * layer.H, (std::size_t)H * sizeof(float));
    }
    // The states of two rows change places, in both arrays of h: rows that are done stay as they are.
    static void exchange(StepLayer& layer, std::int64_t one, std::int64_t other) {
        float *h = layer.state_h(), *c = layer.state_c();
        float* next = reinterpret_cast<float*>(layer.h[1 - layer.now].bytes());
        if (one != other) {
            std::swap_ranges(h + one * layer.P, h + (one + 1) * layer.P, h + other * layer.P);
            std::swap_ranges(c + one * layer.H, c + (one + 1) * layer.H, c + other * layer.H);
        }
        std::memcpy(next + other * layer.P, h + other * layer.P, (std::size_t)layer.P * sizeof(float));
    }

    // Texts that go on come first; their number.
    std::int64_t gather(Layers& layers, std::vector<Text>& texts, std::int64_t active) const {
        for (std::int64_t row = active - 1; row >= 0; --row) {
            if (texts[(std::size_t)row].reason == kGoing) continue;
            --active;
            for (auto& layer : layers) exchange(*layer, row, active);
            std::swap(texts[(std::size_t)row], texts[(std::size_t)active]);
        }
        return active;
    }

    void write(Layers& layers, std::vector<Text>& texts, const Request& request, std::int64_t room) const {
        const auto batch = (std::int64_t)texts.size();
        Sampler sampler;
        Product head, projection, clusters;
        const std::int64_t at_once = std::min(batch, kHeadRows);
        head.prepare(*head_.packed, *head_.kernels, at_once);
        if (projection_.packed) projection.prepare(*projection_.packed, *projection_.kernels, at_once);
        if (clusters_.packed) clusters.prepare(*clusters_.packed, *clusters_.kernels, at_once);
        std::vector<Buffer> sums(residual_ ? layers.size() : 0);
        for (std::size_t k = 0; k < sums.size(); ++k) sums[k].reserve((std::size_t)(batch * layers[k]->P) * sizeof(float));
        for (Text& text : texts)
            if (text.reason == kGoing) finish(text, request);
        std::vector<std::int32_t> tokens, next;
        std::vector<const float*> outputs((std::size_t)batch);
        std::int64_t active = batch;
        for (std::int64_t step = 0; step < request.steps; ++step) {
            active = gather(layers, texts, active);
            if (active == 0) return;
            advance(layers, sums, texts, active, outputs.data());
            for (std::int64_t first = 0; first < active; first += at_once) {
                const std::int64_t rows = std::min(at_once, active - first);
                const float* const* x = outputs.data() + first;
                const float* projected[kHeadRows];
                if (projection_.packed) {
                    const float* out = projection.run(x, rows);
                    for (std::int64_t r = 0; r < rows; ++r) projected[r] = out + r * projection.wide;
                    x = projected;
                }
                float* logits = head.run(x, rows);
                const float* weights = clusters_.packed ? clusters.run(x, rows) : nullptr;
                for (std::int64_t r = 0; r < rows; ++r) {
                    float* own = logits + r * head.wide;
                    float total;
                    if (weights) total = normalise(own, weights + r * clusters.wide, sampler);
                    else total = sampler.log_sum(own + 1, count_ - 1);
                    choose(texts[(std::size_t)(first + r)], own, total, request, sampler, room, tokens, next);
                }
            }
        }
        gather(layers, texts, active);
    }

    // One step of all layers; the last one's outputs at each row.
    void advance(Layers& layers, std::vector<Buffer>& sums, const std::vector<Text>& texts, std::int64_t active,
                 const float** outputs) const {
        for (std::size_t k = 0; k < layers.size(); ++k) {
            StepLayer& layer = *layers[k];
            for (std::int64_t row = 0; row < active; ++row) {
                const auto r = (std::size_t)row;
                if (k > 0) layer.x[r] = outputs[r];
                else layer.x[r] = table_ + texts[r].recent.back() * stride_;
            }
            layer.step(active, k == 0 && folded_, false);
            const std::int64_t P = layer.packed->outputs;
            for (std::int64_t row = 0; row < active; ++row) {
                const float* h = layer.state_h() + row * layer.P;
                const float* x = nullptr;  // what a residual layer adds
                if (k == 0 && adds_) x = embedding_ + texts[(std::size_t)row].recent.back() * P;
                if (residual_ && k > 0 && layer.packed->inputs == P) x = outputs[row];
                if (x) {
                    float* sum = reinterpret_cast<float*>(sums[k].bytes()) + row * layer.P;
                    for (std::int64_t i = 0; i < P; ++i) sum[i] = h[i] + x[i];
                    h = sum;
                }
                outputs[row] = h;
            }
        }
    }

    // Logits of tails become comparable with those of the first ids; the log of the sum of all.
    float normalise(float* logits, const float* clusters, Sampler& sampler) const {
        std::vector<float> first(logits + 1, logits + cutoffs_[0]);
        first.insert(first.end(), clusters, clusters + cutoffs_.size());
        for (std::size_t k = 0; k < cutoffs_.size(); ++k) {
            const std::int32_t low = cutoffs_[k], high = k + 1 < cutoffs_.size() ? cutoffs_[k + 1] : count_;
            const float shift = clusters[k] - sampler.log_sum(logits + low, high - low);
            for (std::int32_t v = low; v < high; ++v) logits[v] += shift;
        }
        return sampler.log_sum(first.data(), (std::int64_t)first.size());
    }

    // Fills `tokens` and `next` with what may come under the automaton, the end aside.
    void allowed(const Text& text, const Request& request, std::vector<std::int32_t>& tokens, std::vector<std::int32_t>& next) const {
        tokens.clear();
        next.clear();
        const auto row = request.automaton->row(text.state);
        const std::int64_t fewest = request.fewest - text.written - 1, most = request.most - text.written - 1;
        if (request.automaton->always_within(fewest, most)) {
            tokens.assign(row->tokens.begin(), row->tokens.end());
            next.assign(row->next.begin(), row->next.end());
            return;
        }
        for (std::size_t k = 0; k < row->tokens.size(); ++k)
            if (request.automaton->within(row->next[k], fewest, most)) {
                tokens.push_back(row->tokens[k]);
                next.push_back(row->next[k]);
            }
    }

    // Whether the text is at its end before anything is predicted.
    void finish(Text& text, const Request& request) const {
        if (text.written >= request.most) {
            text.reason = kLength;
        } else if (request.automaton && request.automaton->accepts(text.state) && text.written >= request.fewest) {
            const auto row = request.automaton->row(text.state);
            const std::int64_t fewest = request.fewest - text.written - 1, most = request.most - text.written - 1;
            bool any = false;
            for (std::size_t k = 0; k < row->next.size() && !any; ++k) any = request.automaton->within(row->next[k], fewest, most);
            if (!any) text.reason = kConstraint;
        }
    }

    void choose(Text& text, const float* logits, float total, const Request& request, Sampler& sampler, std::int64_t room,
                std::vector<std::int32_t>& tokens, std::vector<std::int32_t>& next) const {
        const std::vector<std::int32_t>* candidates = &candidates_;
        bool ends = false;
        if (request.automaton) {
            allowed(text, request, tokens, next);
            ends = request.automaton->accepts(text.state) && text.written >= request.fewest;
            if (ends) tokens.insert(tokens.begin(), end_);  // its id is below those of tokens
            candidates = &tokens;
            if (tokens.empty()) {  // only where a state was handed in that leads nowhere
                text.reason = kConstraint;
                return;
            }
        }
        const auto remembered = std::min<std::int64_t>(room, (std::int64_t)text.recent.size());
        const Choice choice = sampler.choose(logits, total, candidates->data(), (std::int64_t)candidates->size(),
                                             text.recent.data() + text.recent.size() - remembered, remembered,
                                             request.settings, uniform(text.seed, text.position));
        text.log_p += choice.log_p;
        ++text.position;
        if ((std::int64_t)text.recent.size() >= 2 * room) text.recent.erase(text.recent.begin(), text.recent.end() - room + 1);
        text.recent.push_back(choice.token);
        if (choice.token == end_) {
            text.reason = kEnd;
            return;
        }
        request.ids[text.place * request.steps + text.made] = choice.token;
        ++text.made;
        ++text.written;
        if (request.automaton) text.state = next[(std::size_t)(choice.place - (ends ? 1 : 0))];
        if (request.stop && stops(text, choice.token, *request.stop)) text.reason = kStop;
        else finish(text, request);
    }

    bool stops(Text& text, std::int32_t token, const Dfa& stop) const {
        const bool fresh = vocabulary_->spaced && (text.written == 1 || vocabulary_->feeds(text.recent[text.recent.size() - 2]));
        const std::uint8_t* byte = vocabulary_->begin(token);
        if (fresh && byte < vocabulary_->end(token) && *byte == ' ') ++byte;  // dropped there
        for (; byte < vocabulary_->end(token); ++byte) {
            text.stop = stop.step(text.stop, *byte);
            if (text.stop == kDead) text.stop = 0;
            if (stop.accept[text.stop]) return true;
        }
        return false;
    }

    nb::object owners_;
    Views views_;
    std::vector<PackedLayer> layers_;
    std::vector<std::unique_ptr<recurrent::Wide>> wides_;  // of each layer, or none
    const float* table_ = nullptr;
    std::int64_t stride_ = 0;
    std::int32_t count_ = 0;
    bool residual_, folded_ = false, adds_ = false;
    const float* embedding_ = nullptr;
    PackedLayer head_{}, projection_{}, clusters_{};
    std::vector<std::int32_t> cutoffs_, candidates_;
    const Pieces* vocabulary_ = nullptr;
    std::int32_t end_;
};

}  // namespace

Automaton& token_automaton(nb::handle automaton) { return nb::cast<TokenAutomaton&>(automaton).automaton(); }

void bind(nb::module_& parent) {
    nb::module_ module = parent.def_submodule("generate");
    nb::class_<Vocabulary>(module, "Vocabulary").def(nb::init<nb::object, nb::object, bool>());
    nb::class_<Table>(module, "Table").def(nb::init<nb::object, nb::object, nb::object>());
    nb::class_<TokenAutomaton>(module, "Automaton")
        .def(nb::init<nb::object, nb::object, nb::object, nb::object>())
        .def("row", &TokenAutomaton::row)
        .def("distance", &TokenAutomaton::distance)
        .def("accepts", &TokenAutomaton::accepts)
        .def("within", &TokenAutomaton::within)
        .def("count_ways", [](TokenAutomaton& self, std::int32_t most) { self.automaton().count_ways(most); })
        .def_prop_ro("start", [](TokenAutomaton& self) { return self.automaton().start(); })
        .def_prop_ro("states", [](TokenAutomaton& self) { return self.automaton().states(); });
    nb::class_<Generator>(module, "Generator")
        .def(nb::init<nb::list, nb::object, nb::object, bool, nb::object, nb::object, nb::object,
                      std::vector<std::int32_t>, nb::object, std::vector<std::int32_t>, std::int32_t, nb::list>(),
             "layers"_a, "table"_a.none(), "embedding"_a.none(), "residual"_a, "projection"_a.none(), "head"_a,
             "clusters"_a.none(), "cutoffs"_a, "vocabulary"_a, "candidates"_a, "end"_a, "stored"_a)
        .def("run", &Generator::run);
}

}  // namespace gatework::generate
