// The Python face of the recurrent kernels: checks shapes, owns buffers, releases the interpreter lock. No arithmetic.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <string>
#include <vector>

#include "buffers.h"
#include "recurrent/bindings.h"
#include "recurrent/engine.h"
#include "view.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gatework::recurrent {
namespace {

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

Precision precision_named(const std::string& name) {
    if (name == "float32") return Precision::float32;
    if (name == "bfloat16") return Precision::bfloat16;
    require(name == "int8", "precision must be float32, bfloat16 or int8");
    return Precision::int8;
}

// Shapes of the further parameters of a cell.
std::vector<std::int64_t> extra_shape(const CellInfo& cell, int extra, std::int64_t units, std::int64_t outputs) {
    if (cell.kind == CellKind::lstm_projection) return {outputs, units};
    return {cell.kind == CellKind::lstm_layernorm && extra < 2 ? 4 * units : units};
}

// Weights or their gradients in a dictionary: w, r, b, rb, extra; `floats(name, shape)` looks one up.
template <class Float, class Into>
void read_weights(Views& views, nb::handle dict, const char* prefix, const CellInfo& cell, std::int64_t inputs,
                  std::int64_t units, std::int64_t outputs, Into& into) {
    constexpr bool kWritable = !std::is_const_v<Float>;
    const std::int64_t rows = cell.gates * units;
    const auto get = [&](const char* name, std::initializer_list<std::int64_t> shape) {
        return views.floats(nb::handle(dict)[(std::string(prefix) + name).c_str()], shape, kWritable);
    };
    into.w = get("w", {rows, inputs});
    into.r = get("r", {rows, outputs});
    into.b = get("b", {rows});
    into.rb = cell.recurrent_bias ? get("rb", {rows}) : nullptr;
    const nb::object extras = nb::handle(dict)[(std::string(prefix) + "extra").c_str()];
    require((int)nb::len(extras) == cell.extras, "wrong number of further parameters");
    for (int e = 0; e < cell.extras; ++e) into.extra[e] = views.floats(extras[e], extra_shape(cell, e, units, outputs), kWritable);
}

// Weights of one layer and direction, regrouped for one level.
class PackedWeights {
public:
    PackedWeights(const std::string& cell, const std::string& level, const std::string& precision, std::int64_t inputs,
                  std::int64_t units, std::int64_t outputs, nb::dict weights)
        : kernels_(level_named(level)) {
        // Without outputs there is no R: W x + b alone, through `step.project`.
        require(inputs > 0 && units > 0 && outputs >= 0, "weights are empty");
        packed_.cell = cell_named(cell);
        packed_.precision = precision_named(precision);
        packed_.inputs = inputs;
        packed_.units = units;
        packed_.outputs = outputs;
        Views views;
        Weights w{};
        read_weights<const float>(views, weights, "", packed_.cell, inputs, units, outputs, w);
        bytes_ = packed_bytes(packed_.cell, packed_.precision, inputs, units, outputs, false);
        buffer_.reserve(bytes_);
        place_packed(packed_, false, buffer_.bytes());
        nb::gil_scoped_release release;
        pack(kernels_, w, packed_, false);
    }

    const Packed& packed() const { return packed_; }
    const Kernels& kernels() const { return kernels_; }
    std::size_t bytes() const { return bytes_; }

private:
    const Kernels& kernels_;
    Packed packed_{};
    Buffer buffer_;
    std::size_t bytes_ = 0;
};

// An array over time and sequences, (T, B, width) with any strides or the (N, width) rows of a packed batch.
struct OverTime {
    std::vector<std::int64_t> at;
    std::int64_t stride = 0;

