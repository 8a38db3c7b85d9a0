// How fast this machine is, for Python; nextword/speed.py documents it.
#include "machine/speed.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "arithmetic/streaming.h"
#include "bindings/arithmetic/dtypes.h"
#include "bindings/unlocked.h"

namespace py = pybind11;
using namespace nextword;
using bindings::Unlocked;

void bind_machine(py::module_& m) {
  m.def("read_bandwidth", [](int64_t size, double seconds) {
    const Unlocked unlocked(Unlocked::long_work);
    return read_bandwidth(size, seconds);
  }, py::arg("size"), py::arg("seconds"));
  m.def("multiply_add_rate", [](double seconds, const std::string& dtype) {
    const Dtype format = bindings::dtype_of("multiply_add_rate", dtype);
    const Unlocked unlocked(Unlocked::long_work);
    return multiply_add_rate(seconds, format);
  }, py::arg("seconds"), py::arg("dtype"));
  m.def("streaming_trial", [] {
    Trial found;
    {
      const Unlocked unlocked;  // it may take milliseconds
      found = streaming_trial();
    }
    return py::make_tuple(found.past, found.through, found.allows());
  });
  m.def("streaming", [] {
    const Streaming how = streaming();
    return how == Streaming::tried ? std::nullopt : std::optional(how == Streaming::on);
  });
  m.def("set_streaming", [](std::optional<bool> on) {
    set_streaming(!on ? Streaming::tried : *on ? Streaming::on : Streaming::off);
  }, py::arg("on"));
}
