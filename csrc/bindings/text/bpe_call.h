// The arguments of a call that encodes a text, taken from a METH_FASTCALL call: pybind11's way costs as much as the work.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "bpe_rules.h"

namespace nextword {

namespace py = pybind11;

// (text, *, allowed_special=(), add_special_tokens=True)
struct Call {
  PyObject* text;
  PyObject* allowed = nullptr;  // where the caller did not say
  bool whole = true;            // add_special_tokens

  Call(const char* operation, PyObject* const* args, Py_ssize_t count, PyObject* names) : text(count > 0 ? args[0] : nullptr) {
    bool good = count <= 1;
    for (Py_ssize_t i = 0; good && names && i < PyTuple_GET_SIZE(names); ++i) {
      PyObject* name = PyTuple_GET_ITEM(names, i);
      PyObject* value = args[count + i];
      if (PyUnicode_CompareWithASCIIString(name, "allowed_special") == 0) {
        allowed = value;
      } else if (PyUnicode_CompareWithASCIIString(name, "add_special_tokens") == 0) {
        const int is_true = PyObject_IsTrue(value);
        if (is_true < 0) throw py::error_already_set();
        whole = is_true;
      } else if (!text && PyUnicode_CompareWithASCIIString(name, "text") == 0) {
        text = value;
      } else {
        good = false;
      }
    }
    if (!good || !text) {
      throw py::type_error(std::string(operation) + ": expected (text, *, allowed_special=(), add_special_tokens=True)");
    }
  }

  Request request(const Vocabulary& vocabulary) const {
    return {allowed ? allowed_special(vocabulary, allowed) : std::vector<bool>(), whole, false};
  }
};

}  // namespace nextword
