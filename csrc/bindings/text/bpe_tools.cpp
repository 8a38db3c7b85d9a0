// _core's functions around Bpe: reading vocabulary files, and splitting alone, for tests and for nextword tokenize.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bpe_rules.h"
#include "bpe_state.h"
#include "text.h"
#include "text/bpe_cpu.h"
#include "text/bpe_files.h"
#include "text/bpe_join.h"
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
  m.def("source_of", &source_of, py::arg("state"), "The VocabularySource of a pickle.");
  py::class_<VocabularySource>(m, "VocabularySource", "A vocabulary file as it was read, to make a Bpe of.")
      .def("__reduce__",
           [](const VocabularySource& self) {
             return py::make_tuple(py::module_::import("nextword._core").attr("source_of"), py::make_tuple(state_of(self)));
           })
      .def_readonly("settings", &VocabularySource::settings)
      .def_readonly("tokens_file", &VocabularySource::tokens_file)
      .def_readwrite("unknown", &VocabularySource::unknown)
      .def_property(
          "added_tokens", [](const VocabularySource& self) { return added_fields(self.added); },
          [](VocabularySource& self, const std::vector<AddedFields>& fields) { self.added = added_tokens(fields); })
      .def_readwrite("whole_pieces", &VocabularySource::whole_pieces)
      .def_property_readonly("has_all_bytes", &has_all_bytes)
      .def_property_readonly("next_id",  // above all that a token has
                             [](const VocabularySource& self) {
                               uint32_t next = 0;
                               for (const auto& token : self.tokens) next = std::max(next, token.id + 1);
                               return next;
                             })
      .def(
          "ids_of",
          [](const VocabularySource& self, const std::vector<std::string>& names) {
            std::vector<std::optional<uint32_t>> out;
            for (const uint32_t id : ids_of(self, names)) out.push_back(id == no_token ? std::nullopt : std::optional(id));
            return out;
          },
          py::arg("names"))
      .def("names_of", &names_of, py::arg("ids"));
  m.def("read_vocab_and_merges", &read_vocab_and_merges, py::arg("vocab_path"), py::arg("merges_path"));
  m.def("join_vocabularies", &join, py::arg("source"), py::arg("other"),
        "ValueError where two descriptions of one vocabulary differ; source gets what only other has.");
  m.def("read_ranks", &read_ranks, py::arg("path"));
  m.def("read_tokenizer_json", &read_tokenizer_json, py::arg("path"));
}
