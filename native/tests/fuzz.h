// What the fuzz drivers of the operations share: random numbers, buffers with nothing around them, and complaints.

#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace gatework::fuzz {

// xorshift64*: the same on every system.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
    std::uint64_t bits() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545F4914F6CDD1Du;
    }
    std::int64_t below(std::int64_t n) { return (std::int64_t)((bits() >> 11) % (std::uint64_t)n); }
    bool chance(double p) { return unit() < p; }
    double unit() { return (double)(bits() >> 11) * 0x1p-53; }  // [0, 1)
    float around(float scale) { return scale * (float)(2 * unit() - 1); }
    std::vector<float> floats(std::size_t n, float scale) {
        std::vector<float> values(n);
        for (float& value : values) value = around(scale);
        return values;
    }
    // Sizes that tend to be wrong: 1, around the widths of vectors, and anything up to `most`.
    std::int64_t size(std::int64_t most) {
        static constexpr std::int64_t odd[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65, 129};
        const std::int64_t n = chance(0.7) ? odd[below(sizeof odd / sizeof *odd)] : 1 + below(most);
        return n <= most ? n : 1 + below(most);
    }
    // Lengths of `batch` sequences, 0 to `time`.
    std::vector<std::int64_t> lengths(std::int64_t batch, std::int64_t time) {
        std::vector<std::int64_t> all((std::size_t)batch);
        const bool equal = chance(0.1);
        for (std::int64_t& one : all) one = equal ? time : chance(0.2) ? 0 : below(time + 1);
        return all;
    }

private:
    std::uint64_t state_;
};

// Says what is wrong, and ends the program.
[[noreturn]] inline void fail(const char* format, ...) {
    std::va_list arguments;
    va_start(arguments, format);
    std::fputs("fuzz: FAILED: ", stderr);
    std::vfprintf(stderr, format, arguments);
    std::fputc('\n', stderr);
    std::exit(1);
}

// One operation: `rounds` random cases from `seed` on. Fails the program, or returns a line to print.
using Operation = void (*)(std::int64_t rounds, std::uint64_t seed);
void threads(std::int64_t rounds, std::uint64_t seed);
void crf(std::int64_t rounds, std::uint64_t seed);
void generate(std::int64_t rounds, std::uint64_t seed);
void recurrent(std::int64_t rounds, std::uint64_t seed);
void decode(std::int64_t rounds, std::uint64_t seed);

}  // namespace gatework::fuzz
