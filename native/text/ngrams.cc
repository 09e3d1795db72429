// The kept n-grams of a text: the search of gatework/text/ngrams.py, whose head has the equations, in one call.

#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "view.h"

namespace nb = nanobind;

namespace gatework::text {
namespace {

constexpr std::uint64_t kP = 0x9E3779B97F4A7C15u, kQ = 0xD6E8FEB86659FD93u;

// keys: uint64 (T), those of the tokens; kept: uint32 (R), sorted. rows: int32, room for every n-gram, gets each row once,
// rising; local: int32 (T, n - 1). Returns the number of rows.
std::int64_t find(nb::handle keys, nb::handle kept, int n, nb::handle rows, nb::handle local) {
    const View key_view(keys, 'Q', false), kept_view(kept, 'I', false);
    View row_view(rows, 'i', true), local_view(local, 'i', true);
    const std::int64_t T = key_view.shape(0), R = kept_view.shape(0), M = n - 1;
    require(n >= 1 && n <= 16 && key_view.ndim() == 1 && key_view.contiguous() && kept_view.ndim() == 1 && kept_view.contiguous() &&
                row_view.ndim() == 1 && row_view.contiguous() && row_view.shape(0) >= T * n && local_view.ndim() == 2 &&
                local_view.contiguous() && local_view.shape(0) == T && local_view.shape(1) == M,
            "arrays have the wrong shapes");
    const std::uint64_t* key = static_cast<const std::uint64_t*>(key_view.data());
    const std::uint32_t* first = static_cast<const std::uint32_t*>(kept_view.data());
    std::int32_t* found = static_cast<std::int32_t*>(row_view.data());
    std::int32_t* place = static_cast<std::int32_t*>(local_view.data());
    std::fill(place, place + T * M, 0);
    std::int64_t count = 0;
    // Keys are spread evenly: a guess, then bisection around it.
    const auto row_of = [&](std::uint32_t wanted) -> std::int64_t {
        std::int64_t low = 0, high = R;
        const std::int64_t guess = (std::int64_t)(((std::uint64_t)wanted * (std::uint64_t)R) >> 32);
        for (std::int64_t step = 64; step < R; step *= 8) {
            const std::int64_t left = guess - step, right = guess + step;
            const bool above = left <= 0 || first[left] <= wanted, below = right >= R || first[right] > wanted;
            if (above && left > low) low = left;
            if (below && right < high) high = right;
            if (above && below) break;
        }
        const std::uint32_t* at = std::lower_bound(first + low, first + high, wanted);
        return at != first + R && *at == wanted ? at - first : -1;
    };
    for (std::int64_t t = 0; t < T && R > 0; ++t) {
        std::uint64_t sum = key[t];
        const std::int64_t single = row_of((std::uint32_t)sum);
        if (single >= 0) found[count++] = (std::int32_t)single;
        for (std::int64_t length = 2; length <= n && t + length <= T; ++length) {
            const std::int64_t end = t + length - 1;
            sum = sum * kP + key[end];
            const std::int64_t row = row_of((std::uint32_t)(((sum ^ (sum >> 29)) * kQ) >> 32));
            if (row < 0) continue;
            found[count++] = (std::int32_t)row;
            place[end * M + length - 2] = (std::int32_t)row + 1;
        }
    }
    std::sort(found, found + count);
    return std::unique(found, found + count) - found;
}

}  // namespace

void bind(nb::module_& parent) {
    nb::module_ module = parent.def_submodule("text");
    module.def("find", &find);
}

}  // namespace gatework::text
