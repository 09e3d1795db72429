#include "generate/automaton.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <numeric>
#include <stdexcept>

namespace gatework::generate {

namespace {

// Sorted tokens [low, high) share their first `depth` bytes, which are the node `at`'s and those above it.
void grow(Trie& trie, const Pieces& pieces, const std::vector<std::int32_t>& sorted, std::size_t low, std::size_t high,
          std::int32_t depth) {
    trie.depth = std::max(trie.depth, depth);
    while (low < high) {
        const std::uint8_t byte = pieces.begin(sorted[low])[depth];
        std::size_t end = low;
        while (end < high && pieces.begin(sorted[end])[depth] == byte) ++end;
        const std::size_t at = trie.nodes.size();
        const auto first = (std::int32_t)trie.tokens.size();
        std::size_t longer = low;
        for (; longer < end && pieces.end(sorted[longer]) - pieces.begin(sorted[longer]) == depth + 1; ++longer)
            trie.tokens.push_back(sorted[longer]);
        trie.nodes.push_back({byte, depth, 0, first, (std::int32_t)trie.tokens.size()});
        grow(trie, pieces, sorted, longer, end, depth + 1);
        trie.nodes[at].after = (std::int32_t)trie.nodes.size();
        low = end;
    }
}

}  // namespace

Trie::Trie(const Pieces& pieces) {
    std::vector<std::int32_t> sorted;
    for (std::int32_t token = 0; token < pieces.count; ++token) {
        const std::int64_t length = pieces.end(token) - pieces.begin(token);
        if (length > 0 && length <= kLongest) sorted.push_back(token);
    }
    std::sort(sorted.begin(), sorted.end(), [&](std::int32_t a, std::int32_t b) {
        return std::lexicographical_compare(pieces.begin(a), pieces.end(a), pieces.begin(b), pieces.end(b));
    });
    grow(*this, pieces, sorted, 0, sorted.size(), 0);
}

Automaton::Automaton(const Dfa& dfa, const Pieces& pieces, const Trie& trie) : dfa_(dfa), pieces_(pieces), trie_(trie) {
    rows_.resize((std::size_t)states());
    measure();
}

Row Automaton::lift(std::int32_t state) const {
    const bool fresh = state >= dfa_.states;
    std::vector<std::int32_t> at((std::size_t)trie_.depth + 2);
    std::vector<std::pair<std::int32_t, std::int32_t>> found;
    at[0] = state % dfa_.states;
    for (std::int32_t n = 0; n < (std::int32_t)trie_.nodes.size();) {
        const Trie::Node& node = trie_.nodes[(std::size_t)n];
        const bool dropped = fresh && node.depth == 0 && node.byte == ' ';
        const std::int32_t before = at[(std::size_t)node.depth], next = dropped ? before : dfa_.step(before, node.byte);
        if (next == kDead) {
            n = node.after;
            continue;
        }
        at[(std::size_t)node.depth + 1] = next;
        for (std::int32_t k = node.first; k < node.last; ++k) {
            const std::int32_t token = trie_.tokens[(std::size_t)k];
            found.emplace_back(token, pieces_.feeds(token) ? next + dfa_.states : next);
        }
        ++n;
    }
    std::sort(found.begin(), found.end());
    Row row;
    for (const auto& [token, next] : found) {
        row.tokens.push_back(token);
        row.next.push_back(next);
    }
    return row;
}

// Which states lead where, from the start on, and how far it is from each to an accepting one.
void Automaton::measure() {
    const auto count = (std::size_t)states();
    std::vector<std::vector<std::int32_t>> leads(count), comes(count);
    std::vector<std::int32_t> seen(count, 0), stamp(count, -1);
    std::deque<std::int32_t> waiting{start()};
    seen[(std::size_t)start()] = 1;
    while (!waiting.empty()) {
        const std::int32_t state = waiting.front();
        waiting.pop_front();
        for (const std::int32_t next : lift(state).next) {
            if (stamp[(std::size_t)next] == state) continue;
            stamp[(std::size_t)next] = state;
            leads[(std::size_t)state].push_back(next);
            comes[(std::size_t)next].push_back(state);
            if (!seen[(std::size_t)next]) {
                seen[(std::size_t)next] = 1;
                waiting.push_back(next);
            }
        }
    }
    distance_.assign(count, kFar);
    for (std::int32_t state = 0; state < (std::int32_t)count; ++state)
        if (seen[(std::size_t)state] && accepts(state)) {
            distance_[(std::size_t)state] = 0;
            waiting.push_back(state);
        }
    while (!waiting.empty()) {
        const std::int32_t state = waiting.front();
        waiting.pop_front();
        farthest_ = distance_[(std::size_t)state];
        for (const std::int32_t before : comes[(std::size_t)state])
            if (distance_[(std::size_t)before] == kFar) {
                distance_[(std::size_t)before] = distance_[(std::size_t)state] + 1;
                waiting.push_back(before);
            }
    }
    edge_from_.assign(count + 1, 0);
    for (std::size_t state = 0; state < count; ++state) {
        for (const std::int32_t next : leads[state])
            if (distance_[(std::size_t)next] != kFar) edges_.push_back(next);
        edge_from_[state + 1] = (std::int64_t)edges_.size();
    }
}

void Automaton::count_ways(std::int32_t most) {
    const std::lock_guard<std::mutex> hold(lock_);
    if (most <= counted_) return;
    if (counted_ >= 0) throw std::logic_error("ways are counted already");  // readers take no lock
    const auto count = (std::size_t)states();
    std::vector<std::uint8_t> now(count), longer(count);
    for (std::size_t state = 0; state < count; ++state) now[state] = distance_[state] == 0;
    ways_.assign(((std::size_t)most + 2) * count, 0);
    for (std::size_t k = 0; k <= (std::size_t)most; ++k) {
        for (std::size_t state = 0; state < count; ++state) {
            ways_[(k + 1) * count + state] = ways_[k * count + state] + now[state];
            longer[state] = 0;
            for (std::int64_t e = edge_from_[state]; e < edge_from_[state + 1] && !longer[state]; ++e)
                longer[state] = now[(std::size_t)edges_[(std::size_t)e]];
        }
        now.swap(longer);
    }
    counted_ = most;
}

bool Automaton::within(std::int32_t state, std::int64_t fewest, std::int64_t most) const {
    if (most < 0 || fewest > most) return false;
    if (fewest <= 0) return distance(state) <= most;
    const auto count = (std::size_t)states(), high = (std::size_t)std::min<std::int64_t>(most, counted_);
    if (fewest > (std::int64_t)high) return false;
    return ways_[(high + 1) * count + (std::size_t)state] > ways_[(std::size_t)fewest * count + (std::size_t)state];
}

std::shared_ptr<const Row> Automaton::row(std::int32_t state) {
    const std::lock_guard<std::mutex> hold(lock_);
    std::shared_ptr<const Row>& kept = rows_[(std::size_t)state];
    if (kept) return kept;
    auto made = std::make_shared<Row>();
    const Row all = lift(state);
    for (std::size_t k = 0; k < all.tokens.size(); ++k)
        if (distance(all.next[k]) != kFar) {
            made->tokens.push_back(all.tokens[k]);
            made->next.push_back(all.next[k]);
        }
    if (kept_ + (std::int64_t)made->tokens.size() > kKept) {
        std::fill(rows_.begin(), rows_.end(), nullptr);
        kept_ = 0;
    }
    kept_ += (std::int64_t)made->tokens.size();
    kept = std::move(made);
    return kept;
}

}  // namespace gatework::generate
