// The network of a decoder over rows: each row a beginning of a target, with its states, what was fed back and what was
// looked at. One thread's; see decode.h for the shapes.

#pragma once

#include <memory>
#include <vector>

#include "decode/decode.h"
#include "recurrent/product.h"
#include "recurrent/step_layer.h"

namespace gatework::decode {

// Where a row of the next step comes from.
struct Move {
    std::int64_t from;     // a row of this step, or -1 for the beginning of a source
    const Source* source;
    std::int32_t token;  // it reads
};

class Rows {
public:
    Rows(const Network& network, std::int64_t most, std::int64_t places);

    // Rows go on from those that `moves` name, read their tokens, and give logits: of padding -inf.
    void step(const std::vector<Move>& moves);

    // Of the last step: logits (V), or with copying log p; the weights of the places looked at.
    float* logits(std::int64_t row) { return logits_.data() + row * network_.outputs; }
    const float* looked(std::int64_t row) const { return weights_.data() + row * places_; }
    bool normal() const { return network_.copy != nullptr; }  // whether logits are log p

private:
    void gather(const std::vector<Move>& moves);
    void attend(const Source& source, std::int64_t row, const float* q, const float* asked);
    void copy(const Source& source, std::int64_t row, std::int32_t read);

    const Network& network_;
    std::int64_t places_, joined_;  // joined: H + P, rounded up
    std::vector<std::unique_ptr<recurrent::StepLayer>> layers_;
    recurrent::Product query_, output_, head_;
    std::vector<float> inputs_, join_, fed_, seen_, weights_, logits_, spare_, scores_;
    std::vector<const float*> x_;
    generate::Sampler sums_;
};

}  // namespace gatework::decode
