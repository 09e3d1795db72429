// What the tokens of a source see of each other: attention of each to all, in heads, with a file for each instruction set.

#pragma once

#include <cstdint>

namespace gatework::decode {

struct Look {
    // Floats of room for S places and heads of a width.
    std::int64_t (*room)(std::int64_t S, std::int64_t wide);
    // made (S, 3 E) holds query, key and value of each token; seen (S, E) is written. A token's bits do not depend on where
    // it stands in a block.
    void (*look)(const float* made, std::int64_t S, std::int64_t E, std::int64_t heads, float* seen, float* room);
};

// That of a level with so many lanes, see recurrent.h.
const Look& look_of(int lanes);

}  // namespace gatework::decode
