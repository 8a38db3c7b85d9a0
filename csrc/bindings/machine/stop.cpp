// Stop for Python, documented at its class below, and StoppedError.
#include "bindings/stop.h"

namespace py = pybind11;
using nextword::bindings::Stop;

namespace {
PyObject* stopped = nullptr;  // the exception, as long as the process lives
}

void nextword::bindings::raise_stopped() {
  PyErr_SetString(stopped, "model: the pass was stopped; what is held of each sequence is what was held before it");
}

void bind_stop(py::module_& m) {
  stopped = PyErr_NewExceptionWithDoc("nextword.machine.stop.StoppedError", "A pass through a model was stopped by its Stop.", nullptr, nullptr);
  if (!stopped) throw py::error_already_set();
  m.attr("StoppedError") = py::handle(stopped);
  py::class_<Stop>(m, "Stop", "What any thread says so that passes of another end; nextword.machine.stop says whose.")
      .def(py::init<>())
      .def("set", [](Stop& self) { self.on = true; }, "End the pass that runs, and every one that is begun.")
      .def("clear", [](Stop& self) { self.on = false; }, "Let passes run again.")
      .def("is_set", [](const Stop& self) { return self.on.load(); }, "Whether it is set.");
}
