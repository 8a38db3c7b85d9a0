// Builds and checks a Vocabulary. Files are read in bpe_files.cpp.
#include "bpe_vocabulary.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <tuple>

#include "bpe_files.h"
#include "bpe_merge.h"
#include "byte_alphabet.h"
#include "pretokenize.h"
#include "token_lists.h"

namespace nextword {
namespace {

constexpr size_t padding = 64;  // readable bytes after the last token, so that copies may be of fixed size

uint64_t mix(uint64_t x) {
  x *= 0x9E3779B97F4A7C15ull;
  return x ^ x >> 32;
}

uint64_t hash_bytes(std::string_view s) {
  uint64_t h = s.size() * 0x9E3779B97F4A7C15ull;
  const char* p = s.data();
  size_t n = s.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t x;
    std::memcpy(&x, p, 8);
    h = mix(h ^ x);
  }
  uint32_t first = 0, last = 0;  // of the 1 to 7 bytes left
  if (n >= 4) {
    std::memcpy(&first, p, 4);
    std::memcpy(&last, p + n - 4, 4);
  } else if (n > 0) {
    first = static_cast<uint32_t>(static_cast<uint8_t>(p[0]) | static_cast<uint8_t>(p[n / 2]) << 8 | static_cast<uint8_t>(p[n - 1]) << 16);
  }
  return mix(h ^ (first | static_cast<uint64_t>(last) << 32));
}

// Entries of the index: id + 1 with some bits of the hash above, so that few other tokens are looked at.
constexpr uint32_t erased = 0xFFFFFFFFu;
constexpr int id_bits = 25;
static_assert(max_tokens < (1u << id_bits) - 1);
uint32_t entry_of(uint32_t id, uint64_t hash) { return (id + 1) | static_cast<uint32_t>(hash >> 57) << id_bits; }
uint32_t id_of(uint32_t entry) { return (entry & ((1u << id_bits) - 1)) - 1; }
bool may_be(uint32_t entry, uint64_t hash) { return entry >> id_bits == hash >> 57 && entry != erased; }

inline uint64_t hash_pair(uint32_t left, uint32_t right) { return mix(static_cast<uint64_t>(left) << 32 | right); }

size_t table_size(size_t entries) {  // a power of two, at most half full
  size_t size = 16;
  while (size < 2 * entries) size *= 2;
  return size;
}

[[noreturn]] void fail(const std::string& file, uint32_t line, const std::string& what) {
  throw std::invalid_argument("Tokenizer: " + file + " line " + std::to_string(line) + ": " + what);
}

// Whether splitting gives the bytes as one piece, which text then might become. No piece is what is no UTF-8.
bool is_one_piece(std::string_view bytes) {
  try {
    check_utf8(bytes, {});
  } catch (const std::invalid_argument&) {
    return false;
  }
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  return piece_end(Pattern::gpt2, begin, begin + bytes.size()) == begin + bytes.size();
}

// Bytes as a message can show them.
std::string quoted(std::string_view bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string out = "b'";
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 40) return out + "'...";
    const uint8_t b = static_cast<uint8_t>(bytes[i]);
    if (b >= 0x20 && b < 0x7F && b != '\'' && b != '\\') {
      out += static_cast<char>(b);
    } else {
      out += "\\x";
      out += digits[b >> 4];
      out += digits[b & 15];
    }
  }
  return out + "'";
}

}  // namespace

Vocabulary::Vocabulary(VocabularySource source) : whole_pieces_(source.whole_pieces), ranked_(!source.has_merges), units_(source.units), byte_fallback_(source.byte_fallback), fuses_unknown_(source.fuse_unknown), word_prefix_(source.word_prefix), longest_word_(source.longest_word) {
  add_tokens(source);
  if (units_ != Units::bytes && !source.has_merges) {
    if (units_ != Units::words) units_ == Units::unigram ? build_trie() : add_merges_from_scores();
    add_added_tokens(source, std::vector<bool>(size(), true));
  } else if (source.has_merges) {
    add_added_tokens(source, add_merges(source));
  } else {
    add_merges_from_ranks(source);
    add_added_tokens(source, std::vector<bool>(size(), true));
  }
}

