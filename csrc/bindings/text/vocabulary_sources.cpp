// _core.VocabularySource: what vocabulary files hold, read or given as lists, to make a Bpe of.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bpe_rules.h"
#include "bpe_state.h"
#include "machine/shown.h"
#include "text/bpe_files.h"
#include "text/bpe_join.h"
#include "text/sentencepiece_model.h"
#include "text/token_lists.h"

namespace py = pybind11;
using namespace nextword;

namespace {

VocabularySource::Units units_named(const std::string& name) {
  if (name != "characters" && name != "unigram") throw std::invalid_argument("Tokenizer: units must be characters or unigram");
  return name == "unigram" ? VocabularySource::Units::unigram : VocabularySource::Units::characters;
}

// What Python decides about: names with their kinds and scores, and the settings.
py::dict sentencepiece_fields(const py::bytes& bytes, const std::string& file) {
  SentencePieceModel model = sentencepiece_model(std::string_view(bytes), shown(file, 4096));
  py::dict out;
  out["names"] = std::move(model.lists.names);
  out["kinds"] = std::vector<int>(model.lists.kinds.begin(), model.lists.kinds.end());
  out["scores"] = std::move(model.lists.scores);
  out["model"] = model.model;
  const auto id = [](uint32_t id) { return id == no_token ? py::object(py::none()) : py::object(py::int_(id)); };
  out["unknown"] = id(model.unknown);
  out["begin"] = id(model.begin);
  out["end"] = id(model.end);
  out["byte_fallback"] = model.byte_fallback;
  out["suffix"] = model.suffix;
  out["prefix"] = model.prefix;
  out["collapses"] = model.collapses;
  out["escapes"] = model.escapes;
  out["denormalizes"] = model.denormalizes;
  out["rules"] = py::bytes(model.rules);
  return out;
}

}  // namespace

void bind_vocabulary_sources(py::module_& m) {
  m.def("source_of", &source_of, py::arg("state"), "The VocabularySource of a pickle.");
  py::class_<VocabularySource>(m, "VocabularySource", "A vocabulary file as it was read, to make a Bpe of.")
      .def("__reduce__",
           [](const VocabularySource& self) {
             return py::make_tuple(py::module_::import("nextword._core").attr("source_of"), py::make_tuple(state_of(self)));
           })
      .def_property_readonly("begins_words", &begins_words)
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
  m.def("sentencepiece_fields", &sentencepiece_fields, py::arg("data"), py::arg("file"));
  m.def(
      "blank_source",
      [](std::vector<std::string> names, std::vector<uint8_t> kinds, std::vector<double> scores, std::vector<std::string> merges,
         const std::string& units, const std::string& unknown, bool byte_fallback, bool fuse_unknown, const std::string& file) {
        const TokenLists lists{std::move(names), std::move(kinds), std::move(scores), std::move(merges), file};
        return blank_source(lists, units_named(units), unknown, byte_fallback, fuse_unknown);
      },
      py::arg("names"), py::arg("kinds"), py::arg("scores"), py::arg("merges"), py::arg("units"), py::arg("unknown"),
      py::arg("byte_fallback"), py::arg("fuse_unknown"), py::arg("file"));
  m.def(
      "word_source",
      [](std::vector<std::string> names, std::vector<uint8_t> kinds, const std::string& unknown, const std::string& prefix,
         uint32_t longest, const std::string& file) {
        return word_source({std::move(names), std::move(kinds), {}, {}, file}, unknown, prefix, longest);
      },
      py::arg("names"), py::arg("kinds"), py::arg("unknown"), py::arg("prefix"), py::arg("longest"), py::arg("file"));
  m.def(
      "spelled_source",
      [](std::vector<std::string> names, std::vector<uint8_t> kinds, std::vector<std::string> merges, const std::string& file) {
        return spelled_source({std::move(names), std::move(kinds), {}, std::move(merges), file});
      },
      py::arg("names"), py::arg("kinds"), py::arg("merges"), py::arg("file"));
}
