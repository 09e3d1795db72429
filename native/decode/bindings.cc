// The Python face of decoding: checks, and arrays as pointers. No arithmetic.

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <vector>

#include "decode/decode.h"
#include "decode/transformer_encoder.h"
#include "generate/bindings.h"
#include "recurrent/bindings.h"
#include "view.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gatework::decode {
namespace {

using recurrent::PackedLayer;

Weights weights_of(nb::handle packed) {
    const PackedLayer layer = recurrent::packed_layer(packed);
    return {layer.packed, layer.kernels};
}

using Shape = std::initializer_list<std::int64_t>;

// What every writer has; its layers are known already.
void common(Network& n, nb::dict given, Views& views) {
    n.outputs = n.head.packed->units;
    require(n.outputs > kEnd && n.memory > 0 && n.head.packed->inputs == n.embedding_width, "the head does not fit");
    n.embedding = views.floats(given["embedding"], Shape{n.outputs, n.embedding_width}, false);
    if (!given["copy"].is_none()) {
        require(n.attention != Attention::none, "copying without attention");
        n.copy = views.floats(given["copy"], Shape{n.memory + n.units + n.embedding_width}, false);
        n.copy_bias = nb::cast<float>(given["copy_bias"]);
    }
}

// See kernels/decoding_recurrent.py for what the dictionary holds.
std::unique_ptr<Network> recurrent_network(nb::dict given, Views& views) {
    auto made = std::make_unique<RecurrentNetwork>();
    RecurrentNetwork& n = *made;
    for (nb::handle one : nb::cast<nb::list>(given["layers"])) n.layers.push_back(weights_of(one));
    require(!n.layers.empty(), "no layers");
    n.head = weights_of(given["head"]);
    n.output = weights_of(given["output"]);
    n.embedding_width = n.output.packed->units;
    n.units = n.layers[0].packed->outputs;
    n.memory = n.output.packed->inputs - n.units;
    n.input_feeding = nb::cast<bool>(given["input_feeding"]);
    const std::int64_t read = n.embedding_width * (n.input_feeding ? 2 : 1);
    for (std::size_t k = 0; k < n.layers.size(); ++k)
        require(n.layers[k].packed->inputs == (k ? n.units + n.memory : read) && n.layers[k].packed->outputs == n.units,
                "layers do not fit each other");
    n.keys = nb::cast<std::int64_t>(given["keys"]);
    if (!given["query"].is_none()) {
        n.attention = Attention::additive;
        n.query = weights_of(given["query"]);
        require(n.query.packed->units == n.keys && n.query.packed->inputs == n.units, "the query does not fit");
        n.vector = views.floats(given["vector"], Shape{n.keys}, false);
        if (!given["coverage"].is_none()) n.coverage = views.floats(given["coverage"], Shape{n.keys}, false);
    } else if (n.keys > 0) {
        n.attention = Attention::product;
        require(n.keys == n.units, "keys do not fit the query");
    }
    common(n, given, views);
    if (!given["table"].is_none()) {
        require(!n.input_feeding, "a table beside what is fed back");
        const recurrent::Packed& first = *n.layers[0].packed;
        n.table = views.floats(given["table"], Shape{n.outputs, first.cell.w_slots * recurrent::padded(first.units)}, false);
    }
    return made;
}

Norm norm_of(nb::handle pair, std::int64_t width, Views& views) {
    const nb::tuple own = nb::cast<nb::tuple>(pair);
    return {views.floats(own[0], Shape{width}, false), views.floats(own[1], Shape{width}, false)};
}

Weights product_of(nb::handle packed, std::int64_t inputs, std::int64_t units) {
    const Weights own = weights_of(packed);
    require(own.packed->inputs == inputs && own.packed->units == units, "a product does not fit");
    return own;
}

// See kernels/decoding_transformer.py for what the dictionary holds.
std::unique_ptr<Network> transformer_network(nb::dict given, Views& views) {
    auto made = std::make_unique<TransformerNetwork>();
    TransformerNetwork& n = *made;
    n.head = weights_of(given["head"]);
    n.attention = Attention::heads;
    n.embedding_width = n.units = n.head.packed->inputs;
    n.memory = nb::cast<std::int64_t>(given["memory"]);
    n.heads = nb::cast<std::int64_t>(given["heads"]);
    n.epsilon = nb::cast<float>(given["epsilon"]);
    const std::int64_t E = n.units;
    require(n.heads >= 1 && E % n.heads == 0 && E % 2 == 0, "the heads do not fit");
    n.positions = Positions(E);
    const auto norm = [&](nb::handle pair) { return norm_of(pair, E, views); };
    for (nb::handle one : nb::cast<nb::list>(given["layers"])) {
        const nb::dict own = nb::cast<nb::dict>(one);
        const Weights inner = weights_of(own["inner"]);
        const std::int64_t wide = inner.packed->units;
        n.layers.push_back({norm(own["self_norm"]), norm(own["source_norm"]), norm(own["inner_norm"]),
                            product_of(own["self_"], E, 3 * E), product_of(own["self_output"], E, E),
                            product_of(own["source_query"], E, E), product_of(own["source_output"], E, E),
                            product_of(own["inner"], E, wide), product_of(own["inner_output"], wide, E)});
    }
    require(!n.layers.empty(), "no layers");
    n.norm = norm(given["norm"]);
    n.keys = (std::int64_t)n.layers.size() * 2 * E;
    common(n, given, views);
    return made;
}

class Decoder;
std::unique_ptr<Network> ensemble_network(nb::dict given);

class Decoder {
public:
    explicit Decoder(nb::dict given)
        : owner_(given), made_(given.contains("members") ? ensemble_network(given)
                               : given.contains("heads") ? transformer_network(given, views_)
                                                         : recurrent_network(given, views_)),
          network_(*made_) {}
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    const Network& network() const { return network_; }