void Vocabulary::add_tokens(VocabularySource& source) {
  if (source.tokens.empty()) fail(source.tokens_file, 1, "no tokens; is this the right file?");
  uint32_t highest = 0, highest_plain = 0;  // plain: not added, whose ids may stand apart
  std::vector<uint32_t> added_ids;
  for (const AddedToken& added : source.added) added_ids.push_back(added.id);
  std::sort(added_ids.begin(), added_ids.end());
  for (const auto& token : source.tokens) {
    if (token.id >= max_tokens) fail(source.tokens_file, token.line, "id " + std::to_string(token.id) + " is not below 2^24");
    if (token.size == 0) fail(source.tokens_file, token.line, "the token of id " + std::to_string(token.id) + " is empty");
    highest = std::max(highest, token.id);
    if (!std::binary_search(added_ids.begin(), added_ids.end(), token.id)) highest_plain = std::max(highest_plain, token.id);
  }
  if (highest_plain >= source.tokens.size()) {
    std::vector<bool> seen(highest + 1);
    for (const auto& token : source.tokens) seen[token.id] = true;
    for (const uint32_t id : added_ids) {
      if (id <= highest) seen[id] = true;
    }
    const auto hole = static_cast<size_t>(std::find(seen.begin(), seen.end(), false) - seen.begin());
    if (hole < highest_plain) fail(source.tokens_file, source.tokens.back().line,
         "the ids have a hole: no token has id " + std::to_string(hole) + " but one has id " + std::to_string(highest_plain));
  }
  arena_ = std::move(source.bytes);
  arena_.append(padding, '\0');
  tokens_.assign(highest + 1, Span{0, 0});
  index_.assign(table_size(source.tokens.size()), 0);
  const size_t mask = index_.size() - 1;
  std::fill(std::begin(byte_tokens_), std::end(byte_tokens_), no_token);
  std::vector<bool> spelled(highest + 1);  // text becomes no other token: one may have the bytes of one that is spelled
  for (const auto& token : source.tokens) {
    if (has(token.id)) fail(source.tokens_file, token.line, "id " + std::to_string(token.id) + " is given a second time");
    tokens_[token.id] = {token.start, token.size};
    spelled[token.id] = token.spelled;
    if (token.kind == VocabularySource::Kind::byte) byte_tokens_[static_cast<uint8_t>(arena_[token.start])] = token.id;
    if (token.kind != VocabularySource::Kind::text) continue;
    const std::string_view text = bytes(token.id);
    for (size_t i = 1; i < text.size(); ++i) {
      const auto left = static_cast<uint8_t>(text[i - 1]), right = static_cast<uint8_t>(text[i]);
      inside_[left << 2 | right >> 6] |= uint64_t{1} << (right & 63);
    }
    const uint64_t hash = hash_bytes(text);
    size_t at = hash & mask;
    for (; index_[at]; at = (at + 1) & mask) {
      if (!may_be(index_[at], hash) || bytes(id_of(index_[at])) != text) continue;
      if (spelled[id_of(index_[at])] != token.spelled) break;
      fail(source.tokens_file, token.line, "the token " + quoted(text) + " is given a second time, with id " +
           std::to_string(token.id) + " after id " + std::to_string(id_of(index_[at])));
    }
    if (index_[at] == 0 || token.spelled) index_[at] = entry_of(token.id, hash);
    longest_ = std::max(longest_, token.size);
    if (token.size == 1 && token.spelled && units_ == Units::bytes) byte_tokens_[static_cast<uint8_t>(text[0])] = token.id;
  }
  if (units_ == Units::words) return add_words(source);
  if (units_ != Units::bytes) return add_characters(source);
  complete_ = std::find(std::begin(byte_tokens_), std::end(byte_tokens_), no_token) == std::end(byte_tokens_);
  if (complete_) return;
  substitute_ = max_tokens;
  if (!source.unknown.empty()) {
    std::string spelled;
    substitute_ = find(unspell(source.unknown, spelled) ? spelled : source.unknown);
    if (substitute_ == no_token) fail(source.tokens_file, 1, "the unknown token " + source.unknown + " is no token of the vocabulary");
  }
  std::replace(std::begin(byte_tokens_), std::end(byte_tokens_), no_token, substitute_);
}

