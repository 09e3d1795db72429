// Rows of a recurrent writer; the equations are at the head of core/writer.py.

#pragma once

#include <memory>
#include <vector>

#include "decode/rows.h"
#include "recurrent/step_layer.h"

namespace gatework::decode {

class RecurrentRows final : public Rows {
public:
    RecurrentRows(const RecurrentNetwork& network, std::int64_t most, std::int64_t places);
    void step(const std::vector<Move>& moves) override;

private:
    void gather(const std::vector<Move>& moves);
    void attend(const Source& source, std::int64_t row, const float* q, const float* asked);

    const RecurrentNetwork& own_;
    std::int64_t joined_;  // H + P, rounded up
    std::vector<std::unique_ptr<recurrent::StepLayer>> layers_;
    recurrent::Product query_, output_;
    std::vector<float> inputs_, join_, fed_, seen_, spare_, scores_;
    std::vector<const float*> x_;
};

}  // namespace gatework::decode