    template <class T>
    Rows<T> rows(T* base) const { return {base, at.data(), stride}; }
};

struct Shape {
    std::int64_t time, batch, rows;
    bool packed;  // rows of a PackedSequence: lengths fall, row offset[t] + place
    std::vector<std::int64_t> offset;
};

OverTime over_time(const View& view, const Shape& shape, std::int64_t width, const char* what) {
    const std::string name(what);
    OverTime o;
    require(view.ndim() == (shape.packed ? 2 : 3), name + " has the wrong number of axes");
    require(view.shape(view.ndim() - 1) == width, name + " has the wrong width");
    require(view.contiguous_last() || width <= 1, name + " must be contiguous along its last axis");
    o.at.resize((std::size_t)shape.time);
    if (shape.packed) {
        require(view.shape(0) == shape.rows, name + " has the wrong number of rows");
        o.stride = view.stride(0);
        for (std::int64_t t = 0; t < shape.time; ++t) o.at[(std::size_t)t] = shape.offset[(std::size_t)t] * o.stride;
    } else {
        require(view.shape(0) == shape.time && view.shape(1) == shape.batch, name + " has the wrong shape");
        o.stride = view.stride(1);
        for (std::int64_t t = 0; t < shape.time; ++t) o.at[(std::size_t)t] = t * view.stride(0);
    }
    return o;
}

Shape read_shape(const View& x, const std::int64_t* lengths, std::int64_t batch) {
    Shape shape{};
    shape.packed = x.ndim() == 2;
    require(shape.packed || x.ndim() == 3, "x must have two or three axes");
    shape.batch = batch;
    shape.time = shape.packed ? 0 : x.shape(0);
    require(shape.packed || x.shape(1) == batch, "lengths must have one entry a sequence");
    for (std::int64_t b = 0; b < batch; ++b) {
        require(lengths[b] >= 0 && (shape.packed || lengths[b] <= shape.time), "a length is below 0 or above the steps given");
        shape.rows += lengths[b];
    }
    if (shape.packed) {
        shape.time = batch ? lengths[0] : 0;
        for (std::int64_t b = 1; b < batch; ++b) require(lengths[b] <= lengths[b - 1], "lengths of a packed batch must fall");
        require(x.shape(0) == shape.rows, "x has not one row for each step of the lengths");
        shape.offset.resize((std::size_t)shape.time);
        std::int64_t running = batch, offset = 0;
        for (std::int64_t t = 0; t < shape.time; ++t) {
            while (lengths[running - 1] <= t) --running;
            shape.offset[(std::size_t)t] = offset;
            offset += running;
        }
    }
    return shape;
}

// Rows past the lengths become zero; a packed batch has none.
void clear_padding(const Layer& layer, const Shape& shape, const Rows<float>& rows, std::int64_t width) {
    if (shape.packed) return;
    for (std::int64_t t = 0; t < layer.time; ++t)
        for (std::int64_t b = 0; b < layer.batch; ++b)
            if (t >= layer.lengths[b]) std::memset(rows.row(t, b), 0, sizeof(float) * (std::size_t)width);
}

// What forward and backward have in common, read from Python's arguments.
struct Call {
    Views views;
    Shape shape;
    Layer layer{};
    std::vector<OverTime> kept;

    Call(const std::string& level, const std::string& cell, const std::string& precision, nb::handle x, nb::handle lengths,
         nb::handle directions, std::int64_t units, std::int64_t outputs, bool projected) {
        const View& x_view = views.add(x, 'f', false);
        const View& lengths_view = views.add(lengths, 'l', false);
        require(lengths_view.ndim() == 1 && lengths_view.contiguous(), "lengths must be a row of int64");
        layer.kernels = &level_named(level);
        layer.cell = cell_named(cell);
        layer.precision = precision_named(precision);
        layer.units = units;
        layer.outputs = outputs;
        layer.lengths = static_cast<const std::int64_t*>(lengths_view.data());
        shape = read_shape(x_view, layer.lengths, lengths_view.shape(0));
        layer.time = shape.time;
        layer.batch = shape.batch;
        layer.inputs = x_view.shape(x_view.ndim() - 1);
        layer.projected = projected;
        if (projected) require(layer.inputs == layer.cell.w_slots * padded(units), "projected x has the wrong width");
        layer.directions = (int)nb::len(directions);
        require(layer.directions == 1 || layer.directions == 2, "one or two directions");
        kept.reserve(16);
        layer.x = keep(over_time(x_view, shape, layer.inputs, "x")).rows(static_cast<const float*>(x_view.data()));
    }

