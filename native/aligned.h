// A buffer of floats aligned to a cache line, for weights and scratch.

#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace gatework {

struct AlignedDelete {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using AlignedFloats = std::unique_ptr<float[], AlignedDelete>;

// `count` floats, not set to anything. Throws std::bad_alloc.
inline AlignedFloats aligned_floats(std::size_t count) {
    return AlignedFloats(static_cast<float*>(::operator new[](count * sizeof(float), std::align_val_t{64})));
}

}  // namespace gatework