void Vocabulary::reserve_merges(size_t count) {
  merges_.assign(table_size(count), free_slot);
  merges_shift_ = 64;
  for (size_t size = merges_.size(); size > 1; size /= 2) --merges_shift_;
  if (units_ == Units::bytes) merged_bytes_.assign(65536, no_token);
  parts_.resize(size());
  for (uint32_t id = 0; id < size(); ++id) parts_[id] = {id, id};
}

void Vocabulary::add_merge(uint32_t left, uint32_t right, uint32_t token) {
  const uint64_t key = static_cast<uint64_t>(left) << 21 | right;
  size_t at = pair_slot(key);
  while (merges_[at] != free_slot) at = (at + 1) & (merges_.size() - 1);
  merges_[at] = key << 21 | token;
  parts_[token] = {left, right};
  if (units_ == Units::bytes && token_size(token) == 2) merged_bytes_[static_cast<uint8_t>(data(token)[0]) << 8 | static_cast<uint8_t>(data(token)[1])] = token;
}

void Vocabulary::reserve_pairs(size_t count) {
  pairs_.assign(table_size(count), Slot{no_token, no_token, {no_token, no_token}});
}

bool Vocabulary::add_pair(uint32_t left, uint32_t right, Pair value) {
  const size_t mask = pairs_.size() - 1;
  size_t at = hash_pair(left, right) & mask;
  for (; pairs_[at].left != no_token; at = (at + 1) & mask) {
    if (pairs_[at].left == left && pairs_[at].right == right) return false;
  }
  pairs_[at] = {left, right, value};
  return true;
}

// Returns which tokens some merge makes.
std::vector<bool> Vocabulary::add_merges(const VocabularySource& source) {
  struct Merge {
    uint32_t left, right, token, line;
  };
  std::vector<Merge> merges;
  merges.reserve(source.merges.size());
  std::vector<bool> made(size());
  uint32_t highest = 0;
  if (units_ == Units::bytes) {
    for (const uint32_t byte : byte_tokens_) highest = std::max(highest, byte);
  }
  orderly_ = units_ == Units::bytes && complete_ && size() <= max_orderly;
  const bool all_spelled = std::all_of(source.tokens.begin(), source.tokens.end(), [](const auto& token) { return token.spelled; });
  for (const auto& merge : source.merges) {
    const std::string_view left(arena_.data() + merge.left_start, merge.left_size);
    const std::string_view right(left.data() + left.size(), merge.right_size);
    const std::string_view both(left.data(), left.size() + right.size());
    const uint32_t a = find(left), b = find(right);
    if (a == no_token || b == no_token) {
      fail(source.merges_file, merge.line, "merges " + quoted(left) + " and " + quoted(right) + ", but " +
           quoted(a == no_token ? left : right) + " is no token of " + source.tokens_file);
    }
    // Files list merges in the order of their products' ids, mostly.
    const uint32_t product = all_spelled && has(highest + 1) && bytes(highest + 1) == both ? highest + 1 : find(both);
    if (product == no_token) {
      fail(source.merges_file, merge.line, "merges " + quoted(left) + " and " + quoted(right) + ", but " + quoted(both) +
           " is no token of " + source.tokens_file);
    }
    orderly_ = orderly_ && product > highest && (left.size() == 1 || made[a]) && (right.size() == 1 || made[b]);
    highest = product;
    made[product] = true;
    merges.push_back({a, b, product, merge.line});
  }
  if (units_ == Units::characters) {
    std::vector<std::array<uint32_t, 3>> listed;
    for (const Merge& merge : merges) listed.push_back({merge.left, merge.right, merge.token});
    if (add_grouped_merges(listed)) return made;
  }
  if (orderly_) {
    reserve_merges(merges.size());
    for (const Merge& merge : merges) add_merge(merge.left, merge.right, merge.token);
  } else {
    reserve_pairs(merges.size());
    uint32_t rank = 0;
    for (const Merge& merge : merges) {
      if (!add_pair(merge.left, merge.right, {rank++, merge.token})) {
        fail(source.merges_file, merge.line, "the merge of " + quoted(bytes(merge.left)) + " and " + quoted(bytes(merge.right)) +
             " is given a second time");
      }
    }
  }
  return made;
}

