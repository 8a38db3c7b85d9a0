// The extension module: one call for each file of bindings.
#include <pybind11/pybind11.h>

#include "calls.h"
#include "instances.h"
#include "stop.h"
#include "unlocked.h"

namespace py = pybind11;

void bind_stop(py::module_& m);
void bind_cpu(py::module_& m);
void bind_machine(py::module_& m);
void bind_ops(py::module_& m);
void bind_attention(py::module_& m);
void bind_within(py::module_& m);
void bind_dequantise(py::module_& m);
void bind_program(py::module_& m);
void bind_sampling(py::module_& m);
void bind_bpe(py::module_& m);

// Without it, pickle's oldest protocols would make an object of pybind11's base class, which ends the process.
void refuse_pickle(const py::object& bound) {
  bound.attr("__reduce__") = py::cpp_function(
      [](const py::object& self) -> py::object {
        throw py::type_error("pickle: " + nextword::bindings::type_name(self) +
                             " holds memory of its process; pickle a Tokenizer or a LanguageModel");
      },
      py::name("__reduce__"), py::is_method(bound));
}

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of nextword. Use nextword.ops, nextword.cpu and nextword.Tokenizer.";
  m.attr("__version__") = NEXTWORD_VERSION;
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const nextword::bindings::Interrupted&) {  // Python's error is set
    } catch (const nextword::bindings::Stopped&) {
      nextword::bindings::raise_stopped();
    }
  });
  bind_stop(m);
  bind_cpu(m);
  bind_machine(m);
  bind_ops(m);
  bind_attention(m);
  bind_within(m);
  bind_dequantise(m);
  bind_program(m);
  bind_sampling(m);
  bind_bpe(m);
  for (const char* name : {"Packed", "Program", "Stop", "PieceCounts", "Bpe"}) refuse_pickle(m.attr(name));
  word_call_errors(m);  // of all of them: stays last
}
