// What the files of Python bindings share.

#pragma once

#include <nanobind/nanobind.h>

#include "generate/automaton.h"

namespace gatework::generate {

// The automaton behind a Python object `Automaton`, which must outlive it. Throws nanobind::cast_error for another object.
Automaton& token_automaton(nanobind::handle automaton);

}  // namespace gatework::generate
