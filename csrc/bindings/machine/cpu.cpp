// Instruction sets and threads for Python; nextword/cpu.py documents them.
#include "machine/cpu.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "machine/parallel.h"

namespace py = pybind11;

void bind_cpu(py::module_& m) {
  m.def("variants", &nextword::variants);
  m.def("compiled", &nextword::compiled);
  m.def("isa", [] { return nextword::kernels().isa; });
  m.def("set_isa", &nextword::set_isa, py::arg("name"));
  m.def("features", [] {
    py::dict all;
    for (const auto& [name, present] : nextword::features()) all[py::str(name)] = present;
    return all;
  });
  m.def("last_level_cache", &nextword::last_level_cache);
  m.def("set_last_level_cache", &nextword::set_last_level_cache, py::arg("bytes"));
  m.def("openmp", &nextword::has_openmp);
  m.def("processors", &nextword::processors);
  m.def("threads", &nextword::thread_count);
  m.def("thread_limit", &nextword::thread_limit);
  m.def("set_threads", &nextword::set_thread_count, py::arg("count"));
}
