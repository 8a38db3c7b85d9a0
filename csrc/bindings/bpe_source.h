// Added tokens between Python and C++: as tuples in the order of nextword.tokenizer.AddedToken.
#pragma once
#include <string>
#include <tuple>
#include <vector>

#include "bpe_vocabulary.h"
#include "instances.h"

namespace nextword {

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

}  // namespace nextword

namespace pybind11::detail {
template <>
class type_caster<nextword::VocabularySource> : public nextword::bindings::initialised_caster<nextword::VocabularySource> {};
}  // namespace pybind11::detail
