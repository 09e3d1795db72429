// Whole layers: shares a batch out among threads and carries the kernels of one level through it. Compiled once.

#pragma once

#include <vector>

#include "recurrent/recurrent.h"

namespace gatework::recurrent {

// Places of a batch sorted by falling length (ties keep their order); returns the longest, or -1 where a length is below 0
// or above `time`.
std::int64_t sort_lengths(const std::int64_t* lengths, std::int64_t batch, std::int64_t time, std::vector<std::int64_t>& order);

// Every `shards`-th sequence of the sorted batch, with its schedule: shards have nearly the same work.
class Shard {
public:
    Shard(const std::int64_t* lengths, const std::vector<std::int64_t>& sorted, int shard, int shards, bool reverse);
    Shard(Shard&&) = default;
    const Schedule& schedule() const { return schedule_; }

private:
    std::vector<std::int64_t> order_, lengths_, running_, first_row_;
    Schedule schedule_;
};

// One direction of a layer. Arrays are null where the cell or the call has none.
struct Direction {
    Weights weights;
    const Packed* packed;  // already packed for the way forward, or null
    const float *h0, *c0;
    float *h, *c;
    const float* mask;
    Rows<const std::uint8_t> keep_h, keep_c;
    // backward
    WeightGradients gradients;
    const float *dh, *dc;
    float *dh0, *dc0;
};

struct Layer {
    const Kernels* kernels;
    CellInfo cell;
    Precision precision;
    std::int64_t inputs, units, outputs, time, batch;
    const std::int64_t* lengths;
    int directions;
    Direction direction[2];
    bool reversed;  // a single direction that reads backwards; of two the second does
    Rows<const float> x;
    bool projected;          // x are rows of W x + b in slots
    Rows<float> y[2];        // each direction's columns
    Rows<const float> dy[2];  // base null for zeros
    Rows<float> dx;           // base null where not wanted
    float* tape;              // null for inference
};

// Floats of the tape of a whole layer, at most, for `rows` = sum of the lengths.
std::int64_t tape_floats(const CellInfo& cell, std::int64_t units, std::int64_t outputs, std::int64_t rows,
                         std::int64_t batch, int directions, bool masked);

// Whether the lengths fit; nothing is done where they do not. y is set at every real step and left alone elsewhere.
bool forward(const Layer& layer);
bool backward(const Layer& layer);
void pack(const Kernels& kernels, const Weights& weights, Packed& packed, bool backward);

}  // namespace gatework::recurrent
