// The extension module: one call for each file of bindings.
#include <pybind11/pybind11.h>

#include "calls.h"
#include "unlocked.h"

namespace py = pybind11;

void bind_cpu(py::module_& m);
void bind_machine(py::module_& m);
void bind_ops(py::module_& m);
void bind_attention(py::module_& m);
void bind_network(py::module_& m);
void bind_sampling(py::module_& m);
void bind_bpe(py::module_& m);

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of nextword. Use nextword.ops, nextword.cpu and nextword.Tokenizer.";
  m.attr("__version__") = NEXTWORD_VERSION;
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const nextword::bindings::Interrupted&) {  // Python's error is set
    }
  });
  bind_cpu(m);
  bind_machine(m);
  bind_ops(m);
  bind_attention(m);
  bind_network(m);
  bind_sampling(m);
  bind_bpe(m);
  word_call_errors(m);  // of all of them: stays last
}
