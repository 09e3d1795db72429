// The Python face of single steps: layers on top of each other with their states, one call a step. Checks, owns buffers,
// releases the interpreter lock where a step is long. No arithmetic.

#include <nanobind/nanobind.h>

#include <cstring>
#include <memory>
#include <vector>

#include "array.h"
#include "buffers.h"
#include "recurrent/bindings.h"
#include "recurrent/step_layer.h"
#include "view.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gatework::recurrent {
namespace {

constexpr std::size_t kLongStep = 1 << 20;         // bytes of weights times sequences from which on other threads may run
constexpr int kKept = 4;

class Stepper {
public:
    // error: the exception for a caller's mistakes; empty(shape, dtype): numpy.empty; sample: any float32 matrix.
    Stepper(nb::list packed, std::int64_t batch, nb::object error, nb::object empty, nb::object sample)
        : error_(std::move(error)), empty_(std::move(empty)), arrays_(sample.ptr()), dtype_(sample.attr("dtype")) {
        require(nb::len(packed) > 0, "no layers");
        for (nb::handle one : packed) {
            const PackedLayer layer = packed_layer(one);
            auto own = std::make_unique<StepLayer>(*layer.packed, *layer.kernels);
            bytes_ += own->weight_bytes;
            require(layers_.empty() || layers_.back()->packed->outputs == layer.packed->inputs,
                    "a layer does not take the outputs of the one below");
            layers_.push_back(std::move(own));
        }
        owners_ = nb::object(packed);
        resize(batch);
    }

    Stepper(const Stepper&) = delete;
    Stepper& operator=(const Stepper&) = delete;

    PyObject* step(PyObject* x, PyObject* out) {
        if (!enter()) return nullptr;
        StepLayer& first = *layers_.front();
        Matrix32 rows;
        if (!arrays_.read(x, batch_, first.packed->inputs, false, rows)) {
            busy_ = false;
            return mistake("x", first.packed->inputs, x);
        }
        for (std::int64_t row = 0; row < batch_; ++row) first.x[(std::size_t)row] = rows.row(row);
        return finish(out, false, false);
    }

    PyObject* step_id(PyObject* ids, PyObject* out) {
        if (!enter()) return nullptr;
        const bool good = table_rows_ > 0 && (PyLong_Check(ids) ? read_id(ids) : read_ids(ids));
        if (!good) {
            busy_ = false;
            if (PyErr_Occurred()) return nullptr;
            PyErr_Format(error_.ptr(), "step_id takes an id or %lld ids from 0 to %lld, int64, of the table given to the Stepper. Got %.80R.",
                         (long long)batch_, (long long)table_rows_ - 1, ids);
            return nullptr;
        }
        return finish(out, true, half_);
    }

    // Rows of W x + b, float32 or bfloat16 as uint16, (V, w_slots x H').
    void set_table(nb::object table, std::int64_t rows, bool half) {
        const std::int64_t wide = layers_.front()->packed->cell.w_slots * layers_.front()->H;
        View view(table, half ? 'H' : 'f', false);
        require(view.ndim() == 2 && view.contiguous() && view.shape(0) == rows && view.shape(1) == wide, "the table has the wrong shape");
        table_ = static_cast<const char*>(view.data());
        table_rows_ = rows;
        table_stride_ = wide;
        half_ = half;
        table_owner_ = std::move(table);
    }

    std::int64_t batch() const { return batch_; }