// A rank file says no merges: in tiktoken any two neighbours merge whose bytes make a token. Of the ways to cut a token
// in two, text ever merges at most one: the one that the merges of lower rank leave of the token's bytes. (While both
// ends of the token are borders, nothing outside touches what happens between them.) Where every token is left in two
// parts that way, these merges alone are the vocabulary, and it is orderly; else every cut into two tokens counts.
void Vocabulary::add_merges_from_ranks(const VocabularySource& source) {
  std::vector<uint32_t> ids;
  ids.reserve(source.tokens.size());
  uint32_t last_byte = 0, first_merged = no_token;
  for (const auto& token : source.tokens) {
    if (token.size == 1) {
      last_byte = std::max(last_byte, token.id);
    } else {
      first_merged = std::min(first_merged, token.id);
      ids.push_back(token.id);
    }
  }
  if (!std::is_sorted(ids.begin(), ids.end())) std::sort(ids.begin(), ids.end());
  orderly_ = complete_ && size() <= max_orderly && last_byte < first_merged && add_orderly_merges(ids);
  if (orderly_) {
    whole_pieces_ = false;  // the merges make every token of its bytes
  } else {
    add_all_pairs(ids);
  }
}

bool Vocabulary::add_orderly_merges(const std::vector<uint32_t>& ids) {
  reserve_merges(ids.size());
  std::vector<uint32_t> parts;
  for (const uint32_t id : ids) {
    const std::string_view token = bytes(id);
    if (units_ == Units::bytes && token.size() == 2) {
      add_merge(byte_tokens_[static_cast<uint8_t>(token[0])], byte_tokens_[static_cast<uint8_t>(token[1])], id);
      continue;
    }
    parts.resize(token.size());
    const size_t count = token.size() <= merge_few_limit ? merge_few(*this, token, parts.data()) : merge_many(*this, token, parts.data());
    if (count != 2) return false;
    add_merge(parts[0], parts[1], id);
  }
  return true;
}

void Vocabulary::add_all_pairs(const std::vector<uint32_t>& ids, const std::vector<uint32_t>& ranks) {
  struct Merge {
    uint32_t left, right, token;
  };
  std::vector<Merge> merges;
  for (const uint32_t id : ids) {
    const std::string_view whole = bytes(id);
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      const uint32_t left = find(whole.substr(0, cut));
      const uint32_t right = left == no_token ? no_token : find(whole.substr(cut));
      if (right != no_token) merges.push_back({left, right, id});
    }
  }
  reserve_pairs(merges.size());
  for (const Merge& merge : merges) add_pair(merge.left, merge.right, {ranks.empty() ? merge.token : ranks[merge.token], merge.token});
}

bool Vocabulary::cut(uint32_t left, uint32_t right) const {
  // Undo the merges that made the two tokens, latest first. A merge across the border must not have come before the
  // one that is undone; of two at the same rank the left one comes first.
  uint32_t limit = no_token;  // ids from here on came too late to matter
  for (;;) {
    const uint32_t across = merged(left, right);
    if (across < limit) return false;
    const Parts l = parts_[left], r = parts_[right];
    const bool left_is_byte = l.left == left, right_is_byte = r.left == right;
    if (left_is_byte && right_is_byte) return true;
    if (!left_is_byte && (right_is_byte || left > right)) {
      limit = left;
      left = l.right;
    } else {
      limit = right + 1;
      right = r.left;
    }
  }
}

// made: whether text becomes it by itself too. If not, it leaves the index and stands for the bytes of its content.
void Vocabulary::add(AddedToken token, bool made) {
  if (!made) {
    const uint32_t id = token.id;
    if (has(id)) {
      const size_t mask = index_.size() - 1;
      const uint64_t hash = hash_bytes(bytes(id));
      size_t at = hash & mask;
      while (index_[at] != 0 && index_[at] != entry_of(id, hash)) at = (at + 1) & mask;
      if (index_[at] != 0) index_[at] = erased;
      if (units_ == Units::words) trie_.add(bytes(id), PieceTrie::none);
    }
    if (units_ == Units::bytes || !has(id)) {
      if (id >= size()) tokens_.resize(id + 1);
      arena_.resize(arena_.size() - padding);
      tokens_[id] = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(token.content.size())};
      arena_ += token.content;
      arena_.append(padding, '\0');
    }
  }
  added_ids_.emplace(token.content, token.id);
  added_.push_back(std::move(token));
}

