// A layer with its state, one step at a time.

#pragma once

#include <cstring>
#include <vector>

#include "buffers.h"
#include "recurrent/recurrent.h"
#include "threads/pool.h"

namespace gatework::recurrent {

struct StepLayer {
    static constexpr std::size_t kSplit = 1 << 20;  // bytes of weights that one core's cache does not hold

    const Packed* packed;
    const StepKernels* kernels;
    std::int64_t H, P;  // padded
    std::size_t weight_bytes;
    int lanes;
    Buffer h[2], c, scratch;
    int now = 0;  // which h is the state
    std::vector<const float*> x;
    std::vector<const std::uint16_t*> halves;
    const Matrix* wide = nullptr;  // see SingleStep

    StepLayer(const Packed& weights, const Kernels& level)
        : packed(&weights), kernels(&level.step), H(padded(weights.units)), P(padded(weights.outputs)),
          weight_bytes(packed_bytes(weights.cell, weights.precision, weights.inputs, weights.units, weights.outputs, false)),
          lanes(level.lanes) {}

    float* state_h() { return reinterpret_cast<float*>(h[now].bytes()); }
    float* state_c() { return reinterpret_cast<float*>(c.bytes()); }

    void resize(std::int64_t rows) {
        for (Buffer& one : h) one.reserve((std::size_t)(rows * P) * sizeof(float));
        c.reserve((std::size_t)(rows * H) * sizeof(float));
        scratch.reserve(kernels->scratch(*packed, rows));
        x.assign((std::size_t)rows, nullptr);
        halves.assign((std::size_t)rows, nullptr);
        now = 0;
        for (std::int64_t row = 0; row < rows; ++row) clear(row);
    }
    void clear(std::int64_t row) {
        std::memset(state_h() + row * P, 0, (std::size_t)P * sizeof(float));
        std::memset(state_c() + row * H, 0, (std::size_t)H * sizeof(float));
    }
    // Ranges of units for two threads and more: multiples of what a panel holds.
    int parts(std::int64_t rows) const {
        const std::int64_t block = 4 * lanes;
        if (wide || H % block != 0 || weight_bytes * (std::size_t)rows < kSplit) return 1;
        const int most = threads::count();
        return (int)(H / block < most ? H / block : most);
    }
    void step(std::int64_t rows, bool projected, bool half) {
        SingleStep io{rows, x.data(), half ? halves.data() : nullptr, projected || half, state_h(),
                      reinterpret_cast<float*>(h[1 - now].bytes()), state_c(), scratch.bytes(), wide};
        kernels->begin(*packed, io);
        const int split = parts(rows);
        if (split == 1) {
            kernels->units(*packed, io, 0, H);
        } else {
            struct Work {
                const StepLayer* layer;
                const SingleStep* io;
                int parts;
            } work{this, &io, split};
            threads::run(split, [](void* context, int part) {
                const Work& w = *static_cast<Work*>(context);
                const std::int64_t block = 4 * w.layer->lanes, blocks = w.layer->H / block;
                w.layer->kernels->units(*w.layer->packed, *w.io, blocks * part / w.parts * block, blocks * (part + 1) / w.parts * block);
            }, &work);
        }
        kernels->end(*packed, io);
        now = 1 - now;
    }
};

}  // namespace gatework::recurrent
