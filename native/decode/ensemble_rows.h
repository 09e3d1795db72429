// Rows of several writers that answer together: p = mean over members of p_m; see kernels/decoding_ensemble.py.

#pragma once

#include "decode/rows.h"

namespace gatework::decode {

class EnsembleRows final : public Rows {
public:
    EnsembleRows(const EnsembleNetwork& network, std::int64_t most, std::int64_t places);
    void step(const std::vector<Move>& moves) override;

private:
    void mix(const Move& move, std::int64_t row);
    void look(const Move& move, std::int64_t row);

    const EnsembleNetwork& own_;
    std::vector<std::unique_ptr<Rows>> members_;
    std::vector<Move> moves_;
    std::vector<float> mixed_, parts_;
};

}  // namespace gatework::decode
