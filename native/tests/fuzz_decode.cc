// Targets searched for and drawn. For random recurrent writers, transformers and several of them together, sources, lists of
// tokens, searches, automata and levels:
//   - ids are tokens that may come, after the prefix, no more than the limit, and no end before its time;
//   - log p is that of something possible, scores fall, those that ended come first;
//   - weights of the source's places sum to one at every token;
//   - an automaton accepts what was found under it;
//   - each source's targets have the same bits alone, beside others, and for any number of threads.
// And the memory of sources by random transformers: the same bits alone, beside others, and for any number of threads.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "decode/decode.h"
#include "decode/head.h"
#include "decode/transformer_encoder.h"
#include "recurrent/engine.h"
#include "tests/fuzz_language.h"
#include "threads/pool.h"

namespace gatework::fuzz {
namespace {

namespace decoding = gatework::decode;
using namespace gatework::decode;
using recurrent::CellInfo;
using recurrent::Kernels;
using recurrent::Packed;
using recurrent::Precision;

// A writer with all that its pointers point to.
struct Writer {
    const Kernels& kernels;
    Random& random;
    std::vector<std::unique_ptr<Packed>> packed;
    std::vector<std::unique_ptr<std::vector<float>>> values;
    std::unique_ptr<Network> network;
    std::vector<std::int64_t> h, c;  // widths of states
    std::int64_t outputs;

    Writer(Random& random, const Kernels& kernels, std::int64_t outputs) : kernels(kernels), random(random), outputs(outputs) {
        if (random.chance(0.6)) recurrent();
        else transformer();
    }

    const float* floats(std::int64_t n, float scale = 1.0f) {
        values.push_back(std::make_unique<std::vector<float>>(random.floats((std::size_t)n, scale)));
        return values.back()->data();
    }

    decoding::Weights weights(const CellInfo& cell, std::int64_t inputs, std::int64_t units, std::int64_t outputs) {
        const Precision precision = random.chance(0.7) ? Precision::float32 : random.chance(0.5) ? Precision::bfloat16 : Precision::int8;
        const std::int64_t rows = cell.gates * units;
        const float scale = 1.5f / std::sqrt((float)inputs);
        const recurrent::Weights given{floats(rows * inputs, scale), floats(rows * outputs, scale), floats(rows, 0.5f),
                                       cell.recurrent_bias ? floats(rows, 0.5f) : nullptr, {}};
        auto own = std::make_unique<Packed>();
        own->cell = cell;
        own->precision = precision;
        own->inputs = inputs;
        own->units = units;
        own->outputs = outputs;
        const std::size_t bytes = recurrent::packed_bytes(cell, precision, inputs, units, outputs, false);
        values.push_back(std::make_unique<std::vector<float>>((bytes + 64) / sizeof(float)));
        char* room = reinterpret_cast<char*>(values.back()->data());
        const std::size_t past = (std::size_t)((std::uintptr_t)room % 64);
        recurrent::place_packed(*own, false, room + (past ? 64 - past : 0));
        recurrent::pack(kernels, given, *own, false);
        packed.push_back(std::move(own));
        return {packed.back().get(), &kernels};
    }
    decoding::Weights affine(std::int64_t inputs, std::int64_t units) { return weights(recurrent::kCells[0], inputs, units, 0); }

    void common(Network& n, std::int64_t units) {
        n.outputs = outputs;
        n.units = units;
        n.memory = random.size(30);
    }
    void finish(Network& n) {
        n.embedding = floats(n.outputs * n.embedding_width);
        n.head = affine(n.embedding_width, n.outputs);
        if (n.attention != Attention::none && random.chance(0.3)) {
            n.copy = floats(n.memory + n.units + n.embedding_width);
            n.copy_bias = random.around(1);
        }
    }

    void recurrent() {
        auto made = std::make_unique<RecurrentNetwork>();
        RecurrentNetwork& n = *made;
        static constexpr int kinds[] = {0, 2, 4};  // rnn, gru, lstm
        const CellInfo& cell = recurrent::kCells[kinds[random.below(3)]];
        const std::int64_t units = random.size(40);
        common(n, units);
        n.embedding_width = random.size(30);
        n.input_feeding = random.chance(0.3);
        const std::int64_t layers = 1 + random.below(3);
        for (std::int64_t k = 0; k < layers; ++k) {
            n.layers.push_back(weights(cell, k ? units + n.memory : n.embedding_width * (n.input_feeding ? 2 : 1), units, units));
            h.push_back(units);
            c.push_back(cell.memory ? units : 0);
        }
        n.output = affine(units + n.memory, n.embedding_width);
        n.attention = (Attention)random.below(3);
        if (n.attention == Attention::product) n.keys = units;
        if (n.attention == Attention::additive) {
            n.keys = random.size(20);
            n.query = affine(units, n.keys);
            n.vector = floats(n.keys);
            if (random.chance(0.5)) n.coverage = floats(n.keys);
        }
        finish(n);
        network = std::move(made);
    }

