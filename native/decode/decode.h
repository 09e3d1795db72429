// Targets searched for or drawn, for many sources: steps of a writer, attention, and beams without Python between tokens.
// The definitions are kernels/decoding_recurrent.py, decoding_transformer.py and decoding_definition.py; both find the same
// targets but where probabilities agree to the last bits.
// In an ensemble the definition is kernels/decoding_ensemble.py.
//
// S places of a source, P memory, K keys, V outputs, E embedding, H units. Row-major float32; nothing is written to.
// Sources are shared out among threads; a target's bits do not depend on how.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "decode/transformer_parts.h"
#include "generate/automaton.h"
#include "generate/sampler.h"
#include "recurrent/recurrent.h"

namespace gatework::decode {

inline constexpr std::int32_t kEnd = 2;  // id of the end, which is read before the first token

struct Weights {
    const recurrent::Packed* packed = nullptr;
    const recurrent::Kernels* kernels = nullptr;
};

enum class Attention { none, product, additive, heads };

class Head;
class Rows;

using Heads = std::vector<std::unique_ptr<Head>>;

// What every writer has.
struct Network {
    virtual ~Network() = default;
    // Rows for one thread, at most so many, of sources of at most so many places.
    virtual std::unique_ptr<Rows> rows(std::int64_t most, std::int64_t places) const = 0;
    // Widths of a layer's state that sources begin with, h and c; c 0 where a cell has none.
    struct Widths {
        std::int64_t h, c;
    };
    virtual std::vector<Widths> states() const = 0;
    // Adds to `heads` what some rising ids leave of the head; of an ensemble, of each member's.
    virtual void shorten(const std::vector<std::int32_t>& ids, Heads& heads) const;

    const float* embedding = nullptr;  // (V, E)
    Attention attention = Attention::none;
    Weights head;                 // (V, E)
    const float* copy = nullptr;  // (P + H + E) over (c, h, x), or null
    float copy_bias = 0.0f;
    std::int64_t outputs = 0, embedding_width = 0, units = 0, memory = 0, keys = 0;
};

struct RecurrentNetwork final : Network {
    std::unique_ptr<Rows> rows(std::int64_t most, std::int64_t places) const override;
    std::vector<Widths> states() const override;

    std::vector<Weights> layers;
    const float* table = nullptr;  // rows of W x + b of layer 0 for each id, in its slots; null: it multiplies
    Weights query;                                       // additive: (K, H)
    const float *vector = nullptr, *coverage = nullptr;  // additive: (K); coverage may be null
    Weights output;                                      // (E, H + P)
    bool input_feeding = false;
};

// The weights of a layer of a transformer, by the names of core/transformer.py; H is E, K is 2 E for each layer.
struct TransformerLayer {
    Norm self_norm, source_norm, inner_norm;
    Weights self, self_output, source_query, source_output, inner, inner_output;
};

struct TransformerNetwork final : Network {
    std::unique_ptr<Rows> rows(std::int64_t most, std::int64_t places) const override;
    std::vector<Widths> states() const override { return {}; }

    std::vector<TransformerLayer> layers;
    Norm norm;
    Positions positions;
    std::int64_t heads = 0;
    float epsilon = 0.0f;
};

// Members over one vocabulary, whose mean probabilities decide. Of `Network` it has the outputs, and attention where a
// member looks.
struct EnsembleNetwork final : Network {
    std::unique_ptr<Rows> rows(std::int64_t most, std::int64_t places) const override;
    std::vector<Widths> states() const override { return {}; }
    void shorten(const std::vector<std::int32_t>& ids, Heads& heads) const override;

    std::vector<const Network*> members;
};

struct Source {
    const float *m, *keys, *summary;  // (S, P), (S, K), (P)
    const std::int32_t* ids;          // (S): for copying
    std::vector<std::int32_t> first;  // (S): the first place with the same token; for copying
    std::int64_t places;
    std::vector<const float*> h, c;  // of each layer before the first step; c null where a cell has none
    std::int64_t limit;              // most tokens of its target
    std::vector<std::int32_t> prefix;
    std::int32_t state = 0;  // of the automaton, after the prefix
    std::uint64_t seed = 0;
    std::vector<std::int32_t> only;  // rising ids that may come, the end among them; empty for all
    std::vector<Source> members;     // of an ensemble: m, keys, summary, h, c, and what copying needs, for each member
};

struct Search {
    std::int64_t beams = 1, count = 1;
    double length_penalty = 1.0, gnmt = 0.0, coverage_penalty = 0.0;
    std::int64_t min_tokens = 0, no_repeat = 0;
    std::vector<std::int32_t> never;
    generate::Automaton* automaton = nullptr;
    bool grid = false;  // beams for each bank of states of the automaton
    bool draws = false;
    generate::Settings settings;  // of draws

    double penalty(std::int64_t tokens) const;
    // Banks of a source that begins in a state, and that of a state: see kernels/decoding.py.
    std::int64_t banks(std::int32_t start) const;
    std::int64_t bank(std::int32_t start, std::int32_t state) const;
};

struct Found {
    std::vector<std::int32_t> ids;
    double log_p, score;
    std::vector<float> attention;  // (tokens with the end, S); empty without attention
    bool ended;                    // else cut at the limit
};

// What is found for each source, best first.
std::vector<std::vector<Found>> decode(const Network& network, const std::vector<Source>& sources, const Search& search);

}  // namespace gatework::decode
