// A deterministic automaton over bytes, lifted to tokens: in each state the tokens that may come, and where each leads.
//
// A token moves the automaton by its bytes, one after the other. Tokens share prefixes, so a walk over their trie finds
// all that survive; it is done once a state and kept. Where tokens are `spaced`, the blank they begin with is dropped at
// the beginning of a text and after a line feed: states there are numbered S + s beside s.
//
// The definition is kernels/automaton.py.

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace gatework::generate {

inline constexpr std::int32_t kDead = -1, kFar = 0x7FFFFFFF;

struct Dfa {
    const std::int32_t* table = nullptr;  // (S, columns): the next state, or kDead
    const std::uint8_t* classes = nullptr;  // (256): column of each byte
    const std::uint8_t* accept = nullptr;   // (S)
    std::int32_t states = 0, columns = 0;

    std::int32_t step(std::int32_t state, std::uint8_t byte) const { return table[(std::int64_t)state * columns + classes[byte]]; }
};

// What the tokens write: bytes [offset[v], offset[v + 1]) of token v.
struct Pieces {
    const std::uint8_t* bytes = nullptr;
    const std::int64_t* offsets = nullptr;
    std::int32_t count = 0;
    bool spaced = false;

    const std::uint8_t* begin(std::int32_t token) const { return bytes + offsets[token]; }
    const std::uint8_t* end(std::int32_t token) const { return bytes + offsets[token + 1]; }
    bool feeds(std::int32_t token) const { return spaced && end(token) - begin(token) == 1 && *begin(token) == '\n'; }
};

// Nodes in the order of a walk that goes down first; a token without bytes, or with too many, is in none.
struct Trie {
    static constexpr std::int64_t kLongest = 1024;  // bytes of a token
    struct Node {
        std::uint8_t byte;
        std::int32_t depth;  // from 0
        std::int32_t after;  // first node that is not below this one
        std::int32_t first, last;  // tokens that end here, in `tokens`
    };
    std::vector<Node> nodes;
    std::vector<std::int32_t> tokens;
    std::int32_t depth = 0;

    explicit Trie(const Pieces& pieces);
};

struct Row {
    std::vector<std::int32_t> tokens, next;  // rising tokens
};

// Any threads may share it.
class Automaton {
public:
    // What `dfa`, `pieces` and `trie` point to must stay.
    Automaton(const Dfa& dfa, const Pieces& pieces, const Trie& trie);

    std::int32_t states() const { return dfa_.states * (pieces_.spaced ? 2 : 1); }
    std::int32_t start() const { return pieces_.spaced ? dfa_.states : 0; }
    bool accepts(std::int32_t state) const { return dfa_.accept[state % dfa_.states] != 0; }
    // Fewest tokens from a state to one that accepts; kFar where there is no way.
    std::int32_t distance(std::int32_t state) const { return distance_[(std::size_t)state]; }
    // Counts the ways of up to `most` tokens; needed before `within` is asked with a `fewest` above 0.
    void count_ways(std::int32_t most);
    // Whether some number of tokens from `fewest` to `most` leads from a state to one that accepts.
    bool within(std::int32_t state, std::int64_t fewest, std::int64_t most) const;
    bool always_within(std::int64_t fewest, std::int64_t most) const { return fewest <= 0 && most >= farthest_; }
    // Tokens after which an accepting state can still be reached.
    std::shared_ptr<const Row> row(std::int32_t state);

private:
    static constexpr std::int64_t kKept = 32 << 20;  // tokens of rows that are kept

    Row lift(std::int32_t state) const;
    void measure();

    Dfa dfa_;
    Pieces pieces_;
    const Trie& trie_;
    std::vector<std::int32_t> distance_;
    std::vector<std::int64_t> edge_from_;  // edges of state s: [edge_from_[s], edge_from_[s + 1])
    std::vector<std::int32_t> edges_;
    std::int64_t farthest_ = 0;
    std::int32_t counted_ = -1;
    std::vector<std::int32_t> ways_;  // (counted + 2, states): how many lengths below k lead to an accepting state
    std::mutex lock_;
    std::vector<std::shared_ptr<const Row>> rows_;
    std::int64_t kept_ = 0;
};

}  // namespace gatework::generate