    Norm norm(std::int64_t width) { return {floats(width), floats(width)}; }

    void transformer() {
        auto made = std::make_unique<TransformerNetwork>();
        TransformerNetwork& n = *made;
        n.heads = 1 + random.below(4);
        const std::int64_t width = 2 * n.heads * (1 + random.below(6)), inner = random.size(40);
        common(n, width);
        n.embedding_width = width;
        n.attention = Attention::heads;
        n.positions = Positions(width);
        n.epsilon = 1e-5f;
        const std::int64_t layers = 1 + random.below(3);
        for (std::int64_t k = 0; k < layers; ++k)
            n.layers.push_back({norm(width), norm(width), norm(width), affine(width, 3 * width), affine(width, width),
                                affine(width, width), affine(width, width), affine(width, inner), affine(inner, width)});
        n.norm = norm(width);
        n.keys = 2 * width * layers;
        finish(n);
        network = std::move(made);
    }

    // What an encoder made of a source of so many places.
    Source memory(std::int64_t places) {
        const Network& n = *network;
        Source one;
        one.places = places;
        one.m = floats(one.places * n.memory);
        one.keys = n.keys ? floats(one.places * n.keys) : nullptr;
        one.summary = floats(n.memory);
        for (std::size_t k = 0; k < h.size(); ++k) {
            one.h.push_back(floats(h[k]));
            one.c.push_back(c[k] ? floats(c[k]) : nullptr);
        }
        return one;
    }
};

// One writer, or several that answer together.
struct Answers {
    Random& random;
    std::vector<std::unique_ptr<Writer>> members;
    EnsembleNetwork together;
    std::vector<std::unique_ptr<std::vector<std::int32_t>>> ids;

    Answers(Random& random) : random(random) {
        const std::int64_t count = random.chance(0.7) ? 1 : 1 + random.below(3);
        together.outputs = 4 + random.size(60);
        const Kernels& kernels = recurrent::level((int)random.below(recurrent::level_count()));
        for (std::int64_t k = 0; k < count; ++k) {
            members.push_back(std::make_unique<Writer>(random, kernels, together.outputs));
            together.members.push_back(members.back()->network.get());
            if (together.members.back()->attention != Attention::none) together.attention = together.members.back()->attention;
        }
        alone = count == 1 && random.chance(0.8);
    }
    const Network& network() const {
        if (alone) return *members[0]->network;
        return together;
    }

    Source source() {
        const std::int64_t places = random.size(12);
        ids.push_back(std::make_unique<std::vector<std::int32_t>>());
        for (std::int64_t s = 0; s < places; ++s) ids.back()->push_back(1 + (std::int32_t)random.below(together.outputs - 1));
        Source one;
        if (alone) one = members[0]->memory(places);
        else
            for (const auto& own : members) one.members.push_back(own->memory(places));
        one.places = places;
        one.limit = 1 + random.below(14);
        one.seed = random.bits();
        place(one, *ids.back());
        return one;
    }

    // The ids, and the first place with the same token, as the bindings make it.
    static void place(Source& one, const std::vector<std::int32_t>& ids) {
        one.ids = ids.data();
        for (const std::int32_t token : ids) one.first.push_back((std::int32_t)(std::find(ids.begin(), ids.end(), token) - ids.begin()));
        for (Source& own : one.members) place(own, ids);
    }

