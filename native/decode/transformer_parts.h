// What transformers that read and that write share; the equations are at the head of core/transformer.py.

#pragma once

#include <cstdint>
#include <vector>

namespace gatework::decode {

struct Norm {
    const float *gain, *shift;  // (E)
};

// Sines and cosines of places. Any threads may share it.
class Positions {
public:
    Positions() = default;
    explicit Positions(std::int64_t width);

    // to = sqrt(E) from + P(at), all (E).
    void place(const float* from, std::int64_t at, float* to) const;

private:
    static constexpr std::int64_t kKept = 256;  // places whose P is kept

    std::int64_t half_ = 0;
    float scale_ = 0.0f;
    std::vector<double> rates_;
    std::vector<float> kept_;
};

// x (E) with a mean of 0 and a variance of 1, times the gain, and the shift.
void normed(const float* x, const Norm& norm, float epsilon, std::int64_t width, float* y);

// What a query (E) sees of S keys, each with its value (E) behind it, into y (E); and where `weights` (S) are wanted, the mean
// over heads. scores: room for S.
void attend(const float* q, const float* const* keys, std::int64_t S, std::int64_t width, std::int64_t heads, float* y, float* weights,
            float* scores);

}  // namespace gatework::decode
