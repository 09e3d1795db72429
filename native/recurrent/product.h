// W x + b for rows, through a packed layer without outputs.

#pragma once

#include "buffers.h"
#include "recurrent/recurrent.h"

namespace gatework::recurrent {

struct Product {
    const Packed* packed = nullptr;
    const Kernels* kernels = nullptr;
    Buffer scratch, out;
    std::int64_t wide = 0;  // floats from row to row of what `run` returns

    void prepare(const Packed& weights, const Kernels& level, std::int64_t rows) {
        packed = &weights;
        kernels = &level;
        wide = padded(weights.units);
        scratch.reserve(level.step.scratch(weights, rows));
        out.reserve((std::size_t)(rows * wide) * sizeof(float));
    }
    float* run(const float* const* x, std::int64_t rows) {
        float* to = reinterpret_cast<float*>(out.bytes());
        kernels->step.project(*packed, x, rows, false, to, scratch.bytes());
        return to;
    }
};

}  // namespace gatework::recurrent
