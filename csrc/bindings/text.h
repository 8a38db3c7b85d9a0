// The text of a Python str for C++: the one place that words the errors about it.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

namespace nextword {

namespace py = pybind11;

// The UTF-8 of a str, valid as long as the str is.
inline std::string_view utf8(const char* operation, PyObject* text) {
  if (!PyUnicode_Check(text)) {
    throw py::type_error(std::string(operation) + ": text must be str, got " + Py_TYPE(text)->tp_name);
  }
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text, &size);
  if (data) return {data, static_cast<size_t>(size)};
  if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) throw py::error_already_set();
  py::error_already_set error;
  const auto at = error.value().attr("start").cast<Py_ssize_t>();
  char code[8];
  std::snprintf(code, sizeof code, "U+%04X", static_cast<unsigned>(PyUnicode_READ_CHAR(text, at)));
  throw std::invalid_argument(std::string(operation) + ": text holds the lone surrogate " + code + " at index " +
                              std::to_string(at) + ", which is no character and has no UTF-8; replace it, for example by " +
                              "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')");
}

}  // namespace nextword
