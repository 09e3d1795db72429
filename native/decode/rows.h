// The network of a decoder over rows: each row a beginning of a target, with what it has read and looked at. One thread's;
// see decode.h for the shapes.

#pragma once

#include <vector>

#include "decode/decode.h"
#include "decode/head.h"
#include "decode/sums.h"

namespace gatework::decode {

// Where a row of the next step comes from.
struct Move {
    std::int64_t from;     // a row of this step, or -1 for the beginning of a source
    const Source* source;
    std::int32_t token;  // it reads
    const std::unique_ptr<Head>* heads;  // where only some tokens may come: one, or one for each member; else null
};

class Rows {
public:
    virtual ~Rows() = default;
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;

    // Rows go on from those that `moves` name, read their tokens, and give logits: of padding -inf.
    virtual void step(const std::vector<Move>& moves) = 0;

    // Of the last step: logits (V), -inf of tokens that may not come; the log of the sum of their exp, 0 where they are log
    // p; the weights of the places looked at.
    float* logits(std::int64_t row) { return logits_.data() + row * network_.outputs; }
    float total(std::int64_t row) const { return totals_[(std::size_t)row]; }
    const float* looked(std::int64_t row) const { return weights_.data() + row * places_; }

protected:
    Rows(const Network& network, std::int64_t most, std::int64_t places);

    // Logits of what the layers gave, a row after the other, (E) each, and their totals.
    void say(const float* const* o, const std::vector<Move>& moves);
    // Logits become log p, mixed with that of copying; h (H), c (P) and the weights of the row.
    void copy(const Move& move, std::int64_t row, const float* h, const float* c);

    const Network& network_;
    std::int64_t places_;
    std::vector<float> weights_, logits_, totals_;

private:
    void whole(const float* from, std::int64_t row);
    void spread(const std::vector<std::int32_t>& ids, const float* from, std::int64_t row);

    recurrent::Product head_;
    std::vector<float> copied_;
    generate::Sampler sums_;
};

}  // namespace gatework::decode