    void load(std::int64_t layer, nb::handle h, nb::handle c) {
        not_busy();
        StepLayer& own = at(layer);
        const Packed& p = *own.packed;
        Views views;
        const float* from = views.floats(h, std::initializer_list<std::int64_t>{batch_, p.outputs}, false);
        const float* memory = c.is_none() ? nullptr : views.floats(c, std::initializer_list<std::int64_t>{batch_, p.units}, false);
        require((memory != nullptr) == p.cell.memory, "a state has the wrong parts");
        for (std::int64_t row = 0; row < batch_; ++row) {
            own.clear(row);
            std::memcpy(own.state_h() + row * own.P, from + row * p.outputs, (std::size_t)p.outputs * sizeof(float));
            if (memory) std::memcpy(own.state_c() + row * own.H, memory + row * p.units, (std::size_t)p.units * sizeof(float));
        }
    }
    void save(std::int64_t layer, nb::handle h, nb::handle c) {
        not_busy();
        StepLayer& own = at(layer);
        const Packed& p = *own.packed;
        Views views;
        float* to = views.floats(h, std::initializer_list<std::int64_t>{batch_, p.outputs}, true);
        float* memory = c.is_none() ? nullptr : views.floats(c, std::initializer_list<std::int64_t>{batch_, p.units}, true);
        for (std::int64_t row = 0; row < batch_; ++row) {
            std::memcpy(to + row * p.outputs, own.state_h() + row * own.P, (std::size_t)p.outputs * sizeof(float));
            if (memory) std::memcpy(memory + row * p.units, own.state_c() + row * own.H, (std::size_t)p.units * sizeof(float));
        }
    }
    // Row 0 to n - 1 of the new batch is the old row of that entry.
    void select(nb::handle indices) {
        not_busy();
        const View view(indices, 'l', false);
        require(view.ndim() == 1 && view.contiguous() && view.shape(0) > 0, "select takes a row of int64");
        const std::int64_t* from = static_cast<const std::int64_t*>(view.data());
        const std::int64_t rows = view.shape(0);
        for (std::int64_t row = 0; row < rows; ++row) require(from[row] >= 0 && from[row] < batch_, "select: a row is out of range");
        for (auto& layer : layers_) {
            std::vector<float> h, c;
            for (std::int64_t row = 0; row < rows; ++row) {
                const float *old_h = layer->state_h() + from[row] * layer->P, *old_c = layer->state_c() + from[row] * layer->H;
                h.insert(h.end(), old_h, old_h + layer->P);
                c.insert(c.end(), old_c, old_c + layer->H);
            }
            if (rows != batch_) layer->resize(rows);
            std::memcpy(layer->state_h(), h.data(), h.size() * sizeof(float));
            std::memcpy(layer->state_c(), c.data(), c.size() * sizeof(float));
        }
        if (rows != batch_) forget(rows);
    }
    void reset(nb::handle rows) {
        not_busy();
        if (rows.is_none()) {
            for (auto& layer : layers_)
                for (std::int64_t row = 0; row < batch_; ++row) layer->clear(row);
            return;
        }
        const View view(rows, 'l', false);
        require(view.ndim() == 1 && view.contiguous(), "reset takes a row of int64");
        const std::int64_t* which = static_cast<const std::int64_t*>(view.data());
        for (std::int64_t k = 0; k < view.shape(0); ++k) require(which[k] >= 0 && which[k] < batch_, "reset: a row is out of range");
        for (auto& layer : layers_)
            for (std::int64_t k = 0; k < view.shape(0); ++k) layer->clear(which[k]);
    }
    void resize(std::int64_t batch) {
        not_busy();
        require(batch > 0, "batch must be at least 1");
        for (auto& layer : layers_) layer->resize(batch);
        forget(batch);
    }

private:
    bool enter() {
        if (busy_) {
            PyErr_SetString(error_.ptr(), "A Stepper takes one step at a time. Give each thread its own.");
            return false;
        }
        busy_ = true;
        return true;
    }
    void not_busy() const { require(!busy_, "a Stepper is used by one thread at a time"); }
    StepLayer& at(std::int64_t layer) {
        require(layer >= 0 && layer < (std::int64_t)layers_.size(), "no such layer");
        return *layers_[(std::size_t)layer];
    }
    void forget(std::int64_t batch) {
        batch_ = batch;
        shape_ = nb::make_tuple(batch, layers_.back()->packed->outputs);
        for (nb::object& one : outputs_) one = nb::object();
    }

