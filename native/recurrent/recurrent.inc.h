// The recurrent kernels, once for all levels. A level's file defines GATEWORK_LEVEL_NAME, GATEWORK_LANES (floats a
// vector), GATEWORK_ROWS (most rows a micro-kernel takes) and perhaps GATEWORK_PLAIN, includes this, and is compiled with
// the flags of its instruction set. Everything is in a namespace of the level and uses no templates of the standard
// library: the linker keeps one copy of those, and it might be one this processor cannot run.
//
// A "row" is one sequence at one step.

#include <math.h>

#include <cstdint>
#include <cstring>

#include "level.h"
#include "recurrent/recurrent.h"

namespace gatework::recurrent {
namespace GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME) {

#include "recurrent/vector.h"
//
#include "recurrent/tile.h"
//
#include "recurrent/panels.h"
//
#include "recurrent/pointwise.h"
//
#include "recurrent/forward.h"
//
#include "recurrent/backward.h"
//
#include "recurrent/step.h"

static void activate(int f, const float* x, float* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += kLanes) {
        const Vec v = load(x + i);
        store(y + i, f == 0 ? sigmoid(v) : f == 1 ? tanh(v) : relu(v));
    }
}

static std::int64_t multiply_adds(std::int64_t rounds, float factor, float* out) {
    const Vec a = constant(factor), b = constant(1.0f - factor);
    Vec sum[12];
    for (int i = 0; i < 12; ++i) sum[i] = constant((float)i);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (int i = 0; i < 12; ++i) sum[i] = sum[i] * a + b;
    for (int i = 1; i < 12; ++i) sum[0] += sum[i];
    float lanes[kLanes];
    store(lanes, sum[0]);
    *out = lanes[0];
    return rounds * 12 * 2 * kLanes;
}

}  // namespace level_...

extern const Kernels GATEWORK_JOIN(kernels_, GATEWORK_LEVEL_NAME);
const Kernels GATEWORK_JOIN(kernels_, GATEWORK_LEVEL_NAME) = {
    GATEWORK_STRING(GATEWORK_LEVEL_NAME),
    GATEWORK_LANES,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::pack,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::take,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::forward_scratch,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::forward,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::backward_scratch,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::backward,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::input_gradient_scratch,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::input_gradient,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::outer_scratch,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::outer,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::outer_rows,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::activate,
    GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::multiply_adds,
    {
        GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::step_scratch,
        GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::step_begin,
        GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::step_units,
        GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::step_end,
        GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::project,
        GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::wide_bytes,
        GATEWORK_JOIN(level_, GATEWORK_LEVEL_NAME)::pack_wide,
    },
};

}  // namespace gatework::recurrent
