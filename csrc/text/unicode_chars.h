// The class of a character in UTF-8 text, for the scanners and for what stands around added tokens.
#pragma once
#include <array>
#include <cstddef>

#include "unicode_tables.h"

namespace nextword {

template <size_t runs>
constexpr size_t expanded_size(const UnicodeRun (&from)[runs]) {
  size_t size = 0;
  for (const UnicodeRun& run : from) size += run.length;
  return size;
}

template <size_t size, size_t runs>
constexpr std::array<uint8_t, size> expanded(const UnicodeRun (&from)[runs]) {
  std::array<uint8_t, size> all{};
  size_t at = 0;
  for (const UnicodeRun& run : from)
    for (size_t end = at + run.length; at < end; ++at) all[at] = run.value;
  return all;
}

// unicode_classes[unicode_blocks[code / 128] * 128 + code % 128] is the class of a code point.
inline constexpr auto unicode_blocks = expanded<expanded_size(unicode_block_runs)>(unicode_block_runs);
inline constexpr auto unicode_classes = expanded<expanded_size(unicode_class_runs)>(unicode_class_runs);
static_assert(unicode_blocks.size() == 0x110000 / 128 && unicode_classes.size() % 128 == 0);

// One character of valid UTF-8: its class and its length in bytes.
struct Char {
  CharClass kind;
  unsigned size;
};

inline CharClass class_of(uint32_t code) {
  return static_cast<CharClass>(unicode_classes[unicode_blocks[code >> 7] * 128u + (code & 127)]);
}

// \w of UTS #18: a letter, a mark, a decimal digit and the like.
inline bool is_word(uint32_t code) {
  const CharClass kind = class_of(code);
  bool word = kind != other && kind != space;
  for (const UnicodeRange& range : odd_words) word ^= range.first <= code && code <= range.last;
  return word;
}

// The code point at p, and the character before p, which is not the first of its text.
inline uint32_t code_at(const uint8_t* p) {
  const uint32_t first = *p;
  if (first < 0x80) return first;
  if (first < 0xE0) return (first & 31) << 6 | (p[1] & 63u);
  if (first < 0xF0) return (first & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
  return (first & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
}
inline const uint8_t* char_before(const uint8_t* p) {
  do --p;
  while ((*p & 0xC0) == 0x80);
  return p;
}

inline Char char_at(const uint8_t* p) {
  const uint32_t first = *p;
  if (first < 0x80) return {static_cast<CharClass>(unicode_classes[first]), 1};  // block 0 holds ASCII
  if (first < 0xE0) return {class_of((first & 31) << 6 | (p[1] & 63)), 2};
  if (first < 0xF0) return {class_of((first & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63)), 3};
  return {class_of((first & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63)), 4};
}

}  // namespace nextword