    bool row_of(std::int64_t id, std::size_t row) {
        if (id < 0 || id >= table_rows_) return false;
        StepLayer& first = *layers_.front();
        if (half_) first.halves[row] = reinterpret_cast<const std::uint16_t*>(table_) + id * table_stride_;
        else first.x[row] = reinterpret_cast<const float*>(table_) + id * table_stride_;
        return true;
    }
    bool read_id(PyObject* id) {
        const long long value = PyLong_AsLongLong(id);
        if (value == -1 && PyErr_Occurred()) PyErr_Clear();
        return batch_ == 1 && row_of(value, 0);
    }
    bool read_ids(PyObject* ids) {
        Py_buffer buffer;
        if (PyObject_GetBuffer(ids, &buffer, PyBUF_STRIDES | PyBUF_FORMAT) != 0) {
            PyErr_Clear();
            return false;
        }
        bool good = buffer.ndim == 1 && buffer.shape[0] == batch_ && buffer.itemsize == 8 && buffer.format &&
                    (buffer.format[0] == 'l' || buffer.format[0] == 'q');
        for (std::int64_t row = 0; good && row < batch_; ++row) {
            std::int64_t id;
            std::memcpy(&id, static_cast<const char*>(buffer.buf) + row * buffer.strides[0], sizeof id);
            good = row_of(id, (std::size_t)row);
        }
        PyBuffer_Release(&buffer);
        return good;
    }

    PyObject* mistake(const char* what, std::int64_t width, PyObject* got) {
        PyObject* shape = PyObject_GetAttrString(got, "shape");
        if (!shape) PyErr_Clear();
        PyObject* dtype = PyObject_GetAttrString(got, "dtype");
        if (!dtype) PyErr_Clear();
        PyErr_Format(error_.ptr(), "step: %s must be a float32 array of shape (%lld, %lld)%s, its rows contiguous; got %.60S of shape %.60S.",
                     what, (long long)batch_, (long long)width, *what == 'o' ? " that can be written to" : "",
                     dtype ? dtype : (PyObject*)Py_TYPE(got), shape ? shape : Py_None);
        Py_XDECREF(shape);
        Py_XDECREF(dtype);
        return nullptr;
    }

    // An array nobody else holds: one of the few kept, or a new one.
    PyObject* output() {
        for (nb::object& kept : outputs_)
            if (kept.is_valid() && Py_REFCNT(kept.ptr()) == 1) return nb::object(kept).release().ptr();
        PyObject* arguments[] = {shape_.ptr(), dtype_.ptr()};
        PyObject* fresh = PyObject_Vectorcall(empty_.ptr(), arguments, 2, nullptr);
        if (fresh) {
            outputs_[next_] = nb::borrow(fresh);
            next_ = (next_ + 1) % kKept;
        }
        return fresh;
    }

    // The products and all after them; x of the first layer is set.
    PyObject* finish(PyObject* out, bool projected, bool half) {
        const std::int64_t width = layers_.back()->packed->outputs;
        Matrix32 to;
        PyObject* result;
        if (!out || out == Py_None) {
            result = output();
            // A caller may have given one back with another shape or flags.
            if (result && !arrays_.read(result, batch_, width, true, to)) {
                Py_DECREF(result);
                for (nb::object& one : outputs_) one = nb::object();
                result = output();
                if (result && !arrays_.read(result, batch_, width, true, to)) Py_CLEAR(result);
            }
        } else {
            if (!arrays_.read(out, batch_, width, true, to)) {
                busy_ = false;
                return mistake("out", width, out);
            }
            result = out;
            Py_INCREF(result);
        }
        if (!result) {
            busy_ = false;
            if (!PyErr_Occurred()) PyErr_NoMemory();
            return nullptr;
        }
        if (bytes_ * (std::size_t)batch_ >= kLongStep) {
            nb::gil_scoped_release release;
            compute(projected, half);
        } else {
            compute(projected, half);
        }
        const float* h = layers_.back()->state_h();
        for (std::int64_t row = 0; row < batch_; ++row)
            std::memcpy(to.row(row), h + row * layers_.back()->P, (std::size_t)width * sizeof(float));
        busy_ = false;
        return result;
    }
    void compute(bool projected, bool half) {
        for (std::size_t k = 0; k < layers_.size(); ++k) {
            StepLayer& layer = *layers_[k];
            if (k > 0) {
                StepLayer& below = *layers_[k - 1];
                for (std::int64_t row = 0; row < batch_; ++row) layer.x[(std::size_t)row] = below.state_h() + row * below.P;
            }
            layer.step(batch_, k == 0 && projected, k == 0 && half);
        }
    }