    // For each source a list of (ids, log p, score, attention or None, whether it ended), ids int32 and attention float32.
    nb::list run(nb::dict given) const {
        Views views;
        const Network& n = network_;
        const Search search = search_of(given);
        const std::vector<Source> sources = sources_of(given, views, search);
        std::vector<std::vector<Found>> found;
        {
            nb::gil_scoped_release release;
            found = decode(n, sources, search);
        }
        nb::list all;
        for (const auto& own : found) {
            nb::list some;
            for (const Found& one : own) {
                nb::object attention = nb::none();
                if (n.attention != Attention::none) attention = nb::bytes(one.attention.data(), one.attention.size() * sizeof(float));
                some.append(nb::make_tuple(nb::bytes(one.ids.data(), one.ids.size() * sizeof(std::int32_t)), one.log_p, one.score,
                                           attention, one.ended));
            }
            all.append(some);
        }
        return all;
    }

private:
    Search search_of(nb::dict given) const {
        Search search;
        search.beams = nb::cast<std::int64_t>(given["beams"]);
        search.count = nb::cast<std::int64_t>(given["count"]);
        require(search.beams >= 1 && search.count >= 1 && search.beams < 1 << 20 && search.count < 1 << 20, "beams or count is out of range");
        search.length_penalty = nb::cast<double>(given["length_penalty"]);
        search.gnmt = nb::cast<double>(given["gnmt"]);
        search.coverage_penalty = nb::cast<double>(given["coverage_penalty"]);
        search.min_tokens = nb::cast<std::int64_t>(given["min_tokens"]);
        search.no_repeat = nb::cast<std::int64_t>(given["no_repeat"]);
        search.never = nb::cast<std::vector<std::int32_t>>(given["never"]);
        for (const std::int32_t token : search.never) require(token >= 0 && token < network_.outputs, "a token is out of range");
        if (!given["automaton"].is_none()) search.automaton = &generate::token_automaton(given["automaton"]);
        search.grid = nb::cast<bool>(given["grid"]);
        require(!search.grid || search.automaton, "a grid without an automaton");
        search.draws = nb::cast<bool>(given["draws"]);
        if (search.draws) {
            require(search.beams == 1 && !search.grid, "draws have one beam");
            search.settings.temperature = nb::cast<double>(given["temperature"]);
            search.settings.top_k = nb::cast<std::int64_t>(given["top_k"]);
            search.settings.top_p = nb::cast<double>(given["top_p"]);
            search.settings.min_p = nb::cast<double>(given["min_p"]);
            search.settings.repetition_penalty = nb::cast<double>(given["repetition_penalty"]);
            search.settings.exempt = nb::cast<std::int32_t>(given["exempt"]);
        }
        return search;
    }

