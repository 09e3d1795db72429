// The extension gatework._native. Each operation registers itself; nothing is computed here.

#include <nanobind/nanobind.h>

namespace gatework::crf {
void bind(nanobind::module_& module);
}

namespace gatework::decode {
void bind(nanobind::module_& module);
}

namespace gatework::generate {
void bind(nanobind::module_& module);
}

namespace gatework::recurrent {
void bind(nanobind::module_& module);
}

namespace gatework::text {
void bind(nanobind::module_& module);
}

namespace gatework::threads {
void bind(nanobind::module_& module);
}

NB_MODULE(_native, module) {
    module.doc() = "Compiled kernels of Gatework. Use gatework.kernels.";
    gatework::recurrent::bind(module);
    gatework::text::bind(module);
    gatework::threads::bind(module);
    gatework::crf::bind(module);
    gatework::generate::bind(module);
    gatework::decode::bind(module);
}