    nb::object error_, empty_;
    Arrays arrays_;
    nb::object dtype_, owners_, shape_, table_owner_, outputs_[kKept];
    int next_ = 0;
    std::vector<std::unique_ptr<StepLayer>> layers_;
    std::size_t bytes_ = 0;
    std::int64_t batch_ = 0;
    const char* table_ = nullptr;
    std::int64_t table_rows_ = 0, table_stride_ = 0;
    bool half_ = false;
    bool busy_ = false;  // changed under the interpreter lock alone
};

// step(x, out=None): without the binding layer's conversions, which cost as much as a small step.
template <PyObject* (Stepper::*Step)(PyObject*, PyObject*)>
PyObject* call(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
    const Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    PyObject* out = count == 2 ? arguments[1] : nullptr;
    const bool out_named = count == 1 && named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), "out") == 0;
    if (out_named) out = arguments[1];
    if (count < 1 || count > 2 || (named && !out_named)) {
        PyErr_SetString(PyExc_TypeError, "takes an input and perhaps out=");
        return nullptr;
    }
    return (nb::inst_ptr<Stepper>(self)->*Step)(arguments[0], out);
}

PyMethodDef kMethods[] = {
    {"step", (PyCFunction)(void (*)())call<&Stepper::step>, METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"step_id", (PyCFunction)(void (*)())call<&Stepper::step_id>, METH_FASTCALL | METH_KEYWORDS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot kSlots[] = {{Py_tp_methods, kMethods}, {0, nullptr}};

// Rows of W x + b in slots for each row of x.
void py_project(nb::handle packed, nb::handle x, nb::handle out) {
    const PackedLayer layer = packed_layer(packed);
    const Packed& p = *layer.packed;
    Views views;
    const View& from = views.add(x, 'f', false);
    require(from.ndim() == 2 && from.contiguous() && from.shape(1) == p.inputs, "x must be (N, I), contiguous");
    const std::int64_t rows = from.shape(0), wide = p.cell.w_slots * padded(p.units);
    float* to = views.floats(out, std::initializer_list<std::int64_t>{rows, wide}, true);
    constexpr std::int64_t kRowsAtOnce = 64;
    Buffer scratch;
    scratch.reserve(layer.kernels->step.scratch(p, kRowsAtOnce));
    nb::gil_scoped_release release;
    for (std::int64_t first = 0; first < rows; first += kRowsAtOnce) {
        const float* pointers[kRowsAtOnce];
        const std::int64_t count = rows - first < kRowsAtOnce ? rows - first : kRowsAtOnce;
        for (std::int64_t r = 0; r < count; ++r) pointers[r] = static_cast<const float*>(from.data()) + (first + r) * p.inputs;
        layer.kernels->step.project(p, pointers, count, false, to + first * wide, scratch.bytes());
    }
}

}  // namespace

void bind_step(nb::module_& parent) {
    nb::module_ module = parent.def_submodule("step");
    nb::class_<Stepper>(module, "Stepper", nb::type_slots(kSlots))
        .def(nb::init<nb::list, std::int64_t, nb::object, nb::object, nb::object>())
        .def("set_table", &Stepper::set_table)
        .def_prop_ro("batch", &Stepper::batch)
        .def("load", &Stepper::load, "layer"_a, "h"_a, "c"_a.none())
        .def("save", &Stepper::save, "layer"_a, "h"_a, "c"_a.none())
        .def("select", &Stepper::select)
        .def("reset", &Stepper::reset, "rows"_a.none())
        .def("resize", &Stepper::resize);
    module.def("project", &py_project);
    module.def("project_width", [](nb::handle packed) {
        const Packed& p = *packed_layer(packed).packed;
        return p.cell.w_slots * padded(p.units);
    });
}

}  // namespace gatework::recurrent
