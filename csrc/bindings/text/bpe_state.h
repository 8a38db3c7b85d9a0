// A VocabularySource as bytes, for pickle.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "bpe_rules.h"

namespace nextword {

template <class Row>
py::bytes raw(const std::vector<Row>& rows) {
  static_assert(std::is_trivially_copyable_v<Row>);
  return py::bytes(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(Row));
}
template <class Row>
std::vector<Row> rows_of(const py::bytes& data) {
  const std::string_view bytes(data);
  if (bytes.size() % sizeof(Row)) throw std::invalid_argument("VocabularySource: the pickle is damaged");
  std::vector<Row> out(bytes.size() / sizeof(Row));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

using SourceState = std::tuple<py::bytes, py::bytes, py::bytes, std::vector<AddedFields>, bool, bool, bool, std::string,
                               int, std::vector<double>, bool, bool, std::string, uint32_t>;

inline SourceState state_of(const VocabularySource& s) {
  return {py::bytes(s.bytes), raw(s.tokens), raw(s.merges), added_fields(s.added),
          s.has_merges, s.whole_pieces, s.unmade_are_special, s.unknown,
          static_cast<int>(s.units), s.scores, s.byte_fallback, s.fuse_unknown,
          s.word_prefix, s.longest_word};
}

inline VocabularySource source_of(const SourceState& state) {
  VocabularySource s;
  s.bytes = std::string(std::string_view(std::get<0>(state)));
  s.tokens = rows_of<VocabularySource::Token>(std::get<1>(state));
  s.merges = rows_of<VocabularySource::Merge>(std::get<2>(state));
  s.added = added_tokens(std::get<3>(state));
  int units = 0;
  std::tie(std::ignore, std::ignore, std::ignore, std::ignore, s.has_merges, s.whole_pieces, s.unmade_are_special, s.unknown, units, s.scores,
           s.byte_fallback, s.fuse_unknown, s.word_prefix, s.longest_word) = state;
  if (units < 0 || units > 3 || (!s.scores.empty() && s.scores.size() != s.tokens.size())) throw std::invalid_argument("VocabularySource: the pickle is damaged");
  s.units = static_cast<VocabularySource::Units>(units);
  s.tokens_file = s.merges_file = "a pickled tokenizer";
  const uint64_t size = s.bytes.size();
  for (const auto& t : s.tokens)
    if (uint64_t{t.start} + t.size > size) throw std::invalid_argument("VocabularySource: the pickle is damaged");
  for (const auto& m : s.merges)
    if (uint64_t{m.left_start} + m.left_size + m.right_size > size) throw std::invalid_argument("VocabularySource: the pickle is damaged");
  return s;
}

}  // namespace nextword
