// Python's arrays as pointers, through the buffer protocol: a few tens of nanoseconds each, and no copies.

#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>

namespace gatework {

inline void require(bool condition, const std::string& message) {
    if (!condition) throw nanobind::value_error(message.c_str());
}
inline void require(bool condition, const char* message) {
    if (!condition) throw nanobind::value_error(message);
}

class View {
public:
    // type: 'f' float32, 'l' int64, 'i' int32, 'b' int8, 'Q' uint64, 'I' uint32, 'd' float64, 'H' uint16, 'B' uint8 or bool
    View(nanobind::handle array, char type, bool writable) {
        if (PyObject_GetBuffer(array.ptr(), &buffer_, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) != 0)
            throw nanobind::python_error();
        const char* format = buffer_.format ? buffer_.format : "B";
        const auto is = [&](Py_ssize_t size, char one, char other) {
            return buffer_.itemsize == size && (*format == one || *format == other) && !format[1];
        };
        const bool known = type == 'f'   ? is(4, 'f', 'f')
                           : type == 'l' ? is(8, 'l', 'q')
                           : type == 'i' ? is(4, 'i', 'l')
                           : type == 'b' ? is(1, 'b', 'b')
                           : type == 'Q' ? is(8, 'L', 'Q')
                           : type == 'd' ? is(8, 'd', 'd')
                           : type == 'I' ? is(4, 'I', 'L')
                           : type == 'H' ? is(2, 'H', 'H')
                                         : is(1, 'B', '?');
        if (!known) {
            PyBuffer_Release(&buffer_);
            throw nanobind::value_error("an array has the wrong type of numbers");
        }
    }
    View(const View&) = delete;
    View& operator=(const View&) = delete;
    ~View() { PyBuffer_Release(&buffer_); }

    void* data() const { return buffer_.buf; }
    int ndim() const { return buffer_.ndim; }
    std::int64_t shape(int axis) const { return buffer_.shape[axis]; }
    std::int64_t stride(int axis) const { return buffer_.strides[axis] / buffer_.itemsize; }
    bool contiguous_last() const { return buffer_.ndim > 0 && stride(buffer_.ndim - 1) == 1; }
    bool contiguous() const { return PyBuffer_IsContiguous(&buffer_, 'C'); }

private:
    Py_buffer buffer_;
};

// Views for the length of a call.
class Views {
public:
    const View& add(nanobind::handle array, char type, bool writable) { return views_.emplace_back(array, type, writable); }

    // A contiguous float32 array of this shape.
    template <class Shape>
    float* floats(nanobind::handle array, const Shape& shape, bool writable) {
        const View& view = add(array, 'f', writable);
        bool same = view.ndim() == (int)shape.size() && view.contiguous();
        int axis = 0;
        for (const std::int64_t size : shape) same = same && view.shape(axis++) == size;
        require(same, "an array has the wrong shape, or is not contiguous");
        return static_cast<float*>(view.data());
    }

private:
    std::deque<View> views_;
};

}  // namespace gatework
