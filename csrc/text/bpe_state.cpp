// A Vocabulary as a source again, for a copy of it elsewhere.
#include "bpe_vocabulary.h"
#include "byte_alphabet.h"

namespace nextword {

VocabularySource Vocabulary::source() const {
  VocabularySource out;
  out.tokens_file = out.merges_file = "a tokenizer's copy";
  out.has_merges = !ranked_;
  out.whole_pieces = whole_pieces_;
  out.added = added_;
  const bool substituted = substitute_ < size();
  if (substituted) out.unknown = spell(bytes(substitute_));
  const auto append = [&](std::string_view text) {
    const auto start = static_cast<uint32_t>(out.bytes.size());
    out.bytes += text;
    return start;
  };
  const auto by_itself = [&](uint32_t id) { return has(id) && find(bytes(id)) == id; };
  for (uint32_t id = 0; id < size(); ++id) {
    if (by_itself(id) || (substituted && id == substitute_)) out.tokens.push_back({id, append(bytes(id)), token_size(id), 1, true});
  }
  if (ranked_) return out;
  for (const auto& [left, right, token] : merges()) {
    if (!by_itself(left) || !by_itself(right)) continue;  // text never becomes such a part
    const uint32_t start = append(bytes(left));
    append(bytes(right));
    out.merges.push_back({start, token_size(left), token_size(right), 1});
  }
  return out;
}

}  // namespace nextword
