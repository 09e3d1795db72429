// Random automata over random vocabularies, for the drivers of what writes.

#pragma once

#include <vector>

#include "generate/automaton.h"
#include "tests/fuzz.h"

namespace gatework::fuzz {

using namespace gatework::generate;

struct Language {
    std::vector<std::int32_t> table;
    std::vector<std::uint8_t> classes, accept, bytes;
    std::vector<std::int64_t> offsets{0};
    Dfa dfa;
    Pieces pieces;

    // So many tokens; the first `silent` of them write nothing.
    Language(Random& random, std::int64_t tokens, std::int64_t silent = 0) : classes(256) {
        const std::int32_t states = 1 + (std::int32_t)random.below(9), columns = 1 + (std::int32_t)random.below(5);
        for (std::int32_t i = 0; i < states * columns; ++i)
            table.push_back(random.chance(0.3) ? kDead : (std::int32_t)random.below(states));
        for (std::uint8_t& one : classes) one = (std::uint8_t)random.below(columns);
        for (std::int32_t s = 0; s < states; ++s) accept.push_back(random.chance(0.3));
        const bool spaced = random.chance(0.3);
        for (std::int64_t token = 0; token < tokens; ++token) {
            if (token < silent) {
            } else if (spaced && random.chance(0.1)) bytes.push_back('\n');
            else if (random.chance(0.9)) {
                if (spaced) bytes.push_back(' ');
                for (std::int64_t n = random.chance(0.02) ? 1100 : random.below(5); n > 0; --n) bytes.push_back((std::uint8_t)('a' + random.below(3)));
            }
            offsets.push_back((std::int64_t)bytes.size());
        }
        bytes.push_back(0);
        dfa = {table.data(), classes.data(), accept.data(), states, columns};
        pieces = {bytes.data(), offsets.data(), (std::int32_t)offsets.size() - 1, spaced};
    }

    // The state after a token, or kDead.
    std::int32_t after(std::int32_t state, std::int32_t token) const {
        const std::int64_t length = pieces.end(token) - pieces.begin(token);
        if (length == 0 || length > Trie::kLongest) return kDead;
        std::int32_t here = state % dfa.states;
        for (const std::uint8_t* byte = pieces.begin(token); byte < pieces.end(token); ++byte) {
            if (state >= dfa.states && byte == pieces.begin(token) && *byte == ' ') continue;
            here = dfa.step(here, *byte);
            if (here == kDead) return kDead;
        }
        return pieces.feeds(token) ? here + dfa.states : here;
    }
};

}  // namespace gatework::fuzz
