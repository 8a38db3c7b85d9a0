// A Vocabulary as a source again, for a copy of it elsewhere.
#include "bpe_vocabulary.h"
#include "byte_alphabet.h"

#include <algorithm>

namespace nextword {

VocabularySource Vocabulary::source() const {
  VocabularySource out;
  out.tokens_file = out.merges_file = "a tokenizer's copy";
  out.has_merges = !ranked_;
  out.whole_pieces = whole_pieces_;
  out.added = added_;
  const bool substituted = substitute_ < size();
  if (substituted) out.unknown = units_ == Units::bytes ? spell(bytes(substitute_)) : std::string(bytes(substitute_));
  const auto append = [&](std::string_view text) {
    const auto start = static_cast<uint32_t>(out.bytes.size());
    out.bytes += text;
    return start;
  };
  out.word_prefix = word_prefix_;
  out.longest_word = longest_word_;
  const auto is_added = [&](uint32_t id) {
    return id != substitute_ && std::any_of(added_.begin(), added_.end(), [&](const AddedToken& token) { return token.id == id; });
  };
  const auto by_itself = [&](uint32_t id) { return has(id) && find(bytes(id)) == id; };
  using Kind = VocabularySource::Kind;
  for (uint32_t id = 0; id < size(); ++id) {
    if (!has(id)) continue;
    const bool byte = units_ != Units::bytes && token_size(id) == 1 && byte_tokens_[static_cast<uint8_t>(data(id)[0])] == id;
    const bool text = !byte && (by_itself(id) || ((units_ == Units::bytes || units_ == Units::words) && substituted && id == substitute_));
    if (!byte && !text && (units_ == Units::bytes || is_added(id))) continue;
    out.tokens.push_back({id, append(bytes(id)), token_size(id), 1, true, byte ? Kind::byte : text ? Kind::text : Kind::hidden});
    if (!scores_.empty()) out.scores.push_back(scores_[id]);
  }
  out.units = units_;
  out.byte_fallback = byte_fallback_;
  out.fuse_unknown = fuses_unknown_;
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
