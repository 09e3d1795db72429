// Rows of a transformer writer; the equations are at the head of core/transformer.py. The keys and values of a token that
// was read lie in a slot, which all beginnings that go on from it share: no beam copies them.

#pragma once

#include <vector>

#include "decode/rows.h"

namespace gatework::decode {

class TransformerRows final : public Rows {
public:
    TransformerRows(const TransformerNetwork& network, std::int64_t most, std::int64_t places);
    void step(const std::vector<Move>& moves) override;

private:
    // The products of a layer, with their room.
    struct Layer {
        recurrent::Product self, self_output, source_query, source_output, inner, inner_output;
    };

    void gather(const std::vector<Move>& moves);
    std::int32_t free_slot();
    void remember(const recurrent::Product& product, const float* made, std::size_t layer, std::int64_t rows);
    void attend_self(const recurrent::Product& product, const float* made, std::size_t layer, std::int64_t rows);
    void attend_source(const recurrent::Product& product, const float* queries, std::size_t layer, const std::vector<Move>& moves);
    void see(const float* q, float* y, float* weights);
    const float* const* normed(const Norm& norm, std::int64_t rows);
    const float* const* each(const float* made, std::int64_t wide, std::int64_t rows);
    void join(const recurrent::Product& product, const float* made, std::int64_t rows);

    const TransformerNetwork& own_;
    std::int64_t width_;                            // E
    std::vector<Layer> layers_;
    std::vector<std::vector<std::int32_t>> read_;   // slots of the tokens of each row
    std::vector<std::vector<std::int32_t>> spare_;
    std::vector<float> kept_;                       // of each slot, for each layer: key, value (E, E)
    std::vector<std::int32_t> free_;
    std::vector<float> x_, n_, y_, scores_, c_;     // (rows, E) but for the scores
    std::vector<const float*> at_, keys_;
};

}  // namespace gatework::decode
