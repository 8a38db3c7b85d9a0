// The scanners of pretokenize.h, one character at a time.
#include "pretokenize.h"

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "bert_chars.h"
#include "machine/shown.h"
#include "unicode_chars.h"

namespace nextword {
namespace {

using Byte = uint8_t;

constexpr unsigned bit(CharClass kind) { return 1u << kind; }
constexpr unsigned letters = bit(lower) | bit(upper) | bit(uncased);
constexpr unsigned spaces = bit(space);
constexpr unsigned numbers = bit(number);
constexpr unsigned signs = bit(other) | bit(mark);  // [^\s\p{L}\p{N}]
constexpr unsigned upper_part = bit(upper) | bit(uncased) | bit(mark);
constexpr unsigned lower_part = bit(lower) | bit(uncased) | bit(mark);

inline bool in(Char c, unsigned set) { return set >> c.kind & 1; }
inline bool in(const Byte* p, const Byte* end, unsigned set) { return p < end && in(char_at(p), set); }
inline bool newline(Byte b) { return b == '\r' || b == '\n'; }

// The first of 8 bytes that is no letter of a to z, or 8. fold: A to Z are letters too.
template <bool fold>
inline unsigned ascii_letters(const Byte* p) {
  constexpr uint64_t each = 0x0101010101010101u, top = 0x80 * each;
  uint64_t bytes;
  std::memcpy(&bytes, p, 8);
  const uint64_t low = (fold ? bytes | 0x20 * each : bytes) & ~top;  // sums stay within their bytes
  const uint64_t from_a = low + (0x80 - 'a') * each, past_z = low + (0x80 - 'z' - 1) * each;
  const uint64_t others = ~(from_a & ~past_z & ~bytes) & top;
  return others ? static_cast<unsigned>(__builtin_ctzll(others)) / 8 : 8;
}

template <bool words = false, bool fold = false>  // words: mostly ASCII letters will come
inline const Byte* skip(const Byte* p, const Byte* end, unsigned set) {
  while (p < end) {
    if (words && end - p >= 8) {
      const unsigned run = ascii_letters<fold>(p);
      p += run;
      if (run == 8) continue;
    }
    const Char c = char_at(p);
    if (!in(c, set)) break;
    p += c.size;
  }
  return p;
}

inline const Byte* skip_word(const Byte* p, const Byte* end) { return skip<true, true>(p, end, letters); }

inline const Byte* skip_numbers(const Byte* p, const Byte* end, int most = 3) {  // \p{N}{1,most}
  for (int i = 0; i < most && in(p, end, numbers); ++i) p += char_at(p).size;
  return p;
}

// The end of "'s", "'ll" and the like at p, or p itself.
inline const Byte* contraction(const Byte* p, const Byte* end) {
  if (end - p < 2 || *p != '\'') return p;
  const Byte a = p[1];
  if (a == 's' || a == 'd' || a == 'm' || a == 't') return p + 2;
  if (end - p < 3) return p;
  const Byte b = p[2];
  return (a == 'l' && b == 'l') || (a == 'v' && b == 'e') || (a == 'r' && b == 'e') ? p + 3 : p;
}

// The same without regard to case. U+017F, the long s, folds to s.
inline const Byte* contraction_any_case(const Byte* p, const Byte* end) {
  if (end - p < 2 || *p != '\'') return p;
  const Byte a = p[1] | 0x20;
  if (a == 's' || a == 'd' || a == 'm' || a == 't') return p + 2;
  if (end - p < 3) return p;
  if (p[1] == 0xC5 && p[2] == 0xBF) return p + 3;
  const Byte b = p[2] | 0x20;
  return (a == 'l' && b == 'l') || (a == 'v' && b == 'e') || (a == 'r' && b == 'e') ? p + 3 : p;
}

// A run of white space [p, run) that does not reach the end of the text gives its last character to what follows,
// unless that is all it has.
inline const Byte* without_last(const Byte* p, const Byte* run, const Byte* end) {
  if (run == end) return run;
  const Byte* last = run - 1;
  while ((*last & 0xC0) == 0x80) --last;
  return last == p ? run : last;
}

inline const Byte* after_last_newline(const Byte* p, const Byte* run) {  // p if there is none
  while (run > p && !newline(run[-1])) --run;
  return run;
}

template <bool digits_alone>  // whether numbers are parted off first: then white space before one is at the end of a text
const Byte* words_end(const Byte* p, const Byte* end) {
  if (const Byte* q = contraction(p, end); q != p) return q;
  const Char first = char_at(p);
  const Byte* q = p + first.size;
  CharClass kind = first.kind;
  if (digits_alone && kind == number) return q;
  if (kind == space) {
    if (digits_alone) {
      const Byte* run = skip(q, end, spaces);
      if (in(run, end, numbers)) return run;
    }
    if (*p != ' ' || q == end || in(char_at(q), spaces)) return without_last(p, skip(q, end, spaces), end);
    const Char next = char_at(q);
    kind = next.kind;
    q += next.size;
  }
  const unsigned set = bit(kind);
  return skip(q, end, set & letters ? letters : set & numbers ? numbers : signs);
}

constexpr auto gpt2_end = words_end<false>;
constexpr auto smollm_end = words_end<true>;

// whole_tail: whether white space at the end of the text is one piece, newlines in it or not. digits: of a piece, at most.
template <bool whole_tail, int digits>
const Byte* tiktoken_end(const Byte* p, const Byte* end) {
  if (const Byte* q = contraction_any_case(p, end); q != p) return q;
  const Char first = char_at(p);
  const Byte* q = p + first.size;
  if (in(first, letters)) return skip_word(q, end);
  if (in(first, numbers)) return skip_numbers(p, end, digits);
  if (!newline(*p) && in(q, end, letters)) return skip_word(q, end);
  if (in(first, signs) || (*p == ' ' && in(q, end, signs))) {
    q = skip(q, end, signs);
    while (q < end && newline(*q)) ++q;
    return q;
  }
  const Byte* run = skip(q, end, spaces);
  if (whole_tail && run == end) return run;
  if (const Byte* line = after_last_newline(p, run); line != p) return line;
  return without_last(p, run, end);
}

constexpr auto cl100k_end = tiktoken_end<true, 3>;
constexpr auto llama3_end = tiktoken_end<false, 3>;
constexpr auto qwen2_end = tiktoken_end<false, 1>;

// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ from p with the longest first part that lets the second
// match, else p.  upper_end: where the first part alone would end.
inline const Byte* lower_word(const Byte* p, const Byte* end, const Byte*& upper_end) {
  const Byte* q = p;
  const Byte* last = p;  // the end of the last character that both parts admit
  while (q < end) {
    const Char c = char_at(q);
    if (!in(c, upper_part)) break;
    q += c.size;
    if (in(c, lower_part)) last = q;
  }
  upper_end = q;
  return in(q, end, lower_part) ? skip<true>(q, end, lower_part) : last;
}

const Byte* o200k_end(const Byte* p, const Byte* end) {
  const Char first = char_at(p);
  const Byte* q = p + first.size;
  const bool prefix = !in(first, letters | numbers) && !newline(*p);
  const Byte *word, *upper_end, *unused;
  if (prefix) {
    if ((word = lower_word(q, end, upper_end)) != q) return contraction_any_case(word, end);
    if (first.kind == mark && (word = lower_word(p, end, unused)) != p) return contraction_any_case(word, end);
    if (upper_end != q) return contraction_any_case(upper_end, end);
  } else if (in(first, letters)) {
    if ((word = lower_word(p, end, upper_end)) != p) return contraction_any_case(word, end);
    return contraction_any_case(upper_end, end);
  }
  if (in(first, numbers)) return skip_numbers(p, end);
  if (in(first, signs) || (*p == ' ' && in(q, end, signs))) {
    q = skip(q, end, signs);
    while (q < end && (newline(*q) || *q == '/')) ++q;
    return q;
  }
  const Byte* run = skip(q, end, spaces);
  if (const Byte* line = after_last_newline(p, run); line != p) return line;
  return without_last(p, run, end);
}

template <bool runs>  // whether blanks that follow each other stay together
const Byte* to_next_blank(const Byte* p, const Byte* end) {
  const Byte* q = p + 1;
  while (runs && q < end && q[-1] == ' ' && *q == ' ') ++q;
  const void* const found = q < end ? std::memchr(q, ' ', static_cast<size_t>(end - q)) : nullptr;
  return found ? static_cast<const Byte*>(found) : end;
}

template <bool signs>
const Byte* to_word_end(const Byte* p, const Byte* end) {
  const auto kind_at = [&](const Byte* q) { return bert_kind(code_at(q)) & (signs ? bert_white | bert_sign : bert_white); };
  const unsigned kind = kind_at(p);
  do p += char_at(p).size;
  while (kind != bert_sign && p < end && kind_at(p) == kind);
  return p;
}

const Byte* to_end(const Byte*, const Byte* end) { return end; }

constexpr size_t scanned_at_a_time = 256;  // pieces
static_assert(scanned_at_a_time <= Splitter::room);

template <const Byte* (*next)(const Byte*, const Byte*)>
size_t scan(const Byte* begin, const Byte*& at, const Byte* end, uint32_t* ends) {
  size_t count = 0;
  const Byte* p = at;
  for (; p < end && count < scanned_at_a_time; ++count) {
    p = next(p, end);
    ends[count] = static_cast<uint32_t>(p - begin);
  }
  at = p;
  return count;
}

}  // namespace

namespace {

constexpr std::pair<const char*, Pattern> pattern_names[] = {
    {"gpt2", Pattern::gpt2}, {"cl100k", Pattern::cl100k}, {"llama3", Pattern::llama3}, {"qwen2", Pattern::qwen2},
    {"smollm", Pattern::smollm}, {"o200k", Pattern::o200k}, {"blanks", Pattern::blanks}, {"each_blank", Pattern::each_blank}, {"whole", Pattern::whole},
    {"bert", Pattern::bert}, {"words", Pattern::words}};

}  // namespace

Pattern pattern_named(std::string_view name) {
  std::string names;
  for (const auto& [known, pattern] : pattern_names) {
    if (name == known) return pattern;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  throw std::invalid_argument("Tokenizer: pattern must be one of " + names + ", got '" + shown(name) + "'");
}

const char* pattern_name(Pattern pattern) {
  for (const auto& [name, known] : pattern_names) {
    if (known == pattern) return name;
  }
  return "";
}

const uint8_t* piece_end(Pattern pattern, const uint8_t* begin, const uint8_t* end) {
  switch (pattern) {
    case Pattern::cl100k: return cl100k_end(begin, end);
    case Pattern::llama3: return llama3_end(begin, end);
    case Pattern::qwen2: return qwen2_end(begin, end);
    case Pattern::smollm: return smollm_end(begin, end);
    case Pattern::o200k: return o200k_end(begin, end);
    case Pattern::blanks: return to_next_blank<true>(begin, end);
    case Pattern::each_blank: return to_next_blank<false>(begin, end);
    case Pattern::whole: return end;
    case Pattern::bert: return to_word_end<true>(begin, end);
    case Pattern::words: return to_word_end<false>(begin, end);
    default: return gpt2_end(begin, end);
  }
}

size_t Splitter::next(uint32_t* ends) {
  switch (pattern_) {
    case Pattern::cl100k: return scan<cl100k_end>(begin_, at_, end_, ends);
    case Pattern::llama3: return scan<llama3_end>(begin_, at_, end_, ends);
    case Pattern::qwen2: return scan<qwen2_end>(begin_, at_, end_, ends);
    case Pattern::smollm: return scan<smollm_end>(begin_, at_, end_, ends);
    case Pattern::o200k: return scan<o200k_end>(begin_, at_, end_, ends);
    case Pattern::blanks: return scan<to_next_blank<true>>(begin_, at_, end_, ends);
    case Pattern::each_blank: return scan<to_next_blank<false>>(begin_, at_, end_, ends);
    case Pattern::whole: return scan<to_end>(begin_, at_, end_, ends);
    case Pattern::bert: return scan<to_word_end<true>>(begin_, at_, end_, ends);
    case Pattern::words: return scan<to_word_end<false>>(begin_, at_, end_, ends);
    default: return blocks_.next(ends);
  }
}

}  // namespace nextword
