// What the files of Python bindings share.

#pragma once

#include <nanobind/nanobind.h>

#include "recurrent/recurrent.h"

namespace gatework::recurrent {

// The weights behind a Python object `Packed`, which must outlive them. Throws nanobind::cast_error for another object.
struct PackedLayer {
    const Packed* packed;
    const Kernels* kernels;
};
PackedLayer packed_layer(nanobind::handle weights);

void bind_step(nanobind::module_& module);
void bind_sentence(nanobind::module_& module);

}  // namespace gatework::recurrent
