// How fast this machine is, for Python; nextword/machine.py documents it.
#include "machine.h"

#include <pybind11/pybind11.h>

#include "unlocked.h"

namespace py = pybind11;

using nextword::bindings::Unlocked;

void bind_machine(py::module_& m) {
  m.def("read_bandwidth", [](int64_t size, double seconds) {
    const Unlocked unlocked(Unlocked::long_work);
    return nextword::read_bandwidth(size, seconds);
  }, py::arg("size"), py::arg("seconds"));
  m.def("multiply_add_rate", [](double seconds) {
    const Unlocked unlocked(Unlocked::long_work);
    return nextword::multiply_add_rate(seconds);
  }, py::arg("seconds"));
}
