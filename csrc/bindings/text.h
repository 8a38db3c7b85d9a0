// The text of a Python str for C++: the one place that words the errors about it.
#pragma once
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

#include "raw_buffer.h"
#include "utf8.h"

namespace nextword {

namespace py = pybind11;

// A str, whose UTF-8 is made for the time of a call where the str does not have it: Python makes it several times slower
// and keeps it as long as the str. The str outlives this.
class Text {
 public:
  Text(const char* operation, PyObject* text) : operation_(operation) {
    if (!PyUnicode_Check(text)) {
      throw py::type_error(std::string(operation) + ": text must be str, got " + Py_TYPE(text)->tp_name);
    }
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(text) < 0) throw py::error_already_set();
#endif
    const auto* compact = reinterpret_cast<PyCompactUnicodeObject*>(text);
    if (PyUnicode_IS_ASCII(text)) {
      data_ = PyUnicode_DATA(text), size_ = static_cast<size_t>(PyUnicode_GET_LENGTH(text));
    } else if (compact->utf8) {
      data_ = compact->utf8, size_ = static_cast<size_t>(compact->utf8_length);
    } else {
      data_ = PyUnicode_DATA(text), size_ = static_cast<size_t>(PyUnicode_GET_LENGTH(text)), unit_ = PyUnicode_KIND(text);
    }
  }

  size_t size() const { return size_; }  // in bytes or characters

  // The UTF-8, maybe in `buffer`, whose content is lost. Needs no interpreter lock.
  std::string_view utf8(TextBuffer& buffer) const {
    switch (unit_) {
      case 0: return {static_cast<const char*>(data_), size_};
      case 1: return made<uint8_t>(buffer);
      case 2: return made<uint16_t>(buffer);
      default: return made<uint32_t>(buffer);
    }
  }

 private:
  template <class Unit>
  std::string_view made(TextBuffer& buffer) const {
    constexpr size_t step = size_t{1} << 16;  // characters: room is made for so many that take all the bytes they may
    const auto* text = static_cast<const Unit*>(data_);
    buffer.clear();
    for (size_t at = 0; at < size_; at += step) {
      const size_t count = std::min(step, size_ - at);
      size_t done = 0;
      char* const out = buffer.reserve(count * utf8_per_unit(sizeof(Unit)));
      const char* const end = write_utf8(text + at, count, out, done);
      if (done < count) lone_surrogate(static_cast<unsigned>(text[at + done]), at + done);
      buffer.resize(buffer.size() + static_cast<size_t>(end - out));
    }
    return {buffer.data(), buffer.size()};
  }

  [[noreturn]] void lone_surrogate(unsigned unit, size_t at) const {
    char code[8];
    std::snprintf(code, sizeof code, "U+%04X", unit & 0xFFFF);
    throw std::invalid_argument(std::string(operation_) + ": text holds the lone surrogate " + code + " at index " +
                                std::to_string(at) + ", which is no character and has no UTF-8; replace it, for example by " +
                                "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')");
  }

  const char* operation_;
  const void* data_;
  size_t size_;
  unsigned unit_ = 0;  // bytes of a character; 0: this is UTF-8
};

}  // namespace nextword
