// Added tokens, normalisers and allowed_special between Python and C++.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/instances.h"
#include "machine/shown.h"
#include "text/bert_form.h"
#include "text/bpe_added.h"
#include "text/rewrite.h"

namespace nextword {

namespace py = pybind11;

// As tuples in the order of nextword.text.tokenizer.AddedToken.
using AddedFields = std::tuple<std::string, uint32_t, bool, bool, bool, bool, bool>;

inline std::vector<AddedFields> added_fields(const std::vector<AddedToken>& tokens) {
  std::vector<AddedFields> out;
  for (const AddedToken& t : tokens) out.emplace_back(t.content, t.id, t.special, t.lstrip, t.rstrip, t.single_word, t.normalized);
  return out;
}

inline std::vector<AddedToken> added_tokens(const std::vector<AddedFields>& fields) {
  std::vector<AddedToken> out;
  for (const auto& [content, id, special, lstrip, rstrip, single_word, normalized] : fields) {
    out.push_back({content, id, special, lstrip, rstrip, single_word, normalized});
  }
  return out;
}

// By place in Vocabulary::added(). allowed: "all", or an iterable of names of special tokens.
inline std::vector<bool> allowed_special(const Vocabulary& vocabulary, py::handle allowed) {
  const auto& known = vocabulary.added();
  const auto must_be = [](py::handle got) {
    return py::type_error("encode: allowed_special must be \"all\" or a collection of str, got " + bindings::type_name(got));
  };
  const auto utf8 = [&](py::handle text) {
    if (!PyUnicode_Check(text.ptr())) throw must_be(text);
    Py_ssize_t size = 0;
    const char* const data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
    PyErr_Clear();
    return data ? std::string(data, static_cast<size_t>(size)) : std::string("\xff");  // a lone surrogate is in no name
  };
  if (py::isinstance<py::str>(allowed)) {
    const auto text = utf8(allowed);
    if (text != "all") {
      throw std::invalid_argument("encode: allowed_special must be \"all\" or a collection of names, got the text '" +
                                  shown(text) + "'; write ['" + shown(text) + "']");
    }
    return std::vector<bool>(known.size(), true);
  }
  if (!py::isinstance<py::iterable>(allowed)) throw must_be(allowed);
  std::vector<bool> out;
  for (const py::handle item : py::iter(allowed)) {
    const auto name = utf8(item);
    size_t i = 0;
    while (i < known.size() && !(known[i].special && known[i].content == name)) ++i;
    if (i == known.size()) {
      std::string names;
      for (const AddedToken& token : known) {
        if (token.special) names += (names.empty() ? "" : ", ") + token.content;
      }
      throw std::invalid_argument("encode: allowed_special names '" + shown(name) + "', which is no special token; there are: " +
                                  (names.empty() ? "none" : shown(names, 120)));
    }
    out.resize(known.size());
    out[i] = true;
  }
  return out;
}

// What nextword.text.normalizer.Normalizer does, for C++. Whoever encodes with it has the interpreter lock.
inline Normalize python_step(const py::object& from) {
  return [from](std::string_view text, bool with_steps) {
    const py::object found = from(py::str(text.data(), text.size()), with_steps);
    const auto [changed, steps] = found.cast<std::pair<std::string, std::vector<std::tuple<size_t, size_t, bool>>>>();
    Normalized out;
    out.text = changed;
    for (const auto& [normalized, original, same] : steps) out.steps.push_back({normalized, original, same});
    return out;
  };
}

// A step as nextword.text.normalizer.core_steps names it.
inline Normalize core_step(const std::string& kind, const std::vector<std::string>& arguments) {
  const auto is = [&](const char* name, size_t count) { return kind == name && arguments.size() == count; };
  const auto flag = [&](size_t i) { return arguments[i] == "true"; };
  const auto rules = [&](size_t i) { return arguments[i].empty() ? nullptr : std::make_shared<const CharsMap>(arguments[i]); };
  if (is("Prepend", 1)) return prepended(arguments[0]);
  if (is("Replace", 2)) return replaced(arguments[0], arguments[1]);
  if (is("Blanks", 0)) return blanks();
  if (is("Collapse", 1)) return collapsed(arguments[0]);
  if (is("Words", 0)) return words();
  if (is("Spaced", 0)) return spaced();
  if (is("Strip", 2)) return stripped(flag(0), flag(1));
  if (is("Precompiled", 1)) return mapped(rules(0));
  if (is("Bert", 4)) return bert_form({flag(0), flag(1), flag(2), flag(3)});
  if (kind == "SentencePiece" && arguments.size() >= 3) {
    SentencePieceForm form{rules(0), {}, flag(1), flag(2)};
    for (size_t i = 3; i < arguments.size(); ++i) form.kept.add(arguments[i], 0);
    return sentencepiece_form(std::move(form));
  }
  throw std::invalid_argument("Tokenizer: no step of a normaliser is called '" + shown(kind) + "'");
}

// Steps one after the other: a Python function, or a tuple of a name and its arguments.
inline void set_normalizer(const py::list& from, TextRules& rules) {
  std::vector<Normalize> steps;
  for (const py::handle step : from) {
    const bool is_python = !py::isinstance<py::tuple>(step);
    rules.asks_python = rules.asks_python || is_python;
    if (is_python) {
      steps.push_back(python_step(py::reinterpret_borrow<py::object>(step)));
      continue;
    }
    auto words = step.cast<std::vector<std::string>>();
    if (words.empty()) throw std::invalid_argument("Tokenizer: a step of a normaliser has no name");
    rules.parts_words = rules.parts_words || words[0] == "Words";
    rules.normalizes_contents = rules.normalizes_contents && words[0] != "SentencePiece";
    steps.push_back(core_step(words[0], {words.begin() + 1, words.end()}));
  }
  if (!steps.empty()) rules.normalize = in_turn(std::move(steps));
}

}  // namespace nextword

namespace pybind11::detail {
template <>
class type_caster<nextword::VocabularySource> : public nextword::bindings::initialised_caster<nextword::VocabularySource> {};
}  // namespace pybind11::detail
