// A Vocabulary whose text begins as characters (SentencePiece): symbols, what becomes of unknown ones, merges from scores.
#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <unordered_set>

#include "bpe_merge.h"
#include "bpe_vocabulary.h"
#include "unicode_chars.h"
#include "utf8.h"

namespace nextword {
namespace {

[[noreturn]] void fail(const std::string& file, const std::string& what) { throw std::invalid_argument("Tokenizer: " + file + ": " + what); }

uint32_t code_of(std::string_view character) { return code_at(reinterpret_cast<const uint8_t*>(character.data())); }

}  // namespace

uint32_t Vocabulary::symbol_of(uint32_t code) const {
  if (code < 128) return ascii_symbols_[code];
  const auto found = symbols_.find(code);
  return found == symbols_.end() ? no_symbol() : found->second;
}

size_t Vocabulary::unknown_size(const char* at) const { return units_ == Units::bytes ? 1 : char_size(*at); }

size_t Vocabulary::symbols(std::string_view piece, uint32_t* symbols) const {
  size_t count = 0;
  if (units_ == Units::bytes) {
    for (const char byte : piece) symbols[count++] = byte_tokens_[static_cast<uint8_t>(byte)];
    return count;
  }
  for (size_t at = 0; at < piece.size(); at += char_size(piece[at])) symbols[count++] = symbol_of(code_of(piece.substr(at)));
  return count;
}

size_t Vocabulary::taken_before(uint32_t id, const char* end) const {
  if (id != substitute_) return token_size(id);
  size_t size = 1;
  if (units_ != Units::bytes) {
    while ((static_cast<uint8_t>(end[-static_cast<std::ptrdiff_t>(size)]) & 0xC0) == 0x80) ++size;
  }
  return size;
}

uint32_t* Vocabulary::unknown_ids(std::string_view character, uint32_t* ids) const {
  if (!byte_fallback_) {
    *ids++ = substitute_;
    return ids;
  }
  for (const char byte : character) *ids++ = byte_tokens_[static_cast<uint8_t>(byte)];
  return ids;
}

size_t Vocabulary::ids_of_symbols(std::string_view piece, const uint32_t* symbols, size_t count, uint32_t* ids) const {
  if (units_ == Units::bytes) {
    std::copy(symbols, symbols + count, ids);
    return count;
  }
  uint32_t* out = ids;
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    if (symbols[i] == no_symbol()) {
      const size_t size = char_size(piece[at]);
      out = unknown_ids(piece.substr(at, size), out);
      at += size;
    } else {
      *out++ = symbols[i];
      at += token_size(symbols[i]);
    }
  }
  return static_cast<size_t>(out - ids);
}

// What a character is, what unknown ones become, and the scores. The blank must have a token: its bytes in names are three.
void Vocabulary::add_characters(const VocabularySource& source) {
  if (size() >= no_symbol()) fail(source.tokens_file, "there are 2^21 tokens or more");
  ascii_symbols_.assign(128, no_symbol());
  if (!source.scores.empty()) scores_.assign(size(), 0.0);
  double least = 0;
  bool any = false;
  for (size_t i = 0; i < source.tokens.size(); ++i) {
    const auto& token = source.tokens[i];
    if (!source.scores.empty()) scores_[token.id] = source.scores[i];
    if (token.kind != VocabularySource::Kind::text) continue;
    if (!source.scores.empty()) {
      least = any ? std::min(least, source.scores[i]) : source.scores[i];
      any = true;
    }
    const std::string_view text = bytes(token.id);
    if (char_size(text[0]) != text.size()) continue;
    const uint32_t code = code_of(text);
    if (code < 128) {
      ascii_symbols_[code] = token.id;
    } else {
      symbols_[code] = token.id;
    }
  }
  unknown_score_ = least - 10;  // SentencePiece's kUnkPenalty
  if (ascii_symbols_[' '] == no_symbol()) fail(source.tokens_file, "no token is U+2581 alone, which stands for a blank");
  const bool all_bytes = std::find(std::begin(byte_tokens_), std::end(byte_tokens_), no_token) == std::end(byte_tokens_);
  if (byte_fallback_ && !all_bytes) fail(source.tokens_file, "byte_fallback needs a token for each of the 256 bytes, <0x00> to <0xFF>");
  substitute_ = max_tokens;
  for (const auto& token : source.tokens) {
    if (!source.unknown.empty() && bytes(token.id) == source.unknown && token.kind != VocabularySource::Kind::byte) substitute_ = token.id;
  }
  if (substitute_ == max_tokens && !byte_fallback_) {
    fail(source.tokens_file, "there is neither an unknown token nor byte_fallback, so that some characters would be lost");
  }
}

// Merges that are listed product by product, as ids ascend: then, as for rank files, text merges at most one pair into each.
bool Vocabulary::add_grouped_merges(const std::vector<std::array<uint32_t, 3>>& merges) {
  std::vector<uint32_t> products;
  std::unordered_set<uint64_t> listed;
  for (const auto& [left, right, token] : merges) {
    if (!listed.insert(static_cast<uint64_t>(left) << 32 | right).second) return false;
    if (!products.empty() && products.back() > token) return false;
    if (products.empty() || products.back() != token) products.push_back(token);
  }
  orderly_ = add_orderly_merges(products);
  for (const uint32_t id : products) {
    orderly_ = orderly_ && listed.count(static_cast<uint64_t>(parts_[id].left) << 32 | parts_[id].right);
  }
  return orderly_;
}

// Any two neighbours merge whose characters make a token, that of the highest score first, of equal ones the leftmost.
void Vocabulary::add_merges_from_scores() {
  if (scores_.empty()) fail("the vocabulary", "there are neither merges nor scores");
  std::vector<uint32_t> ids;
  for (uint32_t id = 0; id < size(); ++id) {
    if (has(id) && char_size(data(id)[0]) < token_size(id) && find(bytes(id)) == id) ids.push_back(id);
  }
  const auto higher = [&](uint32_t a, uint32_t b) { return scores_[a] > scores_[b]; };
  const bool descending = std::adjacent_find(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return !higher(a, b); }) == ids.end();
  orderly_ = descending && add_orderly_merges(ids);
  if (orderly_) return;
  std::stable_sort(ids.begin(), ids.end(), higher);
  std::vector<uint32_t> ranks(size());
  uint32_t rank = 0;
  for (size_t i = 0; i < ids.size(); ++i) ranks[ids[i]] = i > 0 && higher(ids[i - 1], ids[i]) ? ++rank : rank;
  add_all_pairs(ids, ranks);
}

void Vocabulary::add_words(const VocabularySource& source) {
  complete_ = false;
  substitute_ = find(source.unknown);
  if (substitute_ == no_token) fail(source.tokens_file, "the unknown token " + source.unknown + " is no token of the vocabulary");
  build_trie();
  for (const char byte : word_prefix_) {
    if (inside_words_ != PieceTrie::none) inside_words_ = trie_.step(inside_words_, static_cast<uint8_t>(byte));
  }
}

void Vocabulary::build_trie() {
  if (scores_.empty() && units_ != Units::words) fail("the vocabulary", "there are no scores");
  for (uint32_t id = 0; id < size(); ++id) {
    if (!has(id) || find(bytes(id)) != id) continue;
    trie_.add(bytes(id), id);
    if (trie_.nodes() > (1u << 24) - (1u << 16)) fail("the vocabulary", "the tokens have 2^24 bytes or more together");
  }
  trie_.index_characters();
}

}  // namespace nextword