void Vocabulary::add_added_tokens(const VocabularySource& source, const std::vector<bool>& made) {
  std::vector<bool> done(size()), named;
  for (const AddedToken& token : source.added) {
    const std::string shown = "the added token " + token.content + " of id " + std::to_string(token.id);
    if (token.content.empty()) fail(source.tokens_file, 1, "the added token of id " + std::to_string(token.id) + " is empty");
    if (token.id >= max_tokens) fail(source.tokens_file, 1, shown + ": the id is not below 2^24");
    if (find_added(token.content) != no_token) fail(source.tokens_file, 1, shown + " is given a second time");
    const std::string content = units_ == Units::bytes || units_ == Units::words ? token.content : with_blanks(token.content);
    const bool other_name = named.size() > token.id && named[token.id];  // of an id that an added token has already
    if (!other_name && has(token.id) && bytes(token.id) != content && spell(bytes(token.id)) != token.content) {
      fail(source.tokens_file, 1, shown + ": the id is taken by the token " + quoted(bytes(token.id)));
    }
    if (named.size() <= token.id) named.resize(token.id + 1);
    named[token.id] = true;
    const bool known = token.id < made.size() && has(token.id);
    // A character that has a token is one of its own, whether or not anything merges into it.
    const bool character = units_ != Units::bytes && known && !token.special && find(bytes(token.id)) == token.id;
    add(token, other_name || character || (known && units_ == Units::bytes && (made[token.id] || token_size(token.id) == 1 || (whole_pieces_ && !token.special))));
    if (known) done[token.id] = true;
  }
  if (!source.unmade_are_special) return;
  for (const auto& token : source.tokens) {
    if (token.size == 1 || made[token.id] || done[token.id] || is_one_piece(bytes(token.id))) continue;
    add({token.spelled ? spell(bytes(token.id)) : std::string(bytes(token.id)), token.id}, false);
  }
}

uint32_t Vocabulary::find(std::string_view token) const {
  if (units_ == Units::bytes && token.size() == 1 && complete_) return byte_tokens_[static_cast<uint8_t>(token[0])];
  const size_t mask = index_.size() - 1;
  const uint64_t hash = hash_bytes(token);
  for (size_t at = hash & mask; index_[at]; at = (at + 1) & mask) {
    if (may_be(index_[at], hash) && bytes(id_of(index_[at])) == token) return id_of(index_[at]);
  }
  return no_token;
}

uint32_t Vocabulary::find_added(std::string_view content) const {
  const auto found = added_ids_.find(std::string(content));
  return found == added_ids_.end() ? no_token : found->second;
}

Vocabulary::Pair Vocabulary::pair(uint32_t left, uint32_t right) const {
  const size_t mask = pairs_.size() - 1;
  for (size_t at = hash_pair(left, right) & mask; pairs_[at].left != no_token; at = (at + 1) & mask) {
    if (pairs_[at].left == left && pairs_[at].right == right) return pairs_[at].value;
  }
  return {no_token, no_token};
}

std::vector<std::array<uint32_t, 3>> Vocabulary::merges() const {
  std::vector<std::array<uint32_t, 3>> out;
  if (orderly_) {
    for (const uint64_t slot : merges_) {
      if (slot != free_slot) {
        const auto part = [&](int shift) { return static_cast<uint32_t>(slot >> shift & (max_orderly - 1)); };
        out.push_back({part(42), part(21), part(0)});
      }
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a[2] < b[2]; });
    return out;
  }
  std::vector<Slot> slots;
  std::copy_if(pairs_.begin(), pairs_.end(), std::back_inserter(slots), [](const Slot& slot) { return slot.left != no_token; });
  std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) {
    return std::tie(a.value.rank, a.left, a.right) < std::tie(b.value.rank, b.left, b.right);
  });
  for (const Slot& slot : slots) out.push_back({slot.left, slot.right, slot.value.token});
  return out;
}

}  // namespace nextword
