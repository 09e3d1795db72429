// Sorts a ragged batch by falling length (a counting sort: lengths are small integers) and deals it out to shards.

#include "recurrent/engine.h"

namespace gatework::recurrent {

std::int64_t sort_lengths(const std::int64_t* lengths, std::int64_t batch, std::int64_t time, std::vector<std::int64_t>& order) {
    std::int64_t longest = 0;
    std::vector<std::int64_t> first((std::size_t)time + 1, 0);
    for (std::int64_t b = 0; b < batch; ++b) {
        if (lengths[b] < 0 || lengths[b] > time) return -1;
        longest = lengths[b] > longest ? lengths[b] : longest;
        ++first[(std::size_t)lengths[b]];
    }
    std::int64_t longer = 0;
    for (std::int64_t length = longest; length >= 0; --length) {
        const std::int64_t here = first[(std::size_t)length];
        first[(std::size_t)length] = longer;
        longer += here;
    }
    order.resize((std::size_t)batch);
    for (std::int64_t b = 0; b < batch; ++b) order[(std::size_t)first[(std::size_t)lengths[b]]++] = b;
    return longest;
}

Shard::Shard(const std::int64_t* all_lengths, const std::vector<std::int64_t>& sorted, int shard, int shards, bool reverse) {
    for (std::size_t place = (std::size_t)shard; place < sorted.size(); place += (std::size_t)shards) {
        order_.push_back(sorted[place]);
        lengths_.push_back(all_lengths[sorted[place]]);
    }
    const std::int64_t steps = lengths_.empty() ? 0 : lengths_.front();
    running_.resize((std::size_t)steps);
    first_row_.resize((std::size_t)steps + 1);
    std::int64_t count = (std::int64_t)lengths_.size(), rows = 0;
    for (std::int64_t s = 0; s < steps; ++s) {
        while (lengths_[(std::size_t)count - 1] <= s) --count;
        running_[(std::size_t)s] = count;
        first_row_[(std::size_t)s] = rows;
        rows += count;
    }
    first_row_[(std::size_t)steps] = rows;
    schedule_ = {(std::int64_t)order_.size(), steps, rows, order_.data(), lengths_.data(), running_.data(), first_row_.data(), reverse};
}

}  // namespace gatework::recurrent
