// Blocks of memory that are used again: fresh pages cost a training step a tenth of its time.

#pragma once

#include <cstddef>

namespace gatework {

// A block of at least `bytes`, aligned to a cache line, not set to anything. Throws std::bad_alloc. Any thread may give any
// block back; a few are kept for the next `take_block`.
void* take_block(std::size_t bytes);
void give_block(void* block);

// A block for the length of a call.
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() {
        if (block_) give_block(block_);
    }
    void reserve(std::size_t bytes) {
        if (block_) give_block(block_);
        block_ = nullptr;
        block_ = take_block(bytes ? bytes : 1);
    }
    char* bytes() const { return static_cast<char*>(block_); }

private:
    void* block_ = nullptr;
};

}  // namespace gatework
