// The Python face of the CRF kernels: checks shapes, finds where rows lie, releases the interpreter lock. No arithmetic.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "crf/crf.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gatework::crf {
namespace {

template <class T, int N>
using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <class T>
using Strided = nb::ndarray<T, nb::device::cpu>;

void require(bool condition, const std::string& message) {
    if (!condition) throw nb::value_error(message.c_str());
}

// Levels in the order of all operations; a CRF takes the best it has that is no higher than the one named.
constexpr const char* kOrder[] = {"portable", "simd128", "avx2", "avx512", "avx512bf16"};

const Kernels& level_named(const std::string& name) {
    const Kernels* chosen = nullptr;
    for (const char* known : kOrder) {
        for (int i = 0; i < level_count(); ++i)
            if (std::strcmp(known, level(i).level) == 0) chosen = &level(i);
        if (name == known && chosen) return *chosen;
    }
    throw nb::value_error(("no level " + name + " on this processor").c_str());
}

template <class T>
bool contiguous_rows(const Strided<T>& array) {
    const std::size_t last = array.ndim() - 1;
    return array.stride(last) == 1 || array.shape(last) == 1 || array.size() == 0;
}

// Where each row of an array lies: (T, B, ...) with any strides, or (N, ...) time-major rows of falling lengths.
class Places {
public:
    template <class T>
    Places(const Strided<T>& array, std::size_t row_dimensions, const std::vector<std::int64_t>& running, std::int64_t batch)
        : time_(running.size()), sequence_((std::size_t)batch) {
        const bool packed = array.ndim() == row_dimensions + 1;
        std::int64_t at = 0;
        for (std::size_t t = 0; t < time_.size(); ++t) {
            time_[t] = packed ? at * array.stride(0) : (std::int64_t)t * array.stride(0);
            at += running[t];
        }
        for (std::int64_t b = 0; b < batch; ++b) sequence_[(std::size_t)b] = b * array.stride(packed ? 0 : 1);
    }
    Rows rows() const { return {time_.data(), sequence_.data()}; }

private:
    std::vector<std::int64_t> time_, sequence_;
};

// The sizes of a call, read off its arrays.
struct Call {
    Model model;
    Batch batch;
    std::size_t dimensions;             // of emissions
    std::size_t rows;                   // N where emissions are packed
    std::vector<std::int64_t> running;  // how many sequences are longer than t
    Places places;

    Call(
        const Strided<const float>& emissions, const Array<const std::int64_t, 1>& lengths,
        const Array<const float, 2>& transitions, const Array<const float, 1>& start, const Array<const float, 1>& end)
        : model{(std::int64_t)transitions.shape(0), transitions.data(), start.data(), end.data()},
          batch{(std::int64_t)lengths.shape(0), lengths.data(), nullptr, 0, emissions.data(), {}, nullptr, {}},
          dimensions(emissions.ndim()),
          running(check(emissions, lengths, transitions, start, end)),
          places(emissions, 1, running, batch.sequences) {
        batch.rows = places.rows();
        rows = emissions.shape(0);
        if (dimensions == 3) batch.time = (std::int64_t)rows;
    }

    // An array of rows beside the emissions: the same first dimensions, and K last where it has scores.
    template <class T>
    void fits(const Strided<T>& array, bool has_scores, const char* name) const {
        const std::size_t leading = dimensions - 1;
        bool good = array.ndim() == leading + (has_scores ? 1 : 0) && array.shape(0) == rows;
        if (good && leading == 2) good = array.shape(1) == (std::size_t)batch.sequences;
        if (good && has_scores) good = array.shape(leading) == (std::size_t)model.tags && contiguous_rows(array);
        require(good, std::string(name) + " does not fit the emissions");
    }

