// The Python face of the recurrent kernels: checks shapes, owns buffers, releases the interpreter lock. No arithmetic.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "aligned.h"
#include "recurrent/recurrent.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gatework::recurrent {
namespace {

template <class T, int N>
using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

void require(bool condition, const std::string& message) {
    if (!condition) throw nb::value_error(message.c_str());
}

const CellInfo& cell_named(const std::string& name) {
    for (const CellInfo& cell : kCells)
        if (name == cell.name) return cell;
    throw nb::value_error(("no kernel for the cell " + name).c_str());
}

const Kernels& level_named(const std::string& name) {
    for (int i = 0; i < level_count(); ++i)
        if (name == level(i).level) return level(i);
    throw nb::value_error(("no level " + name + " on this processor").c_str());
}

// Weights of one layer and direction, regrouped for one level.
class PackedWeights {
public:
    PackedWeights(
        const std::string& cell, const std::string& level, Array<const float, 2> w, Array<const float, 2> r,
        Array<const float, 1> b, std::optional<Array<const float, 1>> rb)
        : kernels_(level_named(level)) {
        packed_.cell = cell_named(cell);
        packed_.inputs = (std::int64_t)w.shape(1);
        packed_.units = (std::int64_t)r.shape(1);
        const std::size_t rows = (std::size_t)(packed_.cell.gates * packed_.units);
        require(packed_.inputs > 0 && packed_.units > 0, "weights are empty");
        require(w.shape(0) == rows && r.shape(0) == rows && b.shape(0) == rows, "weights disagree about the units");
        require(rb.has_value() == packed_.cell.has_recurrent_bias, "recurrent bias missing or not wanted");
        require(!rb || rb->shape(0) == rows, "weights disagree about the units");
        const PackedFloats sizes = kernels_.packed_floats(packed_.cell, packed_.inputs, packed_.units);
        bytes_ = (sizes.w + sizes.r + sizes.b + (rb ? sizes.b : 0)) * sizeof(float);
        packed_.w = (w_ = aligned_floats(sizes.w)).get();
        packed_.r = (r_ = aligned_floats(sizes.r)).get();
        packed_.b = (b_ = aligned_floats(sizes.b)).get();
        packed_.rb = rb ? (rb_ = aligned_floats(sizes.b)).get() : nullptr;
        const Weights weights{w.data(), r.data(), b.data(), rb ? rb->data() : nullptr};
        nb::gil_scoped_release release;
        kernels_.pack(weights, packed_);
    }

    const Packed& packed() const { return packed_; }
    const Kernels& kernels() const { return kernels_; }
    std::size_t bytes() const { return bytes_; }

private:
    const Kernels& kernels_;
    Packed packed_{};
    AlignedFloats w_, r_, b_, rb_;
    std::size_t bytes_ = 0;
};

void forward(
    const PackedWeights& weights, Array<const float, 3> x, Array<const std::int64_t, 1> lengths,
    Array<const float, 2> h0, std::optional<Array<const float, 2>> c0, Array<float, 3> y, Array<float, 2> h,
    std::optional<Array<float, 2>> c, bool reverse) {
    const Packed& packed = weights.packed();
    const std::size_t time = x.shape(0), batch = x.shape(1), units = (std::size_t)packed.units;
    const auto is_state = [&](const auto& a) { return a.shape(0) == batch && a.shape(1) == units; };
    require(x.shape(2) == (std::size_t)packed.inputs, "x does not have the inputs the weights take");
    require(lengths.shape(0) == batch, "lengths must have one entry a sequence");
    require(y.shape(0) == time && y.shape(1) == batch && y.shape(2) == units, "y has the wrong shape");
    require(is_state(h0) && is_state(h), "the state has the wrong shape");
    const bool memory = packed.cell.has_memory;
    require(c0.has_value() == memory && c.has_value() == memory, "memory missing or not wanted");
    require(!memory || (is_state(*c0) && is_state(*c)), "the state has the wrong shape");

    nb::gil_scoped_release release;
    std::vector<std::int64_t> buffer(2 * batch + 2 * time + 1);
    Schedule schedule{};
    std::int64_t *order = buffer.data(), *sorted = order + batch, *running = sorted + batch;
    std::int64_t* cursor = running + time;
    schedule.time = (std::int64_t)time;
    schedule.batch = (std::int64_t)batch;
    schedule.steps = make_schedule(lengths.data(), schedule.batch, schedule.time, order, sorted, running, cursor);
    schedule.order = order;
    schedule.lengths = sorted;
    schedule.running = running;
    schedule.reverse = reverse;
    if (schedule.steps < 0) {
        nb::gil_scoped_acquire acquire;
        throw nb::value_error("a length is below 0 or above the steps given");
    }
    const AlignedFloats scratch = aligned_floats(weights.kernels().scratch_floats(packed, schedule));
    const Sequences io{x.data(), h0.data(), memory ? c0->data() : nullptr, y.data(), h.data(),
                       memory ? c->data() : nullptr, scratch.get()};
    weights.kernels().forward(packed, schedule, io);
}

void activate(const std::string& level, const std::string& function, Array<const float, 1> x, Array<float, 1> y) {
    require(x.shape(0) == y.shape(0) && x.shape(0) % 16 == 0, "x and y must have the same length, a multiple of 16");
    const int f = function == "sigmoid" ? 0 : function == "tanh" ? 1 : function == "relu" ? 2 : -1;
    require(f >= 0, "function must be sigmoid, tanh or relu");
    level_named(level).activate(f, x.data(), y.data(), (std::int64_t)x.shape(0));
}

}  // namespace

void bind(nb::module_& module) {
    module.def("levels", []() {
        std::vector<std::string> names;
        for (int i = 0; i < level_count(); ++i) names.emplace_back(level(i).level);
        return names;
    });
    module.def("cells", []() {
        std::vector<std::string> names;
        for (const CellInfo& cell : kCells) names.emplace_back(cell.name);
        return names;
    });
    nb::class_<PackedWeights>(module, "Packed")
        .def(nb::init<const std::string&, const std::string&, Array<const float, 2>, Array<const float, 2>,
                      Array<const float, 1>, std::optional<Array<const float, 1>>>(),
             "cell"_a, "level"_a, "w"_a.noconvert(), "r"_a.noconvert(), "b"_a.noconvert(), "rb"_a.noconvert().none())
        .def_prop_ro("inputs", [](const PackedWeights& w) { return w.packed().inputs; })
        .def_prop_ro("units", [](const PackedWeights& w) { return w.packed().units; })
        .def_prop_ro("nbytes", &PackedWeights::bytes);
    module.def("forward", &forward, "weights"_a, "x"_a.noconvert(), "lengths"_a.noconvert(), "h0"_a.noconvert(),
               "c0"_a.noconvert().none(), "y"_a.noconvert(), "h"_a.noconvert(), "c"_a.noconvert().none(), "reverse"_a);
    module.def(
        "multiply_adds",
        [](const std::string& level, std::int64_t rounds, float factor) {
            const Kernels& kernels = level_named(level);
            nb::gil_scoped_release release;
            float out = 0.0f;
            return kernels.multiply_adds(rounds, factor, &out);
        },
        "level"_a, "rounds"_a, "factor"_a);
    module.def("activate", &activate, "level"_a, "function"_a, "x"_a.noconvert(), "y"_a.noconvert());
}

}  // namespace gatework::recurrent