    // Only some tokens: the end, one that may always come, the prefix and the source's own, and others.
    void shorten(Source& one) {
        std::vector<std::int32_t>& only = one.only;
        only = {kEnd, 3};
        only.insert(only.end(), one.prefix.begin(), one.prefix.end());
        only.insert(only.end(), one.ids, one.ids + one.places);
        for (std::int32_t v = 1; v < together.outputs; ++v)
            if (random.chance(0.3)) only.push_back(v);
        std::sort(only.begin(), only.end());
        only.erase(std::unique(only.begin(), only.end()), only.end());
        for (Source& own : one.members) own.only = only;
    }

private:
    bool alone;
};

bool may_follow(const Search& search, const Source& source, std::size_t at, std::int32_t token) {
    if (at < source.prefix.size()) return token == source.prefix[at];
    if (!source.only.empty() && !std::binary_search(source.only.begin(), source.only.end(), token)) return false;
    return token > 0 && token != kEnd && !std::binary_search(search.never.begin(), search.never.end(), token);
}

void check(const Network& n, const Search& search, const Source& source, const std::vector<Found>& found, unsigned long long seed) {
    const auto wrong = [&](const char* what) { fail("decode: %s, seed %llu", what, seed); };
    if ((std::int64_t)found.size() > search.count) wrong("more than were asked for");
    if (!search.automaton && found.empty()) wrong("nothing was found");
    for (std::size_t k = 0; k < found.size(); ++k) {
        const Found& one = found[k];
        const auto tokens = (std::int64_t)one.ids.size();
        if (tokens > source.limit || (!one.ended && tokens < source.limit)) wrong("a target has the wrong length");
        if (one.ended && tokens < std::min<std::int64_t>(search.min_tokens, source.limit)) wrong("an end came too early");
        if (one.ended && tokens < (std::int64_t)source.prefix.size()) wrong("an end came within the prefix");
        for (std::size_t t = 0; t < one.ids.size(); ++t)
            if (one.ids[t] >= n.outputs || !may_follow(search, source, t, one.ids[t])) wrong("a token that may not come");
        if (!(one.log_p <= 1e-3) || !std::isfinite(one.log_p) || !std::isfinite(one.score)) wrong("log p is none");
        if (k > 0 && (one.ended > found[k - 1].ended || (one.ended == found[k - 1].ended && one.score > found[k - 1].score)))
            wrong("targets are not in order");
        const std::size_t rows = n.attention == Attention::none ? 0 : (std::size_t)(tokens + one.ended);
        if (one.attention.size() != rows * (std::size_t)source.places) wrong("weights have the wrong size");
        for (std::size_t t = 0; t < rows; ++t) {
            double sum = 0.0;
            for (std::int64_t s = 0; s < source.places; ++s) sum += one.attention[t * (std::size_t)source.places + (std::size_t)s];
            if (!(std::fabs(sum - 1.0) < 1e-3)) wrong("weights do not sum to one");
        }
        if (!search.automaton) continue;
        std::int32_t state = source.state;
        for (std::size_t t = source.prefix.size(); t < one.ids.size(); ++t) {
            const auto row = search.automaton->row(state);
            const auto at = std::lower_bound(row->tokens.begin(), row->tokens.end(), one.ids[t]);
            if (at == row->tokens.end() || *at != one.ids[t]) wrong("the automaton has no such way");
            state = row->next[(std::size_t)(at - row->tokens.begin())];
        }
        if (!search.automaton->accepts(state)) wrong("the automaton does not accept");
    }
}

bool same(const std::vector<Found>& a, const std::vector<Found>& b) {
    const auto equal = [](const Found& one, const Found& other) {
        return one.ids == other.ids && one.ended == other.ended && one.log_p == other.log_p && one.score == other.score &&
               one.attention.size() == other.attention.size() &&
               (one.attention.empty() || std::memcmp(one.attention.data(), other.attention.data(), one.attention.size() * sizeof(float)) == 0);
    };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal);
}

void round(Random& random, unsigned long long seed) {
    Answers answers(random);
    const Network& n = answers.network();
    const Language language(random, n.outputs, 3);
    const Trie trie(language.pieces);
    Automaton automaton(language.dfa, language.pieces, trie);
    Search search;
    search.draws = random.chance(0.25);
    search.beams = search.draws ? 1 : 1 + random.below(6);
    search.count = search.draws ? 1 + random.below(4) : 1 + random.below(search.beams);
    search.length_penalty = random.chance(0.5) ? 1.0 : 2 * random.unit();
    search.gnmt = random.chance(0.7) ? 0.0 : random.unit();
    search.coverage_penalty = random.chance(0.7) ? 0.0 : random.unit();
    search.no_repeat = random.chance(0.7) ? 0 : 1 + random.below(4);
    search.settings.temperature = random.chance(0.3) ? 0.0 : 1.0;
    search.settings.top_k = random.chance(0.5) ? 0 : 1 + random.below(5);
    search.settings.exempt = kEnd;
    for (std::int32_t v = 1; v < n.outputs; ++v)
        if (v != kEnd && v != 3 && random.chance(0.05)) search.never.push_back(v);
    std::vector<Source> sources;
    for (std::int64_t count = 1 + random.below(9); count > 0; --count) sources.push_back(answers.source());
    if (random.chance(0.5)) {
        if (automaton.distance(automaton.start()) == kFar) return;
        search.automaton = &automaton;
        search.grid = !search.draws && random.chance(0.6);
        for (Source& one : sources) {
            one.state = automaton.start();
            one.limit = std::max<std::int64_t>(one.limit, automaton.distance(one.state));
        }
    } else {
        search.min_tokens = random.chance(0.6) ? 0 : random.below(8);
        for (Source& one : sources)
            for (std::int64_t k = random.chance(0.5) ? 0 : random.below(4); k > 0; --k) one.prefix.push_back(3 + (std::int32_t)random.below(n.outputs - 3));
        for (Source& one : sources) one.limit = std::max({one.limit, (std::int64_t)one.prefix.size(), search.min_tokens});
    }
    for (Source& one : sources)
        if (random.chance(0.3)) answers.shorten(one);
    gatework::threads::set_count(1);
    const auto found = decoding::decode(n, sources, search);
    for (std::size_t b = 0; b < sources.size(); ++b) {
        check(n, search, sources[b], found[b], seed);
        if (!same(found[b], decoding::decode(n, {sources[b]}, search)[0])) fail("decode: neighbours change a target, seed %llu", seed);
    }
    gatework::threads::set_count(1 + (int)random.below(5));
    const auto again = decoding::decode(n, sources, search);
    for (std::size_t b = 0; b < sources.size(); ++b)
        if (!same(found[b], again[b])) fail("decode: threads change a target, seed %llu", seed);
}

void encoder_round(Random& random, unsigned long long seed) {
    Writer weights(random, recurrent::level((int)random.below(recurrent::level_count())), 4);
    TransformerEncoder n;
    n.heads = 1 + random.below(4);
    n.width = 2 * n.heads * (1 + random.below(12));
    n.epsilon = 1e-5f;
    n.positions = Positions(n.width);
    n.lanes = weights.kernels.lanes;
    n.norm = weights.norm(n.width);
    for (std::int64_t layers = 1 + random.below(3); layers > 0; --layers) {
        const std::int64_t E = n.width, inner = random.size(60);
        n.layers.push_back({weights.norm(E), weights.norm(E), weights.affine(E, 3 * E), weights.affine(E, E), weights.affine(E, inner),
                            weights.affine(inner, E)});
    }
    std::vector<std::int64_t> offsets{0};
    for (std::int64_t count = 1 + random.below(9); count > 0; --count)
        offsets.push_back(offsets.back() + (random.chance(0.1) ? 200 + random.below(100) : random.size(40)));
    const auto E = (std::size_t)n.width;
    const std::vector<float> x = random.floats((std::size_t)offsets.back() * E, 1.0f);
    std::vector<float> y(x.size()), again(x.size());
    const auto batch = (std::int64_t)offsets.size() - 1;
    gatework::threads::set_count(1);
    decoding::encode(n, x.data(), offsets.data(), batch, y.data());
    for (const float value : y)
        if (!std::isfinite(value)) fail("encoder: no number, seed %llu", seed);
    for (std::int64_t b = 0; b < batch; ++b) {
        const auto from = (std::size_t)offsets[(std::size_t)b] * E, size = (std::size_t)offsets[(std::size_t)b + 1] * E - from;
        const std::int64_t own[] = {0, (std::int64_t)(size / E)};
        decoding::encode(n, x.data() + from, own, 1, again.data());
        if (std::memcmp(again.data(), y.data() + from, size * sizeof(float)) != 0) fail("encoder: neighbours change a source, seed %llu", seed);
    }
    gatework::threads::set_count(1 + (int)random.below(5));
    decoding::encode(n, x.data(), offsets.data(), batch, again.data());
    if (std::memcmp(again.data(), y.data(), y.size() * sizeof(float)) != 0) fail("encoder: threads change a source, seed %llu", seed);
}

}  // namespace

void decode(std::int64_t rounds, std::uint64_t seed) {
    const int before = gatework::threads::count();
    for (std::int64_t k = 0; k < rounds; ++k) {
        Random random(seed + (std::uint64_t)k);
        round(random, seed + (std::uint64_t)k);
        if (k % 4 == 0) encoder_round(random, seed + (std::uint64_t)k);
    }
    gatework::threads::set_count(before);
    std::printf("fuzz: decode: %lld cases\n", (long long)rounds);
}

}  // namespace gatework::fuzz