    // Makes `tags` the gold path, checked. What is returned says where they lie, and must live as long as the call.
    Places follow(const Strided<const std::int64_t>& tags) {
        Places places(tags, 0, running, batch.sequences);
        batch.gold = tags.data();
        batch.gold_rows = places.rows();
        bool good = true;
        for (std::int64_t b = 0; b < batch.sequences; ++b)
            for (std::int64_t t = 0; t < batch.lengths[b]; ++t) {
                const std::int64_t tag = batch.gold[batch.gold_rows.at(t, b)];
                good = good && tag >= 0 && tag < model.tags;
            }
        require(good, "a tag is below 0 or not below the number of tags");
        return places;
    }

private:
    std::vector<std::int64_t> check(
        const Strided<const float>& emissions, const Array<const std::int64_t, 1>& lengths,
        const Array<const float, 2>& transitions, const Array<const float, 1>& start, const Array<const float, 1>& end) {
        const std::size_t tags = transitions.shape(0), batch_size = lengths.shape(0), last = emissions.ndim() - 1;
        require(tags > 0 && transitions.shape(1) == tags, "transitions must be square");
        require(start.shape(0) == tags && end.shape(0) == tags, "start and end must have a score a tag");
        require(emissions.ndim() == 2 || emissions.ndim() == 3, "emissions must be (T, B, K) or (N, K)");
        require(emissions.shape(last) == tags, "emissions must have a score a tag");
        require(contiguous_rows(emissions), "a row of emissions must be contiguous");
        const bool packed = emissions.ndim() == 2;
        require(packed || emissions.shape(1) == batch_size, "lengths must have one entry a sequence");
        const std::int64_t rows = (std::int64_t)emissions.shape(0);
        std::int64_t longest = 0, total = 0;
        for (std::size_t b = 0; b < batch_size; ++b) {
            const std::int64_t length = lengths.data()[b];
            require(length >= 0 && length <= rows, "a length is below 0 or above the steps given");
            require(!packed || b == 0 || length <= lengths.data()[b - 1], "lengths of packed rows must fall");
            longest = length > longest ? length : longest;
            total += length;
        }
        require(!packed || total == rows, "lengths of packed rows must add up to the rows");
        std::vector<std::int64_t> counts((std::size_t)(packed ? longest : rows));
        for (std::size_t b = 0; b < batch_size; ++b)
            if (lengths.data()[b] > 0) ++counts[(std::size_t)lengths.data()[b] - 1];
        for (std::size_t t = counts.size(); t-- > 1;) counts[t - 1] += counts[t];
        return counts;
    }
};

void forward_backward_(
    const std::string& level, Strided<const float> emissions, Array<const std::int64_t, 1> lengths,
    Array<const float, 2> transitions, Array<const float, 1> start, Array<const float, 1> end,
    std::optional<Strided<const std::int64_t>> gold, std::optional<Array<const float, 1>> weights, Array<float, 1> nll,
    std::optional<Strided<float>> d_emissions, std::optional<Array<float, 2>> d_transitions,
    std::optional<Array<float, 1>> d_start, std::optional<Array<float, 1>> d_end) {
    const Kernels& kernels = level_named(level);
    Call call(emissions, lengths, transitions, start, end);
    const std::size_t tags = (std::size_t)call.model.tags;
    require(nll.shape(0) == lengths.shape(0), "nll must have one entry a sequence");
    require(!weights || weights->shape(0) == lengths.shape(0), "weights must have one entry a sequence");
    const bool wanted = d_emissions.has_value();
    require(wanted == d_transitions.has_value() && wanted == d_start.has_value() && wanted == d_end.has_value(),
            "gradients are wanted together or not at all");
    if (gold) call.fits(*gold, false, "tags");
    if (wanted) {
        call.fits(*d_emissions, true, "d_emissions");
        require(d_transitions->shape(0) == tags && d_transitions->shape(1) == tags && d_start->shape(0) == tags &&
                    d_end->shape(0) == tags,
                "gradients have the wrong shape");
    }
    std::optional<Places> gold_places, gradient_places;
    if (gold) gold_places.emplace(call.follow(*gold));
    if (wanted) gradient_places.emplace(*d_emissions, 1, call.running, call.batch.sequences);
    Gradients gradients{};
    if (wanted)
        gradients = {weights ? weights->data() : nullptr, d_emissions->data(), gradient_places->rows(),
                     d_transitions->data(), d_start->data(), d_end->data()};
    nb::gil_scoped_release release;
    forward_backward(kernels, call.model, call.batch, nll.data(), wanted ? &gradients : nullptr, nullptr);
}

void path_marginals_(
    const std::string& level, Strided<const float> emissions, Array<const std::int64_t, 1> lengths,
    Array<const float, 2> transitions, Array<const float, 1> start, Array<const float, 1> end,
    Strided<const std::int64_t> tags, Array<float, 1> nll, Strided<float> p, Strided<float> step) {
    const Kernels& kernels = level_named(level);
    Call call(emissions, lengths, transitions, start, end);
    require(nll.shape(0) == lengths.shape(0), "nll must have one entry a sequence");
    call.fits(tags, false, "tags");
    call.fits(p, false, "p");
    call.fits(step, false, "step");
    bool alike = true;
    for (std::size_t d = 0; d < p.ndim(); ++d) alike = alike && p.stride(d) == step.stride(d);
    require(alike, "p and step must lie alike");
    const Places places(p, 0, call.running, call.batch.sequences);
    const Places gold_places = call.follow(tags);
    const PathShares path{p.data(), step.data(), places.rows()};
    nb::gil_scoped_release release;
    forward_backward(kernels, call.model, call.batch, nll.data(), nullptr, &path);
}

void viterbi_(
    const std::string& level, Strided<const float> emissions, Array<const std::int64_t, 1> lengths,
    Array<const float, 2> transitions, Array<const float, 1> start, Array<const float, 1> end,
    Strided<std::int64_t> tags, Array<float, 1> scores) {
    const Kernels& kernels = level_named(level);
    Call call(emissions, lengths, transitions, start, end);
    call.fits(tags, false, "tags");
    require(scores.shape(0) == lengths.shape(0), "scores must have one entry a sequence");
    const Places places(tags, 0, call.running, call.batch.sequences);
    nb::gil_scoped_release release;
    viterbi(kernels, call.model, call.batch, tags.data(), places.rows(), scores.data());
}

// Viterbi, and the shares of its path.
void best_path_(
    const std::string& level, Strided<const float> emissions, Array<const std::int64_t, 1> lengths,
    Array<const float, 2> transitions, Array<const float, 1> start, Array<const float, 1> end,
    Strided<std::int64_t> tags, Array<float, 1> scores, Array<float, 1> nll, Strided<float> p, Strided<float> step) {
    viterbi_(level, emissions, lengths, transitions, start, end, tags, scores);
    path_marginals_(level, emissions, lengths, transitions, start, end, Strided<const std::int64_t>(tags), nll, p, step);
}

void n_best_(
    Strided<const float> emissions, Array<const std::int64_t, 1> lengths, Array<const float, 2> transitions,
    Array<const float, 1> start, Array<const float, 1> end, Strided<std::int64_t> tags, Array<float, 2> scores) {
    Call call(emissions, lengths, transitions, start, end);
    const std::int64_t best = (std::int64_t)scores.shape(1);
    require(best > 0 && best * call.model.tags < (std::int64_t{1} << 31), "the number of paths is out of range");
    require(scores.shape(0) == lengths.shape(0), "scores must have one entry a sequence");
    // (best, T, B) or (best, N), contiguous.
    const std::size_t leading = call.dimensions - 1;
    require(tags.ndim() == leading + 1 && tags.shape(0) == (std::size_t)best && tags.shape(1) == call.rows &&
                (leading == 1 || tags.shape(2) == lengths.shape(0)),
            "tags does not fit the emissions");
    std::vector<std::int64_t> time(call.running.size()), sequence(lengths.shape(0));
    std::int64_t at = 0;
    for (std::size_t t = 0; t < time.size(); ++t) {
        time[t] = leading == 1 ? at * tags.stride(1) : (std::int64_t)t * tags.stride(1);
        at += call.running[t];
    }
    for (std::size_t b = 0; b < sequence.size(); ++b) sequence[b] = (std::int64_t)b * tags.stride(leading == 1 ? 1 : 2);
    nb::gil_scoped_release release;
    n_best(call.model, call.batch, best, tags.data(), {time.data(), sequence.data()}, tags.stride(0), scores.data());
}

}  // namespace

