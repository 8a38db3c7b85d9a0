// How fast this machine is, for Python; nextword/machine.py documents it.
#include "machine.h"

#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_machine(py::module_& m) {
  using unlocked = py::call_guard<py::gil_scoped_release>;  // for tenths of a second; nothing of Python's is used
  m.def("read_bandwidth", &nextword::read_bandwidth, py::arg("size"), py::arg("seconds"), unlocked());
  m.def("multiply_add_rate", &nextword::multiply_add_rate, py::arg("seconds"), unlocked());
}
