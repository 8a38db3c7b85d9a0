// Builds and checks a Vocabulary. Files are read in bpe_files.cpp.
#include "bpe_vocabulary.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "byte_alphabet.h"

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
  uint64_t x = 0;
  if (n) std::memcpy(&x, p, n);
  return mix(h ^ x);
}

inline uint64_t hash_pair(uint32_t left, uint32_t right) { return mix(static_cast<uint64_t>(left) << 32 | right); }

size_t table_size(size_t entries) {  // a power of two, at most half full
  size_t size = 16;
  while (size < 2 * entries) size *= 2;
  return size;
}

[[noreturn]] void fail(const std::string& file, uint32_t line, const std::string& what) {
  throw std::invalid_argument("Tokenizer: " + file + " line " + std::to_string(line) + ": " + what);
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

Vocabulary::Vocabulary(VocabularySource source) : whole_pieces_(source.whole_pieces) {
  add_tokens(source);
  if (source.has_merges) {
    add_merges(source);
  } else {
    add_merges_from_ranks(source);
  }
  add_specials(source);
}

void Vocabulary::add_tokens(VocabularySource& source) {
  if (source.tokens.empty()) fail(source.tokens_file, 1, "no tokens; is this the right file?");
  uint32_t highest = 0;
  for (const auto& token : source.tokens) {
    if (token.id >= max_tokens) fail(source.tokens_file, token.line, "id " + std::to_string(token.id) + " is not below 2^24");
    if (token.size == 0) fail(source.tokens_file, token.line, "the token of id " + std::to_string(token.id) + " is empty");
    highest = std::max(highest, token.id);
  }
  if (highest >= source.tokens.size() + source.specials.size()) {
    std::vector<bool> seen(highest + 1);
    for (const auto& token : source.tokens) seen[token.id] = true;
    for (const auto& special : source.specials) {
      if (special.second <= highest) seen[special.second] = true;
    }
    const size_t hole = std::find(seen.begin(), seen.end(), false) - seen.begin();
    fail(source.tokens_file, source.tokens.back().line,
         "the ids have a hole: no token has id " + std::to_string(hole) + " but one has id " + std::to_string(highest));
  }
  arena_ = std::move(source.bytes);
  arena_.append(padding, '\0');
  starts_.assign(highest + 1, 0);
  sizes_.assign(highest + 1, 0);
  index_.assign(table_size(source.tokens.size()), 0);
  const size_t mask = index_.size() - 1;
  std::fill(std::begin(byte_tokens_), std::end(byte_tokens_), no_token);
  for (const auto& token : source.tokens) {
    if (sizes_[token.id]) fail(source.tokens_file, token.line, "id " + std::to_string(token.id) + " is given a second time");
    starts_[token.id] = token.start;
    sizes_[token.id] = token.size;
    const std::string_view text = bytes(token.id);
    size_t at = hash_bytes(text) & mask;
    for (; index_[at]; at = (at + 1) & mask) {
      if (bytes(index_[at] - 1) == text) {
        fail(source.tokens_file, token.line, "the token " + quoted(text) + " is given a second time, with id " +
             std::to_string(token.id) + " after id " + std::to_string(index_[at] - 1));
      }
    }
    index_[at] = token.id + 1;
    longest_ = std::max(longest_, token.size);
    if (token.size == 1) byte_tokens_[static_cast<uint8_t>(text[0])] = token.id;
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (byte_tokens_[byte] == no_token) {
      const char b = static_cast<char>(byte);
      fail(source.tokens_file, source.tokens.back().line,
           "the byte " + quoted({&b, 1}) + " has no token; a byte-level vocabulary has one for each of the 256 bytes");
    }
  }
}

void Vocabulary::reserve_pairs(size_t count) {
  byte_pairs_.assign(65536, Pair{no_token, no_token});
  pairs_.assign(table_size(count), Slot{no_token, no_token, {no_token, no_token}});
}

bool Vocabulary::add_pair(uint32_t left, uint32_t right, Pair value) {
  const size_t mask = pairs_.size() - 1;
  size_t at = hash_pair(left, right) & mask;
  for (; pairs_[at].left != no_token; at = (at + 1) & mask) {
    if (pairs_[at].left == left && pairs_[at].right == right) return false;
  }
  pairs_[at] = {left, right, value};
  if (sizes_[left] == 1 && sizes_[right] == 1) {
    byte_pairs_[static_cast<uint8_t>(*data(left)) << 8 | static_cast<uint8_t>(*data(right))] = value;
  }
  return true;
}

void Vocabulary::add_merges(const VocabularySource& source) {
  reserve_pairs(source.merges.size());
  std::vector<bool> made(size());
  uint32_t rank = 0;
  uint32_t guess = 0;  // files list merges in the order of their products' ids, mostly
  for (const auto& merge : source.merges) {
    const std::string_view left(arena_.data() + merge.left_start, merge.left_size);
    const std::string_view right(left.data() + left.size(), merge.right_size);
    const std::string_view both(left.data(), left.size() + right.size());
    const uint32_t a = find(left), b = find(right);
    if (a == no_token || b == no_token) {
      fail(source.merges_file, merge.line, "merges " + quoted(left) + " and " + quoted(right) + ", but " +
           quoted(a == no_token ? left : right) + " is no token of " + source.tokens_file);
    }
    const uint32_t product = has(guess) && bytes(guess) == both ? guess : find(both);
    if (product == no_token) {
      fail(source.merges_file, merge.line, "merges " + quoted(left) + " and " + quoted(right) + ", but " + quoted(both) +
           " is no token of " + source.tokens_file);
    }
    guess = product + 1;
    made[product] = true;
    if (!add_pair(a, b, {rank++, product})) {
      fail(source.merges_file, merge.line, "the merge of " + quoted(left) + " and " + quoted(right) + " is given a second time");
    }
  }
  if (!source.unmade_are_special) return;
  for (const auto& token : source.tokens) {
    if (token.size > 1 && !made[token.id]) {
      make_special(token.id, token.spelled ? spell(bytes(token.id)) : std::string(bytes(token.id)));
    }
  }
}

// Text never becomes a special token by itself: it leaves the index and stands for the bytes of its name.
void Vocabulary::make_special(uint32_t id, std::string name) {
  if (has(id)) {
    const size_t mask = index_.size() - 1;
    size_t at = hash_bytes(bytes(id)) & mask;
    while (index_[at] != id + 1) at = (at + 1) & mask;
    index_[at] = no_token;
  }
  if (id >= size()) {
    starts_.resize(id + 1);
    sizes_.resize(id + 1);
  }
  arena_.resize(arena_.size() - padding);
  starts_[id] = static_cast<uint32_t>(arena_.size());
  sizes_[id] = static_cast<uint32_t>(name.size());
  arena_ += name;
  arena_.append(padding, '\0');
  specials_.emplace_back(std::move(name), id);
}

void Vocabulary::add_specials(const VocabularySource& source) {
  for (const auto& [name, id] : source.specials) {
    const std::string shown = "the special token " + name + " of id " + std::to_string(id);
    if (name.empty()) fail(source.tokens_file, 1, "the special token of id " + std::to_string(id) + " is empty");
    if (id >= max_tokens) fail(source.tokens_file, 1, shown + ": the id is not below 2^24");
    if (find_special(name) != no_token) fail(source.tokens_file, 1, shown + " is given a second time");
    if (has(id) && bytes(id) != name && spell(bytes(id)) != name) {
      fail(source.tokens_file, 1, shown + ": the id is taken by the token " + quoted(bytes(id)));
    }
    make_special(id, name);
  }
}

void Vocabulary::add_merges_from_ranks(const VocabularySource& source) {
  size_t splits = 0;
  for (const auto& token : source.tokens) splits += token.size - 1;
  reserve_pairs(splits / 2);
  size_t used = 0;
  for (const auto& token : source.tokens) {
    const std::string_view whole = bytes(token.id);
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      const uint32_t left = find(whole.substr(0, cut));
      if (left == no_token) continue;
      const uint32_t right = find(whole.substr(cut));
      if (right == no_token) continue;
      if (2 * ++used > pairs_.size()) {  // only where most splits are pairs of tokens
        std::vector<Slot> old(2 * pairs_.size(), Slot{no_token, no_token, {no_token, no_token}});
        old.swap(pairs_);
        for (const Slot& slot : old) {
          if (slot.left != no_token) add_pair(slot.left, slot.right, slot.value);
        }
      }
      add_pair(left, right, {token.id, token.id});
    }
  }
}

uint32_t Vocabulary::find(std::string_view token) const {
  const size_t mask = index_.size() - 1;
  for (size_t at = hash_bytes(token) & mask; index_[at]; at = (at + 1) & mask) {
    if (index_[at] != no_token && bytes(index_[at] - 1) == token) return index_[at] - 1;
  }
  return no_token;
}

uint32_t Vocabulary::find_special(std::string_view name) const {
  for (const auto& special : specials_) {
    if (special.first == name) return special.second;
  }
  return no_token;
}

Vocabulary::Pair Vocabulary::pair(uint32_t left, uint32_t right) const {
  const size_t mask = pairs_.size() - 1;
  for (size_t at = hash_pair(left, right) & mask; pairs_[at].left != no_token; at = (at + 1) & mask) {
    if (pairs_[at].left == left && pairs_[at].right == right) return pairs_[at].value;
  }
  return {no_token, no_token};
}

}  // namespace nextword
