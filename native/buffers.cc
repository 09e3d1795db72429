#include "buffers.h"

#include <cstdint>
#include <mutex>
#include <new>

namespace gatework {

namespace {

constexpr std::size_t kHeader = 64;
#ifdef __SANITIZE_ADDRESS__  // each block as large as asked for and used once, so that what lies beyond is noticed
constexpr bool kExact = true;
#else
constexpr bool kExact = false;
#endif
constexpr std::size_t kMostKept = kExact ? 0 : std::size_t{1} << 29;  // bytes in all
constexpr int kMostBlocks = 64;

struct Header {
    std::size_t bytes;
};

struct Free {
    std::mutex lock;
    void* blocks[kMostBlocks];
    int count = 0;
    std::size_t bytes = 0;
};

// Never destroyed: blocks may come back while the process ends.
Free& free_blocks() {
    static Free* blocks = new Free;
    return *blocks;
}

Header* header_of(void* block) { return reinterpret_cast<Header*>(static_cast<char*>(block) - kHeader); }
void release(void* block) { ::operator delete[](static_cast<char*>(block) - kHeader, std::align_val_t{64}); }

}  // namespace

void* take_block(std::size_t bytes) {
    Free& free = free_blocks();
    {
        const std::lock_guard<std::mutex> guard(free.lock);
        int best = -1;
        for (int n = 0; n < free.count; ++n) {
            const std::size_t size = header_of(free.blocks[n])->bytes;
            // Not one four times too large: it may be wanted for what it fits.
            if (size >= bytes && size / 4 <= bytes + 4096 && (best < 0 || size < header_of(free.blocks[best])->bytes)) best = n;
        }
        if (best >= 0) {
            void* block = free.blocks[best];
            --free.count;
            for (int n = best; n < free.count; ++n) free.blocks[n] = free.blocks[n + 1];
            free.bytes -= header_of(block)->bytes;
            return block;
        }
    }
    const std::size_t rounded = kExact ? bytes : (bytes + bytes / 8 + 63) / 64 * 64;  // the next batch may be larger
    char* block = static_cast<char*>(::operator new[](rounded + kHeader, std::align_val_t{64})) + kHeader;
    header_of(block)->bytes = rounded;
    return block;
}

// The oldest blocks make room: what was used last will be wanted again.
void give_block(void* block) {
    Free& free = free_blocks();
    void* released[kMostBlocks + 1];
    int gone = 0;
    const std::size_t bytes = header_of(block)->bytes;
    {
        const std::lock_guard<std::mutex> guard(free.lock);
        while (free.count > 0 && (free.count == kMostBlocks || free.bytes + bytes > kMostKept)) {
            released[gone++] = free.blocks[0];
            free.bytes -= header_of(free.blocks[0])->bytes;
            for (int n = 1; n < free.count; ++n) free.blocks[n - 1] = free.blocks[n];
            --free.count;
        }
        if (bytes <= kMostKept) {
            free.blocks[free.count++] = block;
            free.bytes += bytes;
        } else {
            released[gone++] = block;
        }
    }
    for (int n = 0; n < gone; ++n) release(released[n]);
}

}  // namespace gatework
