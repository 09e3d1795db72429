// The memory of sources by a transformer; the definition is `encode` of kernels/transformer.py. Products are those of packed
// layers, in their precision; sources of a group run through them together.

#pragma once

#include <cstdint>
#include <vector>

#include "decode/decode.h"
#include "decode/transformer_parts.h"

namespace gatework::decode {

struct EncoderLayer {
    Norm self_norm, inner_norm;
    Weights self, self_output, inner, inner_output;
};

struct TransformerEncoder {
    std::vector<EncoderLayer> layers;
    Norm norm;
    Positions positions;
    std::int64_t width = 0, heads = 0;
    float epsilon = 0.0f;
    int lanes = 0;  // of the level of the products
};

// x (N, E) holds vectors of tokens, source b in rows offsets[b] to offsets[b + 1], at least one; y (N, E) is written. Sources are
// shared out among threads; a source's bits do not depend on how. Throws std::bad_alloc.
void encode(const TransformerEncoder& network, const float* x, const std::int64_t* offsets, std::int64_t batch, float* y);

}  // namespace gatework::decode
