// The recurrent matrix of a layer as a bundle stores it, in 8 bits with a scale a row: see `SingleStep::wide`.

#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "buffers.h"
#include "recurrent/bindings.h"
#include "view.h"

namespace gatework::recurrent {

struct Wide {
    Buffer buffer;
    Matrix matrix;

    // levels: int8 (gates x H, P), scales: float32 (gates x H).
    Wide(const PackedLayer& layer, nanobind::handle levels, nanobind::handle scales) {
        const Packed& p = *layer.packed;
        const std::int64_t rows = p.cell.gates * p.units;
        Views views;
        const View& view = views.add(levels, 'b', false);
        require(view.ndim() == 2 && view.contiguous() && view.shape(0) == rows && view.shape(1) == p.outputs,
                "a table of R has the wrong shape");
        const float* factors = views.floats(scales, std::initializer_list<std::int64_t>{rows}, false);
        buffer.reserve(layer.kernels->step.wide_bytes(p));
        layer.kernels->step.pack_wide(p, static_cast<const std::int8_t*>(view.data()), factors, buffer.bytes(), matrix);
    }
};

}  // namespace gatework::recurrent