void bind(nb::module_& module) {
    nb::module_ crf = module.def_submodule("crf");
    crf.def("forward_backward", &forward_backward_, "level"_a, "emissions"_a.noconvert(), "lengths"_a.noconvert(),
            "transitions"_a.noconvert(), "start"_a.noconvert(), "end"_a.noconvert(), "gold"_a.noconvert().none(),
            "weights"_a.noconvert().none(), "nll"_a.noconvert(), "d_emissions"_a.noconvert().none(),
            "d_transitions"_a.noconvert().none(), "d_start"_a.noconvert().none(), "d_end"_a.noconvert().none());
    crf.def("path_marginals", &path_marginals_, "level"_a, "emissions"_a.noconvert(), "lengths"_a.noconvert(),
            "transitions"_a.noconvert(), "start"_a.noconvert(), "end"_a.noconvert(), "tags"_a.noconvert(),
            "nll"_a.noconvert(), "p"_a.noconvert(), "step"_a.noconvert());
    crf.def("best_path", &best_path_, "level"_a, "emissions"_a.noconvert(), "lengths"_a.noconvert(),
            "transitions"_a.noconvert(), "start"_a.noconvert(), "end"_a.noconvert(), "tags"_a.noconvert(),
            "scores"_a.noconvert(), "nll"_a.noconvert(), "p"_a.noconvert(), "step"_a.noconvert());
    crf.def("viterbi", &viterbi_, "level"_a, "emissions"_a.noconvert(), "lengths"_a.noconvert(),
            "transitions"_a.noconvert(), "start"_a.noconvert(), "end"_a.noconvert(), "tags"_a.noconvert(),
            "scores"_a.noconvert());
    crf.def("n_best", &n_best_, "emissions"_a.noconvert(), "lengths"_a.noconvert(), "transitions"_a.noconvert(),
            "start"_a.noconvert(), "end"_a.noconvert(), "tags"_a.noconvert(), "scores"_a.noconvert());
}

}  // namespace gatework::crf