    std::vector<Source> sources_of(nb::dict given, Views& views, const Search& search) const {
        const Network& n = network_;
        const View &offsets = views.add(given["offsets"], 'l', false), &limits = views.add(given["limits"], 'l', false);
        const View &states = views.add(given["states"], 'i', false), &seeds = views.add(given["seeds"], 'Q', false);
        const View& ids = views.add(given["ids"], 'i', false);
        require(offsets.ndim() == 1 && offsets.contiguous() && offsets.shape(0) > 0, "offsets are not contiguous");
        const std::int64_t batch = offsets.shape(0) - 1;
        const auto* place = static_cast<const std::int64_t*>(offsets.data());
        const auto column = [&](const View& view, std::int64_t rows) {
            require(view.ndim() == 1 && view.contiguous() && view.shape(0) == rows, "an array has the wrong length");
            return view.data();
        };
        require(place[0] == 0, "offsets do not begin");
        for (std::int64_t b = 0; b < batch; ++b) require(place[b] < place[b + 1], "a source is empty");
        const auto* limit = static_cast<const std::int64_t*>(column(limits, batch));
        const auto* state = static_cast<const std::int32_t*>(column(states, batch));
        const auto* seed = static_cast<const std::uint64_t*>(column(seeds, batch));
        const auto* token = static_cast<const std::int32_t*>(column(ids, place[batch]));
        const auto prefixes = nb::cast<std::vector<std::vector<std::int32_t>>>(given["prefixes"]);
        require((std::int64_t)prefixes.size() == batch, "prefixes do not fit");
        const View &starts = views.add(given["only_starts"], 'l', false), &listed = views.add(given["only"], 'i', false);
        const auto* start = static_cast<const std::int64_t*>(column(starts, batch + 1));
        require(listed.ndim() == 1 && listed.shape(0) == start[batch], "lists of tokens do not fit");
        const auto* only = static_cast<const std::int32_t*>(column(listed, start[batch]));
        std::vector<Source> sources((std::size_t)batch);
        for (std::int64_t b = 0; b < batch; ++b) {
            Source& own = sources[(std::size_t)b];
            own.places = place[b + 1] - place[b];
            own.ids = token + place[b];
            require(0 <= start[b] && start[b] <= start[b + 1] && start[b + 1] <= start[batch], "lists of tokens do not fit");
            own.only.assign(only + start[b], only + start[b + 1]);
            check_list(own.only);
            own.limit = limit[b];
            require(own.limit >= 1, "a limit is below 1");
            own.prefix = prefixes[(std::size_t)b];
            for (const std::int32_t one : own.prefix)
                require(one > 0 && one != kEnd && one < n.outputs, "a prefix has an id that cannot come");
            own.state = state[b];
            require(!search.automaton || (own.state >= 0 && own.state < search.automaton->states()), "no such state");
            own.seed = seed[b];
        }
        const nb::list memories = nb::cast<nb::list>(given["memories"]);
        const auto* ensemble = dynamic_cast<const EnsembleNetwork*>(&n);
        require(nb::len(memories) == (ensemble ? ensemble->members.size() : 1), "memories do not fit the members");
        if (!ensemble) {
            read_memory(n, nb::cast<nb::dict>(memories[0]), place, views, sources);
            return sources;
        }
        for (std::size_t m = 0; m < ensemble->members.size(); ++m) {
            std::vector<Source> own((std::size_t)batch);
            for (std::size_t b = 0; b < own.size(); ++b) {
                own[b].places = sources[b].places;
                own[b].ids = sources[b].ids;
                own[b].only = sources[b].only;
            }
            read_memory(*ensemble->members[m], nb::cast<nb::dict>(memories[m]), place, views, own);
            for (std::size_t b = 0; b < own.size(); ++b) sources[b].members.push_back(std::move(own[b]));
        }
        return sources;
    }

    void check_list(const std::vector<std::int32_t>& ids) const {
        bool end = ids.empty(), rising = true;
        for (std::size_t k = 0; k < ids.size(); ++k) {
            end = end || ids[k] == kEnd;
            rising = rising && ids[k] > (k ? ids[k - 1] : 0) && ids[k] < network_.outputs;
        }
        require(end && rising, "a list of tokens does not rise, or lacks the end");
    }

    // What an encoder made of the sources; each has its places and ids already.
    static void read_memory(const Network& n, nb::dict given, const std::int64_t* place, Views& views, std::vector<Source>& sources) {
        const auto batch = (std::int64_t)sources.size();
        const std::int64_t all = place[batch];
        const float* m = views.floats(given["m"], Shape{all, n.memory}, false);
        const float* keys = n.keys ? views.floats(given["keys"], Shape{all, n.keys}, false) : nullptr;
        const float* summary = views.floats(given["summary"], Shape{batch, n.memory}, false);
        const nb::list h = nb::cast<nb::list>(given["h"]), c = nb::cast<nb::list>(given["c"]);
        const std::vector<Network::Widths> widths = n.states();
        require(nb::len(h) == widths.size() && nb::len(c) == widths.size(), "states do not fit");
        std::vector<const float*> all_h, all_c;
        for (std::size_t k = 0; k < widths.size(); ++k) {
            all_h.push_back(views.floats(h[k], Shape{batch, widths[k].h}, false));
            require(c[k].is_none() == (widths[k].c == 0), "a state has the wrong parts");
            all_c.push_back(widths[k].c ? views.floats(c[k], Shape{batch, widths[k].c}, false) : nullptr);
        }
        for (std::int64_t b = 0; b < batch; ++b) {
            Source& own = sources[(std::size_t)b];
            own.m = m + place[b] * n.memory;
            own.keys = keys ? keys + place[b] * n.keys : nullptr;
            own.summary = summary + b * n.memory;
            if (n.copy) first_places(n, own);
            for (std::size_t k = 0; k < widths.size(); ++k) {
                own.h.push_back(all_h[k] + b * widths[k].h);
                own.c.push_back(all_c[k] ? all_c[k] + b * widths[k].c : nullptr);
            }
        }
    }

