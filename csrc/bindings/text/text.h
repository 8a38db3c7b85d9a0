// The text of a Python str for C++: the one place that words the errors about it.
#pragma once
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bindings/instances.h"
#include "machine/interrupt.h"
#include "text/raw_buffer.h"
#include "text/utf8.h"

namespace nextword {

namespace py = pybind11;

// A str, whose UTF-8 is made for the time of a call where the str does not have it: Python makes it several times slower
// and keeps it as long as the str. The str outlives this.
class Text {
 public:
  Text(const char* operation, PyObject* text) : operation_(operation) {
    if (!PyUnicode_Check(text)) {
      throw py::type_error(std::string(operation) + ": text must be str, got " + bindings::type_name(text));
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
    if (unit_ == 0) return {static_cast<const char*>(data_), size_};
    buffer.clear();
    by_unit([&](const auto* text) { append(text, 0, size_, buffer); });
    return {buffer.data(), buffer.size()};
  }

  // The same in parts that are made one after the other, in memory that stays in the cache: use(part) for each. Their
  // tokens are those of the whole text. A text is parted between a letter and a blank before another letter: whatever the
  // splitting pattern, a piece ends there and would without what follows.
  template <class Use>
  void each_part(TextBuffer& buffer, const Use& use) const {
    if (unit_ == 0) return use(utf8(buffer));
    by_unit([&](const auto* text) {
      for (size_t at = 0; at < size_;) {
        const size_t end = part_end(text, at);
        buffer.clear();
        append(text, at, end, buffer);
        use(std::string_view(buffer.data(), buffer.size()));
        at = end;
      }
    });
  }

 private:
  static constexpr size_t step = size_t{1} << 16;  // characters of a part, where that can be

  template <class Work>
  void by_unit(const Work& work) const {
    if (unit_ == 1) return work(static_cast<const uint8_t*>(data_));
    if (unit_ == 2) return work(static_cast<const uint16_t*>(data_));
    work(static_cast<const uint32_t*>(data_));
  }

  template <class Unit>
  size_t part_end(const Unit* text, size_t at) const {
    const auto letter = [](Unit c) { return (c | 0x20u) - 'a' < 26u; };
    for (size_t end = at + step; end + 1 < size_; ++end) {
      if (text[end] == ' ' && letter(text[end - 1]) && letter(text[end + 1])) return end;
    }
    return size_;
  }

  template <class Unit>
  void append(const Unit* text, size_t at, size_t end, TextBuffer& buffer) const {
    while (at < end) {
      check_interrupt();
      const size_t count = std::min(step, end - at);  // room is made for so many that take all the bytes they may
      size_t done = 0;
      char* const out = buffer.reserve(count * utf8_per_unit(sizeof(Unit)));
      const char* const out_end = write_utf8(text + at, count, out, done);
      buffer.resize(buffer.size() + static_cast<size_t>(out_end - out));
      at += done;
      if (done < count) {
        append_pair(text, at, buffer);
        at += 2;
      }
    }
  }

  // The character of the surrogate pair at `at`, which strings from UTF-16 may hold in the place of it.
  template <class Unit>
  void append_pair(const Unit* text, size_t at, TextBuffer& buffer) const {
    const uint32_t high = text[at], low = at + 1 < size_ ? text[at + 1] : 0;
    if (high >= 0xDC00 || low - 0xDC00 >= 0x400) lone_surrogate(high, at);
    const uint32_t code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    char* const out = buffer.reserve(4);
    size_t done = 0;
    buffer.resize(buffer.size() + static_cast<size_t>(write_utf8(&code, 1, out, done) - out));
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
