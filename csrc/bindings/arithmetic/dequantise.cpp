// Blocks of GGUF files for Python: sizes checked, views taken, the lock released. nextword/arithmetic/blocks.py documents it.
#include "arithmetic/dequantise.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "bindings/arrays.h"
#include "bindings/unlocked.h"
#include "machine/shown.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

const BlockKind& kind_of(const std::string& name) {
  std::string known;
  for (const BlockKind* kind = block_kinds; kind->name; ++kind) {
    if (name == kind->name) return *kind;
    known += (known.empty() ? "" : ", ") + std::string(kind->name);
  }
  throw std::invalid_argument("dequantise: kind must be one of " + known + ", got '" + shown(name) + "'");
}

}  // namespace

void bind_dequantise(py::module_& m) {
  m.def("dequantise", [](const py::object& data, const std::string& name, int64_t rows, int64_t cols) {
    const BlockKind& kind = kind_of(name);
    constexpr int64_t most = int64_t{1} << 31;
    if (rows < 0 || rows >= most || cols < 0 || cols >= most || cols % kind.numbers)
      throw std::invalid_argument("dequantise: rows and cols must be 0 .. 2^31 - 1, and cols a multiple of " +
                                  std::to_string(kind.numbers) + " in " + kind.name + ", got [" + std::to_string(rows) +
                                  ", " + std::to_string(cols) + "]");
    const int64_t count = rows * (cols / kind.numbers);
    if (count > (int64_t{1} << 60) / kind.bytes)
      throw std::invalid_argument("dequantise: rows and cols must be of a matrix that memory holds, got [" +
                                  std::to_string(rows) + ", " + std::to_string(cols) + "]");
    const auto a = array<uint8_t>("dequantise", "data", data, {count * kind.bytes});
    auto out = empty({rows, cols});
    const auto* const from = static_cast<const uint8_t*>(a.data());
    float* const to = out.mutable_data();
    const Unlocked unlocked(rows * cols);  // below this line only views are used
    dequantise(from, kind, count, to);
    return out;
  }, py::arg("data"), py::arg("kind"), py::arg("rows"), py::arg("cols"));
}
