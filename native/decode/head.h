// The rows of a head that a source is left with, cut out of the network's: products with a fraction of its weights.

#pragma once

#include "decode/decode.h"
#include "recurrent/product.h"

namespace gatework::decode {

inline constexpr std::int64_t kHeadRows = 16;  // rows of logits at once

class Head {
public:
    Head(const Weights& of, const std::vector<std::int32_t>& ids);
    Head(const Head&) = delete;
    Head& operator=(const Head&) = delete;

    recurrent::Product product;  // of at most kHeadRows rows

private:
    recurrent::Packed packed_{};
    Buffer bytes_;
};

}  // namespace gatework::decode
