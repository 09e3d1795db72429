// Logits to one token. The definition, with its sources, is kernels/sampling.py; both choose the same token but where
// probabilities agree to the last bits.

#pragma once

#include <cstdint>
#include <vector>

namespace gatework::generate {

struct Settings {
    double temperature = 1.0;  // 0: the most likely token
    std::int64_t top_k = 0;    // 0 for all
    double top_p = 1.0, min_p = 0.0, repetition_penalty = 1.0;
    std::int64_t no_repeat = 0;  // length of n-grams that may not come again; 0 for any
    std::int32_t exempt = -1;    // a token that penalties and n-grams leave alone
};

// A number in [0, 1) for a place of a text.
double uniform(std::uint64_t seed, std::uint64_t position);
// A seed for each of several texts; the first keeps `seed`.
std::uint64_t row_seed(std::uint64_t seed, std::uint64_t row);

struct Choice {
    std::int32_t token;
    std::int64_t place;  // among the candidates
    float log_p;         // of the model, before settings and candidates
};

// Reused from token to token; one thread at a time.
class Sampler {
public:
    // logits (V) and the log of the sum of their exp.
    // candidates: rising ids, at least one; recent: the text so far, newest last.
    Choice choose(const float* logits, float log_sum, const std::int32_t* candidates, std::int64_t count,
                  const std::int32_t* recent, std::int64_t remembered, const Settings& settings, double u);

    // log of the sum of exp(values).
    float log_sum(const float* values, std::int64_t count);

private:
    void ban(const std::int32_t* candidates, std::int64_t count, const std::int32_t* recent, std::int64_t remembered,
             std::int64_t length, std::int32_t exempt);
    void keep_top(const Settings& settings);

    std::vector<float> scores_, terms_;
    std::vector<double> weights_;
    std::vector<std::int32_t> order_;
    std::vector<std::uint8_t> banned_;
};

}  // namespace gatework::generate
