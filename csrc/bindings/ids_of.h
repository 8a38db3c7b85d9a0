// Token ids from Python: the one place that words the errors about them.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "instances.h"
#include "text/bpe_vocabulary.h"
#include "unlocked.h"

namespace nextword {

namespace py = pybind11;

[[noreturn]] inline void no_such_id(const char* operation, const Vocabulary& vocabulary, PyObject* number) {
  PyObject* const text = PyObject_Str(number);
  PyErr_Clear();  // Python writes no number of more than 4300 digits
  const auto owned = py::reinterpret_steal<py::object>(text);
  const std::string id = text ? shown(std::string(py::str(owned))) : "of thousands of digits";
  throw std::out_of_range(std::string(operation) + ": id " + id + " is not in the vocabulary, whose ids are 0 to " +
                          std::to_string(vocabulary.size() - 1));
}

inline uint32_t id_of(const char* operation, const Vocabulary& vocabulary, PyObject* number) {
  if (!PyLong_Check(number)) {
    PyObject* index = PyNumber_Index(number);  // numpy's integers
    if (!index) {
      if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
      PyErr_Clear();
      throw py::type_error(std::string(operation) + ": ids must be int, got " + bindings::type_name(number));
    }
    const auto owned = py::reinterpret_steal<py::object>(index);
    return id_of(operation, vocabulary, index);
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
  if (overflow || value < 0 || value >= static_cast<long long>(vocabulary.size()) || !vocabulary.has(static_cast<uint32_t>(value))) {
    no_such_id(operation, vocabulary, number);
  }
  return static_cast<uint32_t>(value);
}

// A small int without a call, where this Python has a way to ask; -1 where it is none.
inline int64_t small_int(PyObject* number) {
#if PY_VERSION_HEX >= 0x030C0000
  auto* value = reinterpret_cast<PyLongObject*>(number);
  return PyLong_CheckExact(number) && PyUnstable_Long_IsCompact(value) ? PyUnstable_Long_CompactValue(value) : -1;
#elif PY_VERSION_HEX >= 0x030B0000
  const Py_ssize_t digits = Py_SIZE(number);
  if (!PyLong_CheckExact(number) || digits < 0 || digits > 1) return -1;
  return digits == 0 ? 0 : reinterpret_cast<PyLongObject*>(number)->ob_digit[0];
#else
  (void)number;
  return -1;
#endif
}

// The ids of a Python sequence, all of them in the vocabulary. Reading an object's number, or a signal's handler, may run
// Python code, which may change a list: RuntimeError where that changes its length.
inline std::vector<uint32_t> ids_of(const char* operation, const Vocabulary& vocabulary, PyObject* ids) {
  PyObject* fast = PyUnicode_Check(ids) || PyBytes_Check(ids) ? nullptr : PySequence_Fast(ids, "");
  if (!fast) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    throw py::type_error(std::string(operation) + ": ids must be a sequence of int, got " + bindings::type_name(ids));
  }
  const auto owned = py::reinterpret_steal<py::object>(fast);
  PyObject** items = PySequence_Fast_ITEMS(fast);
  std::vector<uint32_t> out(static_cast<size_t>(PySequence_Fast_GET_SIZE(fast)));
  const auto after_python_code = [&] {
    if (static_cast<size_t>(PySequence_Fast_GET_SIZE(fast)) != out.size()) {
      throw std::runtime_error(std::string(operation) + ": ids changed their length while they were read");
    }
    items = PySequence_Fast_ITEMS(fast);
  };
  constexpr size_t between_checks = size_t{1} << 18;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i % between_checks == between_checks - 1) {
      if (PyErr_CheckSignals()) throw bindings::Interrupted();
      after_python_code();
    }
    const int64_t id = small_int(items[i]);
    if (id >= 0 && vocabulary.has(static_cast<uint32_t>(id))) {
      out[i] = static_cast<uint32_t>(id);
      continue;
    }
    const auto item = py::reinterpret_borrow<py::object>(items[i]);
    out[i] = id_of(operation, vocabulary, item.ptr());
    after_python_code();
  }
  return out;
}

}  // namespace nextword
