// The texts of a batch: Python's str objects, held.
#pragma once
#include <pybind11/pybind11.h>

#include <string_view>
#include <vector>

#include "bindings/unlocked.h"
#include "text.h"
#include "text/bpe.h"

namespace nextword {

// Texts as encode_batch takes them, held as long as this lives.
class HeldTexts : public Bpe::Texts {
 public:
  HeldTexts(const char* operation, const py::iterable& texts) {
    bindings::unless_ended([&] {  // a generator is Python code
      for (const py::handle text : texts) {
        texts_.emplace_back(operation, text.ptr());
        bytes_ += texts_.back().size();
        held_.push_back(py::reinterpret_borrow<py::object>(text));
        if (held_.size() % 65536 == 0 && PyErr_CheckSignals()) throw py::error_already_set();
      }
    });
  }
  size_t count() const override { return texts_.size(); }
  size_t bytes() const { return bytes_; }  // roughly
  size_t size(size_t i) const override { return texts_[i].size(); }
  std::string_view utf8(size_t i, TextBuffer& buffer) const override { return texts_[i].utf8(buffer); }

 private:
  size_t bytes_ = 0;
  std::vector<Text> texts_;
  std::vector<py::object> held_;
};

}  // namespace nextword
