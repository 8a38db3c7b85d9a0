// UTF-8: how long its characters are, and of text as Python keeps it, one unit of 1, 2 or 4 bytes a character.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nextword {

// Of a character of valid UTF-8, by its first byte.
inline size_t char_size(char first) {
  const auto byte = static_cast<uint8_t>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

constexpr size_t utf8_per_unit(size_t unit_size) { return unit_size == 1 ? 2 : unit_size == 2 ? 3 : 4; }  // bytes at most

// Writes the UTF-8 of `count` characters to `out`, which has room for utf8_per_unit of each, and returns its end. Stops at
// a surrogate, which has no UTF-8: `done` is how many characters were written.
template <class Unit>  // uint8_t, uint16_t, uint32_t
char* write_utf8(const Unit* text, size_t count, char* out, size_t& done) {
  constexpr size_t at_once = 8 / sizeof(Unit) * 2;  // ASCII: two words in, and all but their low bytes out
  constexpr uint64_t beyond_ascii = sizeof(Unit) == 1 ? 0x8080808080808080u : sizeof(Unit) == 2 ? 0xFF80FF80FF80FF80u : 0xFFFFFF80FFFFFF80u;
  const auto put = [&](uint32_t byte) { *out++ = static_cast<char>(byte); };
  size_t i = 0;
  while (i < count) {
    while (i + at_once <= count) {
      uint64_t words[2];
      std::memcpy(words, text + i, sizeof words);
      if ((words[0] | words[1]) & beyond_ascii) break;
      for (size_t j = 0; j < at_once; ++j) out[j] = static_cast<char>(text[i + j]);
      out += at_once;
      i += at_once;
    }
    // To the next character beyond ASCII, and past those that follow it.
    for (; i < count && text[i] < 0x80; ++i) put(text[i]);
    for (; i < count && text[i] >= 0x80; ++i) {
      const uint32_t code = text[i];
      if (code < 0x800) {
        put(0xC0 | code >> 6);
      } else if (code < 0x10000) {
        if (code - 0xD800 < 0x800) {
          done = i;
          return out;
        }
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 63));
      } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 63));
        put(0x80 | (code >> 6 & 63));
      }
      put(0x80 | (code & 63));
    }
  }
  done = count;
  return out;
}

}  // namespace nextword
