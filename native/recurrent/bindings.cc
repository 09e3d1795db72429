#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
namespace gatework::recurrent {
void bind(nanobind::module_& module) { module.def("levels", []() { return std::vector<std::string>{}; }); }
}
