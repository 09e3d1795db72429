// Automata over tokens and the choice of a token. For random automata, vocabularies, states, settings and scores:
//   - a row holds the tokens that survive byte by byte and can still end, and where each leads;
//   - distances are those of a search forwards, and `within` counts as the sets of lengths do;
//   - rows are the same from several threads at once;
//   - a chosen token is a candidate that the settings leave, whatever the scores, and the most likely one without chance.

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "generate/sampler.h"
#include "tests/fuzz_language.h"

namespace gatework::fuzz {
namespace {


void automata(Random& random, unsigned long long seed) {
    const Language language(random, random.below(60) + 1);
    const Trie trie(language.pieces);
    Automaton automaton(language.dfa, language.pieces, trie);
    const std::int32_t most = (std::int32_t)random.below(7), states = automaton.states(), count = language.pieces.count;
    automaton.count_ways(most);
    std::set<std::int32_t> reached{automaton.start()};
    for (std::vector<std::int32_t> waiting{automaton.start()}; !waiting.empty();) {
        const std::int32_t state = waiting.back();
        waiting.pop_back();
        for (std::int32_t token = 0; token < count; ++token) {
            const std::int32_t next = language.after(state, token);
            if (next != kDead && reached.insert(next).second) waiting.push_back(next);
        }
    }
    for (const std::int32_t state : reached) {
        std::set<std::int32_t> front{state};
        std::int32_t distance = kFar;
        for (std::int32_t k = 0; k <= states; ++k) {
            bool any = false;
            for (const std::int32_t one : front) any = any || automaton.accepts(one);
            if (any && distance == kFar) distance = k;
            if (k <= most && automaton.within(state, k, k) != any) fail("generate: within %d of state %d, seed %llu", k, state, seed);
            std::set<std::int32_t> longer;
            for (const std::int32_t one : front)
                for (std::int32_t token = 0; token < count; ++token)
                    if (const std::int32_t next = language.after(one, token); next != kDead) longer.insert(next);
            front.swap(longer);
        }
        if (automaton.distance(state) != distance) fail("generate: distance of state %d, seed %llu", state, seed);
    }
    const auto check = [&] {
        for (const std::int32_t state : reached) {
            const auto row = automaton.row(state);
            std::size_t k = 0;
            for (std::int32_t token = 0; token < count; ++token) {
                const std::int32_t next = language.after(state, token);
                if (next == kDead || automaton.distance(next) == kFar) continue;
                if (k >= row->tokens.size() || row->tokens[k] != token || row->next[k] != next)
                    fail("generate: row of state %d, seed %llu", state, seed);
                ++k;
            }
            if (k != row->tokens.size()) fail("generate: row of state %d is too long, seed %llu", state, seed);
        }
    };
    std::thread other(check);
    check();
    other.join();
}

void choices(Random& random, unsigned long long seed) {
    const std::int64_t vocabulary = random.size(600);
    std::vector<float> logits = random.floats((std::size_t)vocabulary, random.chance(0.2) ? 1e4f : random.chance(0.2) ? 0.0f : 5.0f);
    std::vector<std::int32_t> candidates, recent;
    for (std::int32_t v = 0; v < vocabulary; ++v)
        if (random.chance(0.6)) candidates.push_back(v);
    if (candidates.empty()) candidates.push_back((std::int32_t)random.below(vocabulary));
    for (std::int64_t n = 1 + random.below(200); n > 0; --n) recent.push_back((std::int32_t)random.below(random.chance(0.5) ? 3 : vocabulary + 1));
    Settings settings;
    settings.temperature = random.chance(0.2) ? 0.0 : random.chance(0.2) ? 1e-3 : 2 * random.unit() + 1e-3;
    settings.top_k = random.chance(0.5) ? 0 : 1 + random.below(2 * vocabulary);
    settings.top_p = random.chance(0.5) ? 1.0 : random.chance(0.2) ? 1e-9 : random.unit() + 1e-9;
    settings.min_p = random.chance(0.5) ? 0.0 : random.chance(0.2) ? 1.0 : random.unit();
    settings.repetition_penalty = random.chance(0.5) ? 1.0 : 2 * random.unit() + 0.01;
    settings.no_repeat = random.chance(0.5) ? 0 : 1 + random.below(random.chance(0.2) ? 300 : 4);
    Sampler sampler;
    const float total = sampler.log_sum(logits.data(), vocabulary);
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp((double)logit - (double)total);
    if (!(std::fabs(sum - 1.0) < 2e-3)) fail("generate: probabilities sum to %g, seed %llu", sum, seed);
    const double u = random.chance(0.1) ? 0.0 : random.chance(0.1) ? 1.0 - 0x1p-53 : random.unit();
    const Choice choice = sampler.choose(logits.data(), total, candidates.data(), (std::int64_t)candidates.size(), recent.data(),
                                         (std::int64_t)recent.size(), settings, u);
    if (choice.place < 0 || choice.place >= (std::int64_t)candidates.size() || candidates[(std::size_t)choice.place] != choice.token)
        fail("generate: chose no candidate, seed %llu", seed);
    const bool plain = settings.repetition_penalty == 1.0 && settings.no_repeat == 0;
    std::int64_t better = 0;
    for (const std::int32_t one : candidates) better += logits[(std::size_t)one] > logits[(std::size_t)choice.token];
    if (plain && settings.temperature == 0.0 && better) fail("generate: not the most likely token, seed %llu", seed);
    if (plain && settings.top_k && better >= settings.top_k) fail("generate: beyond top_k, seed %llu", seed);
    if (plain && settings.temperature > 0.0 && settings.min_p == 1.0 && settings.temperature > 0.1 && better &&
        logits[(std::size_t)choice.token] + 1e-2f < *std::max_element(logits.begin(), logits.end()) && candidates.size() == (std::size_t)vocabulary)
        fail("generate: below min_p, seed %llu", seed);
}

}  // namespace

void generate(std::int64_t rounds, std::uint64_t seed) {
    for (std::int64_t round = 0; round < rounds; ++round) {
        Random random(seed + (std::uint64_t)round);
        automata(random, seed + (std::uint64_t)round);
        for (int n = 0; n < 20; ++n) choices(random, seed + (std::uint64_t)round);
    }
    std::printf("fuzz: generate: %lld cases\n", (long long)rounds);
}

}  // namespace gatework::fuzz