    const OverTime& keep(OverTime&& over) {
        kept.push_back(std::move(over));
        return kept.back();
    }
    float* optional(nb::handle dict, const char* name, std::initializer_list<std::int64_t> shape_wanted, bool writable) {
        const nb::object value = dict[name];
        return value.is_none() ? nullptr : views.floats(value, shape_wanted, writable);
    }
    Rows<const std::uint8_t> keep_rows(nb::handle dict, const char* name, std::int64_t width) {
        const nb::object value = dict[name];
        if (value.is_none()) return {nullptr, nullptr, 0};
        const View& view = views.add(value, 'B', false);
        return keep(over_time(view, shape, width, name)).rows(static_cast<const std::uint8_t*>(view.data()));
    }
    void read_direction(nb::handle dict, Direction& d) {
        const std::int64_t B = layer.batch, H = layer.units, P = layer.outputs;
        d.h0 = optional(dict, "h0", {B, P}, false);
        d.c0 = optional(dict, "c0", {B, H}, false);
        d.mask = optional(dict, "mask", {B, P}, false);
        d.keep_h = keep_rows(dict, "keep_h", P);
        d.keep_c = keep_rows(dict, "keep_c", H);
    }
    void weights(nb::handle dict, Direction& d) {
        read_weights<const float>(views, dict, "", layer.cell, layer.inputs, layer.units, layer.outputs, d.weights);
    }
    // Columns of an array whose last axis holds the directions side by side.
    template <class T>
    void side_by_side(nb::handle array, const char* name, bool writable, Rows<T> (&rows)[2]) {
        const View& view = views.add(array, 'f', writable);
        const OverTime& over = keep(over_time(view, shape, layer.directions * layer.outputs, name));
        for (int d = 0; d < layer.directions; ++d)
            rows[d] = over.rows(static_cast<T*>(view.data()) + d * layer.outputs);
    }
    void tape(nb::handle array) {
        if (array.is_none()) return;
        const View& view = views.add(array, 'f', true);
        bool masked = false;
        for (int d = 0; d < layer.directions; ++d) masked = masked || layer.direction[d].mask;
        require(view.contiguous() && view.shape(0) >= tape_floats(layer.cell, layer.units, layer.outputs, shape.rows,
                                                                  layer.batch, layer.directions, masked),
                "the tape is too small");
        layer.tape = static_cast<float*>(view.data());
    }
};

void py_forward(const std::string& level, const std::string& cell, const std::string& precision, nb::handle x,
                nb::handle lengths, nb::list directions, std::int64_t units, std::int64_t outputs, nb::handle y,
                nb::handle tape, bool projected, bool reverse) {
    Call call(level, cell, precision, x, lengths, directions, units, outputs, projected);
    Layer& layer = call.layer;
    require(!reverse || layer.directions == 1, "reverse is for one direction");
    layer.reversed = reverse;
    for (int d = 0; d < layer.directions; ++d) {
        const nb::object dict = directions[d];
        Direction& direction = layer.direction[d];
        call.read_direction(dict, direction);
        const nb::object packed = dict["packed"];
        if (packed.is_none()) {
            call.weights(dict, direction);
        } else {
            const PackedWeights& weights = nb::cast<const PackedWeights&>(packed);
            const Packed& p = weights.packed();
            require(&weights.kernels() == layer.kernels && p.cell.kind == layer.cell.kind && p.precision == layer.precision,
                    "weights are packed for another cell, level or precision");
            require((projected || p.inputs == layer.inputs) && p.units == units && p.outputs == outputs,
                    "x does not have the inputs the weights take");
            direction.packed = &p;
        }
        require(!projected || direction.packed, "projected x needs packed weights");
        direction.h = call.optional(dict, "h", {layer.batch, outputs}, true);
        direction.c = call.optional(dict, "c", {layer.batch, units}, true);
        require(direction.h && (!layer.cell.memory || direction.c), "the state is missing");
    }
    if (projected) layer.inputs = layer.direction[0].packed->inputs;
    call.side_by_side(y, "y", true, layer.y);
    call.tape(tape);
    nb::gil_scoped_release release;
    clear_padding(layer, call.shape, layer.y[0], layer.directions * layer.outputs);
    forward(layer);
}

void py_backward(const std::string& level, const std::string& cell, const std::string& precision, nb::handle x,
                 nb::handle lengths, nb::list directions, std::int64_t units, std::int64_t outputs, nb::handle dy,
                 nb::handle dx, nb::handle tape) {
    Call call(level, cell, precision, x, lengths, directions, units, outputs, false);
    Layer& layer = call.layer;
    for (int d = 0; d < layer.directions; ++d) {
        const nb::object dict = directions[d];
        Direction& direction = layer.direction[d];
        call.read_direction(dict, direction);
        call.weights(dict, direction);
        read_weights<float>(call.views, dict, "g_", layer.cell, layer.inputs, units, outputs, direction.gradients);
        direction.dh = call.optional(dict, "dh", {layer.batch, outputs}, false);
        direction.dc = call.optional(dict, "dc", {layer.batch, units}, false);
        direction.dh0 = call.optional(dict, "dh0", {layer.batch, outputs}, true);
        direction.dc0 = call.optional(dict, "dc0", {layer.batch, units}, true);
        require(direction.dh0 && (!layer.cell.memory || direction.dc0), "the state's gradient is missing");
    }
    if (!dy.is_none()) call.side_by_side(dy, "dy", false, layer.dy);
    if (!dx.is_none()) {
        const View& view = call.views.add(dx, 'f', true);
        layer.dx = call.keep(over_time(view, call.shape, layer.inputs, "dx")).rows(static_cast<float*>(view.data()));
    }
    require(!tape.is_none(), "the tape is missing");
    call.tape(tape);
    nb::gil_scoped_release release;
    if (layer.dx.base) clear_padding(layer, call.shape, layer.dx, layer.inputs);
    backward(layer);
}

std::int64_t py_tape_floats(const std::string& cell, std::int64_t rows, std::int64_t batch, std::int64_t units,
                            std::int64_t outputs, int directions, bool masked) {
    return tape_floats(cell_named(cell), units, outputs, rows, batch, directions, masked);
}

// A float32 array over a block that is used again once the array is gone.
nb::object buffer(std::int64_t floats) {
    void* block = take_block((std::size_t)(floats > 0 ? floats : 1) * sizeof(float));
    nb::capsule owner(block, [](void* p) noexcept { give_block(p); });
    const std::size_t shape[1] = {(std::size_t)floats};
    return nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<1>>(block, 1, shape, owner));
}

