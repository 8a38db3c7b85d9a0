// The class of a character in UTF-8 text, for the scanners.
#pragma once
#include "unicode_tables.h"

namespace nextword {

// One character of valid UTF-8: its class and its length in bytes.
struct Char {
  CharClass kind;
  unsigned size;
};

inline CharClass class_of(uint32_t code) {
  return static_cast<CharClass>(unicode_classes[unicode_blocks[code >> 7] * 128u + (code & 127)]);
}

inline Char char_at(const uint8_t* p) {
  const uint32_t first = *p;
  if (first < 0x80) return {static_cast<CharClass>(unicode_classes[first]), 1};  // block 0 holds ASCII
  if (first < 0xE0) return {class_of((first & 31) << 6 | (p[1] & 63)), 2};
  if (first < 0xF0) return {class_of((first & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63)), 3};
  return {class_of((first & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63)), 4};
}

}  // namespace nextword
