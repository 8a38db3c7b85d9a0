// The functions of wordpiece.h, and Encoder over words. Caches are those of bpe_cache.h.
#include "wordpiece.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "bert_chars.h"
#include "bpe.h"
#include "machine/interrupt.h"
#include "utf8.h"

namespace nextword {
namespace {

enum ByteKind : uint8_t { inside, white, sign, wide };  // wide: of a character beyond ASCII

constexpr std::array<uint8_t, 256> byte_kinds(bool signs) {
  std::array<uint8_t, 256> all{};
  for (unsigned i = 0; i < 256; ++i) {
    const unsigned kind = i < 128 ? bert_kinds[i] : 0;  // block 0 holds ASCII
    all[i] = i >= 128 ? wide : kind & bert_white ? white : signs && (kind & bert_sign) ? sign : inside;
  }
  return all;
}
constexpr auto bert_bytes = byte_kinds(true), word_bytes = byte_kinds(false);

template <bool signs>
inline WordRange word_from(std::string_view text, size_t at) {
  const auto* const p = reinterpret_cast<const uint8_t*>(text.data());
  const auto& bytes = signs ? bert_bytes : word_bytes;
  const size_t size = text.size();
  const auto kind_at = [&](size_t i) -> uint8_t {
    if (bytes[p[i]] != wide) return bytes[p[i]];
    const unsigned kind = bert_kind(code_at(p + i));
    return kind & bert_white ? white : signs && (kind & bert_sign) ? sign : inside;
  };
  uint8_t kind = inside;
  while (at < size && (kind = kind_at(at)) == white) at += char_size(text[at]);
  if (at == size) return {size, size};
  const size_t begin = at;
  at += char_size(text[at]);
  if (kind == sign) return {begin, at};
  for (;;) {
    while (at < size && bytes[p[at]] == inside) ++at;
    if (at == size || bytes[p[at]] != wide || kind_at(at) != inside) return {begin, at};
    at += char_size(text[at]);
  }
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  if (at == text.npos) return;
  std::string out;
  size_t done = 0;
  for (; at != text.npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  text = out.append(text, done, text.npos);
}

}  // namespace

WordRange next_word(Pattern pattern, std::string_view text, size_t at) {
  return pattern == Pattern::bert ? word_from<true>(text, at) : word_from<false>(text, at);
}

size_t wordpieces(const Vocabulary& vocabulary, std::string_view word, uint32_t* ids) {
  const auto unknown = [&] {
    *ids = vocabulary.substitute();
    return size_t{1};
  };
  const size_t most = vocabulary.longest_word();
  if (word.size() > most) {
    size_t characters = 0;
    for (size_t at = 0; at < word.size() && characters <= most; at += char_size(word[at])) ++characters;
    if (characters > most) return unknown();
  }
  const PieceTrie& trie = vocabulary.trie();
  size_t count = 0, at = 0;
  uint32_t from = 0;
  while (at < word.size()) {
    uint32_t node = from, found = PieceTrie::none;
    size_t end = at;
    for (size_t i = at; node != PieceTrie::none && i < word.size();) {
      node = trie.step(node, static_cast<uint8_t>(word[i++]));
      if (node == PieceTrie::none || trie.value(node) == PieceTrie::none) continue;
      found = trie.value(node);
      end = i;
    }
    if (found == PieceTrie::none) return unknown();
    ids[count++] = found;
    at = end;
    from = vocabulary.inside_words();
  }
  return count;
}

std::string text_of_words(const Vocabulary& vocabulary, const std::vector<uint32_t>& ids, bool cleans) {
  constexpr std::pair<std::string_view, std::string_view> changes[] = {
      {" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  const std::string& prefix = vocabulary.word_prefix();
  std::string out, token;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i % 65536 == 65535) check_interrupt();
    const std::string_view bytes = vocabulary.bytes(ids[i]);
    const bool goes_on = bytes.substr(0, prefix.size()) == prefix;
    token.clear();
    if (i > 0 && !goes_on) token = " ";
    token += i > 0 && goes_on ? bytes.substr(prefix.size()) : bytes;
    if (cleans) {
      for (const auto& [from, to] : changes) replace_all(token, from, to);
    }
    out += token;
  }
  return out;
}

template <class Use>
void Encoder::each_word(std::string_view text, IdBuffer& ids, const Use& use) {
  constexpr size_t block = 16384;  // bytes, after which memory is looked at
  constexpr size_t beyond = 4096;  // bytes of a word that may end beyond its block, one id each at most
  if (text.size() > 0xFFFFFFFFu) {
    throw std::invalid_argument("encode: text has " + std::to_string(text.size()) + " bytes, expected less than 4 GiB; encode it in parts");
  }
  for (size_t at = 0; at < text.size();) {
    short_pieces_.grow_if_crowded();
    const ShortPieces::Own own = short_pieces_.own();
    const size_t stop = std::min(text.size(), at + block);
    uint32_t* const first = ids.reserve(stop - at + beyond + PackedIds::slack);
    uint32_t* out = first;
    const size_t before = ids.size();
    while (at < stop) {
      const WordRange word = pattern_ == Pattern::bert ? word_from<true>(text, at) : word_from<false>(text, at);
      at = word.end;
      if (word.begin == word.end) break;
      if (word.end - word.begin > beyond) {  // room is made for it alone
        ids.resize(before + static_cast<size_t>(out - first));
        uint32_t* const alone = ids.reserve(word.end - word.begin);
        const size_t count = wordpieces(vocabulary_, text.substr(word.begin, word.end - word.begin), alone);
        use(word.begin, word.end, alone, count);
        ids.resize(ids.size() + count);
        break;
      }
      uint32_t* const end = encode_word(own, text, word.begin, word.end, out);
      use(word.begin, word.end, out, static_cast<size_t>(end - out));
      out = end;
    }
    if (ids.size() == before) ids.resize(before + static_cast<size_t>(out - first));
    check_interrupt();
  }
}

uint32_t* Encoder::encode_word(const ShortPieces::Own& own, std::string_view text, size_t begin, size_t end, uint32_t* out) {
  const std::string_view word = text.substr(begin, end - begin);
  if (word.size() > ShortKey::max_size) {
    constexpr size_t remembered = 400;  // bytes
    if (word.size() > remembered) return out + wordpieces(vocabulary_, word, out);
    const uint64_t hash = LongPieces::hash(word);
    const LongPieces::Ids known = long_pieces_.find(hash, word);
    if (known.count) return std::copy_n(known.data, known.count, out);
    uint32_t* const made = out + wordpieces(vocabulary_, word, out);
    long_pieces_.add(hash, word, out, static_cast<uint32_t>(made - out));
    return made;
  }
  const ShortKey key = begin + 16 <= text.size() ? ShortKey::readable(word.data(), word.size()) : ShortKey::any(word.data(), word.size());
  const ShortPieces::Slot* const slot = own(key);
  if (slot->low == key.low && slot->high == key.high) {
    narrow_ ? slot->ids.write<true>(out) : slot->ids.write<false>(out);
    return out + slot->ids.count();
  }
  if (uint32_t* const made = known_short(key, out); made != out) return made;
  uint32_t* const made = out + wordpieces(vocabulary_, word, out);
  remember_short(key, out, static_cast<uint32_t>(made - out));
  return made;
}

void Encoder::encode_words(std::string_view text, IdBuffer& ids) {
  each_word(text, ids, [](size_t, size_t, const uint32_t*, size_t) {});
}

void Encoder::encode_words(std::string_view text, IdBuffer& ids, std::vector<std::pair<size_t, size_t>>& ranges) {
  const size_t prefix = vocabulary_.word_prefix().size();
  each_word(text, ids, [&](size_t begin, size_t end, const uint32_t* some, size_t count) {
    size_t at = begin;
    for (size_t i = 0; i < count; ++i) {
      const size_t to = count == 1 ? end : at + vocabulary_.token_size(some[i]) - (i ? prefix : 0);
      ranges.emplace_back(at, to);
      at = to;
    }
  });
}

}  // namespace nextword