    static void first_places(const Network& network, Source& source) {
        std::vector<std::int32_t> seen((std::size_t)network.outputs, -1);
        for (std::int64_t s = 0; s < source.places; ++s) {
            const std::int32_t token = source.ids[s];
            require(token > 0 && token < network.outputs, "a source has an id that cannot come");
            if (seen[(std::size_t)token] < 0) seen[(std::size_t)token] = (std::int32_t)s;
            source.first.push_back(seen[(std::size_t)token]);
        }
    }

    nb::object owner_;
    Views views_;
    std::unique_ptr<Network> made_;
    Network& network_;
};

// See kernels/decoding_ensemble.py: the members are decoders, which the dictionary keeps alive.
std::unique_ptr<Network> ensemble_network(nb::dict given) {
    auto made = std::make_unique<EnsembleNetwork>();
    EnsembleNetwork& n = *made;
    for (nb::handle one : nb::cast<nb::list>(given["members"])) {
        const Network& member = nb::cast<const Decoder&>(one).network();
        require(n.members.empty() || member.outputs == n.outputs, "members have other outputs");
        n.outputs = member.outputs;
        if (member.attention != Attention::none) n.attention = member.attention;
        n.members.push_back(&member);
    }
    require(!n.members.empty(), "no members");
    return made;
}

// See kernels/transformer.py for what the dictionary holds.
class Encoder {
public:
    explicit Encoder(nb::dict given) : owner_(given) {
        TransformerEncoder& n = network_;
        n.width = nb::cast<std::int64_t>(given["width"]);
        n.heads = nb::cast<std::int64_t>(given["heads"]);
        n.epsilon = nb::cast<float>(given["epsilon"]);
        const std::int64_t E = n.width;
        require(E >= 2 && n.heads >= 1 && E % n.heads == 0 && E % 2 == 0, "the heads do not fit");
        n.positions = Positions(E);
        for (nb::handle one : nb::cast<nb::list>(given["layers"])) {
            const nb::dict own = nb::cast<nb::dict>(one);
            const Weights inner = weights_of(own["inner"]);
            const std::int64_t wide = inner.packed->units;
            n.lanes = inner.kernels->lanes;
            n.layers.push_back({norm_of(own["self_norm"], E, views_), norm_of(own["inner_norm"], E, views_),
                                product_of(own["self_"], E, 3 * E), product_of(own["self_output"], E, E),
                                product_of(own["inner"], E, wide), product_of(own["inner_output"], wide, E)});
        }
        n.norm = norm_of(given["norm"], E, views_);
    }
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    // y = the memory of x, both (N, E) float32, of the sources that begin at `offsets`, (B + 1) int64.
    void run(nb::handle x, nb::handle offsets, nb::handle y) const {
        Views views;
        const View& starts = views.add(offsets, 'l', false);
        require(starts.ndim() == 1 && starts.contiguous() && starts.shape(0) > 0, "offsets are not contiguous");
        const auto* place = static_cast<const std::int64_t*>(starts.data());
        const std::int64_t batch = starts.shape(0) - 1;
        require(place[0] == 0, "offsets do not begin");
        for (std::int64_t b = 0; b < batch; ++b) require(place[b] < place[b + 1], "a source is empty");
        const float* from = views.floats(x, Shape{place[batch], network_.width}, false);
        float* to = views.floats(y, Shape{place[batch], network_.width}, true);
        nb::gil_scoped_release release;
        encode(network_, from, place, batch, to);
    }

private:
    nb::object owner_;
    Views views_;
    TransformerEncoder network_;
};

}  // namespace

void bind(nb::module_& parent) {
    nb::module_ module = parent.def_submodule("decode");
    nb::class_<Encoder>(module, "Encoder").def(nb::init<nb::dict>()).def("run", &Encoder::run);
    nb::class_<Decoder>(module, "Decoder").def(nb::init<nb::dict>()).def("run", &Decoder::run);
}

}  // namespace gatework::decode
