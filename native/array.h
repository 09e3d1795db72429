// NumPy's arrays as they lie in memory: a few nanoseconds each, where the buffer protocol takes tens.

#pragma once

#include <Python.h>

#include <cstdint>

namespace gatework {

// The head of every NumPy array. Extensions compiled against NumPy read these fields in place, so they stay where they are;
// `Arrays` checks it all the same before it trusts them.
struct ArrayHead {
    PyObject_HEAD
    char* data;
    int ndim;
    Py_ssize_t* shape;
    Py_ssize_t* strides;
    PyObject* base;
    PyObject* dtype;
    int flags;
};

// Rows of a float32 matrix, or a vector as its one row.
struct Matrix32 {
    char* data = nullptr;
    std::int64_t stride = 0;  // bytes

    float* row(std::int64_t r) const { return reinterpret_cast<float*>(data + r * stride); }
};

class Arrays {
public:
    // From any float32 NumPy array; NULL for `sample` reads everything through the buffer protocol.
    explicit Arrays(PyObject* sample) {
        if (!sample) return;
        Py_buffer buffer;
        if (PyObject_GetBuffer(sample, &buffer, PyBUF_STRIDES) != 0) {
            PyErr_Clear();
            return;
        }
        const ArrayHead& head = *reinterpret_cast<ArrayHead*>(sample);
        const bool same = Py_TYPE(sample)->tp_basicsize >= (Py_ssize_t)sizeof(ArrayHead) && head.data == buffer.buf &&
                          head.ndim == 2 && buffer.ndim == 2 && head.shape[0] == buffer.shape[0] &&
                          head.shape[1] == buffer.shape[1] && head.strides[0] == buffer.strides[0] &&
                          head.strides[1] == buffer.strides[1] && (head.flags & kReady) == kReady;
        PyBuffer_Release(&buffer);
        if (!same) return;
        type_ = Py_TYPE(sample);
        dtype_ = head.dtype;
        Py_INCREF(dtype_);
    }
    Arrays(const Arrays&) = delete;
    Arrays& operator=(const Arrays&) = delete;
    ~Arrays() { Py_XDECREF(dtype_); }

    // A (rows, width) matrix, or a (width) vector where rows is 1; the last axis contiguous. False with no Python error
    // where it is none. The pointer is good as long as the caller holds the array.
    bool read(PyObject* array, std::int64_t rows, std::int64_t width, bool writable, Matrix32& out) const {
        if (Py_TYPE(array) != type_) return read_buffer(array, rows, width, writable, out);
        const ArrayHead& head = *reinterpret_cast<const ArrayHead*>(array);
        const int wanted = writable ? kAligned | kWriteable : kAligned;
        if (head.dtype != dtype_ || (head.flags & wanted) != wanted) return read_buffer(array, rows, width, writable, out);
        return fits(head.data, head.ndim, head.shape, head.strides, rows, width, out);
    }

private:
    static constexpr int kAligned = 0x100, kWriteable = 0x400, kReady = kAligned | kWriteable;

    static bool fits(char* data, int ndim, const Py_ssize_t* shape, const Py_ssize_t* strides, std::int64_t rows,
                     std::int64_t width, Matrix32& out) {
        const int last = ndim - 1;
        if (!(ndim == 2 ? shape[0] == rows : ndim == 1 && rows == 1) || shape[last] != width) return false;
        if (strides[last] != 4 && width != 1) return false;
        out.data = data;
        out.stride = ndim == 2 ? strides[0] : 0;
        return true;
    }
    static bool read_buffer(PyObject* array, std::int64_t rows, std::int64_t width, bool writable, Matrix32& out) {
        Py_buffer buffer;
        if (PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) != 0) {
            PyErr_Clear();
            return false;
        }
        // An exporter keeps its memory where it is while the object lives and is not resized; the caller holds it.
        bool good = buffer.format && buffer.format[0] == 'f' && !buffer.format[1] && (std::uintptr_t)buffer.buf % 4 == 0;
        for (int axis = 0; axis < buffer.ndim; ++axis) good = good && buffer.strides[axis] % 4 == 0;
        good = good && fits(static_cast<char*>(buffer.buf), buffer.ndim, buffer.shape, buffer.strides, rows, width, out);
        PyBuffer_Release(&buffer);
        return good;
    }

    PyTypeObject* type_ = nullptr;
    PyObject* dtype_ = nullptr;
};

}  // namespace gatework
