// What the tokens of a source see of each other, once for all levels; see decode/look.h. A level's file defines
// GATEWORK_LEVEL_NAME and GATEWORK_LANES, includes this, and is compiled with the flags of its instruction set. As in
// recurrent.inc.h, everything is in the level's namespace and no templates of the standard library are used.
//
// Lane l of a vector is query l of a block: nothing is ever summed across lanes.

#include <math.h>

#include <cstdint>
#include <cstring>

#include "decode/look.h"
#include "level.h"

namespace gatework::decode {
namespace GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME) {

#include "recurrent/vector.h"

constexpr int kKeys = 4;    // keys whose scores are summed up at once
constexpr int kValues = 8;  // numbers of the values

// Scores of a block, (S, lanes), become weights, and 1 over their sums.
static Vec soften(float* scores, std::int64_t S) {
    Vec most = load(scores), total = constant(0.0f);
    for (std::int64_t s = 1; s < S; ++s) most = larger(load(scores + s * kLanes), most);
    for (std::int64_t s = 0; s < S; ++s) {
        const Exp e = exp_parts(larger(load(scores + s * kLanes) - most, constant(-87.0f)));
        const Vec weight = e.scale * e.p + e.scale;
        total += weight;
        store(scores + s * kLanes, weight);
    }
    return constant(1.0f) / total;
}

template <int N>
static GATEWORK_INLINE void score(const float* q, const float* key, std::int64_t apart, std::int64_t wide, float* scores) {
    Vec sum[N];
    each<N>([&](auto n) GATEWORK_LAMBDA { sum[n] = constant(0.0f); });
    for (std::int64_t k = 0; k < wide; ++k) {
        const Vec own = load(q + k * kLanes);
        each<N>([&](auto n) GATEWORK_LAMBDA { sum[n] += own * constant(key[n * apart + k]); });
    }
    each<N>([&](auto n) GATEWORK_LAMBDA { store(scores + n * kLanes, sum[n]); });
}

template <int N>
static GATEWORK_INLINE void gather(const float* scores, const float* value, std::int64_t apart, std::int64_t S, Vec share, float* out) {
    Vec sum[N];
    each<N>([&](auto n) GATEWORK_LAMBDA { sum[n] = constant(0.0f); });
    for (std::int64_t s = 0; s < S; ++s) {
        const Vec weight = load(scores + s * kLanes);
        each<N>([&](auto n) GATEWORK_LAMBDA { sum[n] += weight * constant(value[s * apart + n]); });
    }
    each<N>([&](auto n) GATEWORK_LAMBDA { store(out + n * kLanes, sum[n] * share); });
}

static std::int64_t look_room(std::int64_t S, std::int64_t wide) { return (S + wide + kValues) * kLanes; }

static void look(const float* made, std::int64_t S, std::int64_t E, std::int64_t heads, float* seen, float* room) {
    const std::int64_t wide = E / heads, apart = 3 * E;
    const float scale = 1.0f / sqrtf((float)wide);
    float *q = room, *out = q + wide * kLanes, *scores = out + kValues * kLanes;
    for (std::int64_t at = 0; at < E; at += wide) {
        for (std::int64_t first = 0; first < S; first += kLanes) {
            const std::int64_t count = S - first < kLanes ? S - first : kLanes;
            for (std::int64_t k = 0; k < wide; ++k)
                for (std::int64_t l = 0; l < kLanes; ++l) q[k * kLanes + l] = l < count ? scale * made[(first + l) * apart + at + k] : 0.0f;
            const float *key = made + E + at, *value = made + 2 * E + at;
            std::int64_t s = 0;
            for (; s + kKeys <= S; s += kKeys) score<kKeys>(q, key + s * apart, apart, wide, scores + s * kLanes);
            for (; s < S; ++s) score<1>(q, key + s * apart, apart, wide, scores + s * kLanes);
            const Vec share = soften(scores, S);
            for (std::int64_t k = 0; k < wide; k += kValues) {
                const std::int64_t some = wide - k < kValues ? wide - k : kValues;
                if (some == kValues) gather<kValues>(scores, value + k, apart, S, share, out);
                else
                    for (std::int64_t j = 0; j < some; ++j) gather<1>(scores, value + k + j, apart, S, share, out + j * kLanes);
                for (std::int64_t l = 0; l < count; ++l)
                    for (std::int64_t j = 0; j < some; ++j) seen[(first + l) * E + at + k + j] = out[j * kLanes + l];
            }
        }
    }
}

}  // namespace level_...

extern const Look GATEWORK_JOIN(look_, GATEWORK_LEVEL_NAME);
const Look GATEWORK_JOIN(look_, GATEWORK_LEVEL_NAME) = {
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::look_room,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::look,
};

}  // namespace gatework::decode