void activate(const std::string& level, const std::string& function, nb::handle x, nb::handle y) {
    Views views;
    const View &from = views.add(x, 'f', false), &to = views.add(y, 'f', true);
    require(from.ndim() == 1 && to.ndim() == 1 && from.shape(0) == to.shape(0) && from.shape(0) % 16 == 0,
            "x and y must have the same length, a multiple of 16");
    const int f = function == "sigmoid" ? 0 : function == "tanh" ? 1 : function == "relu" ? 2 : -1;
    require(f >= 0, "function must be sigmoid, tanh or relu");
    level_named(level).activate(f, static_cast<const float*>(from.data()), static_cast<float*>(to.data()), from.shape(0));
}

}  // namespace

PackedLayer packed_layer(nb::handle weights) {
    const PackedWeights& own = nb::cast<const PackedWeights&>(weights);
    return {&own.packed(), &own.kernels()};
}

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
        .def(nb::init<const std::string&, const std::string&, const std::string&, std::int64_t, std::int64_t, std::int64_t, nb::dict>(),
             "cell"_a, "level"_a, "precision"_a, "inputs"_a, "units"_a, "outputs"_a, "weights"_a)
        .def_prop_ro("inputs", [](const PackedWeights& w) { return w.packed().inputs; })
        .def_prop_ro("units", [](const PackedWeights& w) { return w.packed().units; })
        .def_prop_ro("nbytes", &PackedWeights::bytes);
    module.def("forward", &py_forward, "level"_a, "cell"_a, "precision"_a, "x"_a, "lengths"_a, "directions"_a, "units"_a,
               "outputs"_a, "y"_a, "tape"_a.none(), "projected"_a = false, "reverse"_a = false);
    module.def("buffer", &buffer, "floats"_a);
    module.def("backward", &py_backward, "level"_a, "cell"_a, "precision"_a, "x"_a, "lengths"_a, "directions"_a, "units"_a,
               "outputs"_a, "dy"_a.none(), "dx"_a.none(), "tape"_a);
    module.def("tape_floats", &py_tape_floats, "cell"_a, "rows"_a, "batch"_a, "units"_a, "outputs"_a, "directions"_a, "masked"_a);
    module.def(
        "multiply_adds",
        [](const std::string& level, std::int64_t rounds, float factor) {
            const Kernels& kernels = level_named(level);
            nb::gil_scoped_release release;
            float out = 0.0f;
            return kernels.multiply_adds(rounds, factor, &out);
        },
        "level"_a, "rounds"_a, "factor"_a);
    module.def("activate", &activate, "level"_a, "function"_a, "x"_a, "y"_a);
    bind_step(module);
    bind_sentence(module);
}

}  // namespace gatework::recurrent
