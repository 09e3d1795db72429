// Sorts a ragged batch by falling length (a counting sort: lengths are small integers).

#include "recurrent/recurrent.h"

namespace gatework::recurrent {

std::int64_t make_schedule(
    const std::int64_t* lengths, std::int64_t batch, std::int64_t time, std::int64_t* order, std::int64_t* sorted,
    std::int64_t* running, std::int64_t* cursor) {
    std::int64_t longest = 0;
    for (std::int64_t s = 0; s <= time; ++s) cursor[s] = 0;
    for (std::int64_t b = 0; b < batch; ++b) {
        if (lengths[b] < 0 || lengths[b] > time) return -1;
        if (lengths[b] > longest) longest = lengths[b];
        ++cursor[lengths[b]];
    }
    // Going down: how many are longer than s. That is both who runs at step s and where length s begins.
    std::int64_t longer = 0;
    for (std::int64_t s = longest; s >= 0; --s) {
        const std::int64_t here = cursor[s];
        cursor[s] = longer;
        if (s < longest) running[s] = longer;
        longer += here;
    }
    for (std::int64_t b = 0; b < batch; ++b) {
        const std::int64_t place = cursor[lengths[b]]++;
        order[place] = b;
        sorted[place] = lengths[b];
    }
    return longest;
}

}  // namespace gatework::recurrent
