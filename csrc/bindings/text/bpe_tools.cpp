// _core's functions around Bpe: splitting alone, for tests and for nextword tokenize.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "text.h"
#include "text/bpe_cpu.h"
#include "text/bpe_files.h"
#include "text/pretokenize.h"
#include "text/unicode_chars.h"

namespace py = pybind11;
using namespace nextword;

namespace {

// The pieces of a text by the splitter that encoding uses.
py::list pieces(Pattern pattern, PyObject* text) {
  TextBuffer buffer;
  const std::string_view view = Text("pieces", text).utf8(buffer);
  const auto* begin = reinterpret_cast<const uint8_t*>(view.data());
  Splitter splitter(pattern, begin, begin + view.size());
  uint32_t ends[Splitter::room], at = 0;
  py::list out;
  while (const size_t count = splitter.next(ends)) {
    for (size_t i = 0; i < count; at = ends[i++]) out.append(py::bytes(view.data() + at, ends[i] - at));
  }
  return out;
}

// The same one character at a time: the definition that the splitter is tested against.
py::list pieces_scanned(const std::string& pattern, PyObject* text) {
  TextBuffer buffer;
  const std::string_view view = Text("pieces_scanned", text).utf8(buffer);
  const auto* p = reinterpret_cast<const uint8_t*>(view.data());
  const auto* end = p + view.size();
  py::list out;
  while (p < end) {
    const auto* q = piece_end(pattern_named(pattern), p, end);
    out.append(py::bytes(reinterpret_cast<const char*>(p), static_cast<size_t>(q - p)));
    p = q;
  }
  return out;
}

}  // namespace

void bind_bpe_tools(py::module_& m) {
  m.attr("unicode_version") = unicode_version;
  m.def(
      "unicode_classes",
      [] {
        std::string out;
        for (uint32_t code = 0; code < 0x110000; ++code) out += static_cast<char>(class_of(code));
        return py::bytes(out);
      },
      "The class of every code point, as csrc/text/unicode_tables.h numbers them.");
  m.def(
      "pieces", [](const std::string& pattern, const py::object& text) { return pieces(pattern_named(pattern), text.ptr()); },
      py::arg("pattern"), py::arg("text"), "The pieces that a splitting pattern ('gpt2', 'cl100k', 'o200k') cuts text into.");
  m.def(
      "pieces_scanned", [](const std::string& pattern, const py::object& text) { return pieces_scanned(pattern, text.ptr()); },
      py::arg("pattern"), py::arg("text"));
  m.def("byte_blocks_variants", [] {
    std::vector<std::string> names;
    for (const auto& variant : byte_blocks_variants()) names.push_back(variant.first);
    return names;
  });
  m.def("set_byte_blocks", &set_byte_blocks, py::arg("variant"), "For tests: the variant of byte_blocks.h.");
  m.def(
      "use_special_instructions", [](bool allowed) { special_instructions = allowed; }, py::arg("allowed"),
      "For tests: whether tokenizers made from now on use instructions that not every CPU of its kind has.");
  m.def(
      "check_utf8", [](const py::bytes& text, const std::string& file) { check_utf8(std::string_view(text), shown(file, 200)); },
      py::arg("text"), py::arg("file"));
}
