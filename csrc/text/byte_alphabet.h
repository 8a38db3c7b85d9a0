// GPT-2's printable alphabet for bytes: vocab.json and merges.txt spell each byte as one character, a space as U+0120.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace nextword {

// Printable bytes stand for themselves, the other 68 for U+0100, U+0101, ... in their order.
inline bool spelled_as_itself(unsigned byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

struct ByteAlphabet {
  std::array<uint16_t, 256> code_of_byte{};
  std::array<int16_t, 324> byte_of_code{};  // -1: the code point spells no byte

  ByteAlphabet() {
    byte_of_code.fill(-1);
    uint16_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const uint16_t code = spelled_as_itself(byte) ? static_cast<uint16_t>(byte) : next++;
      code_of_byte[byte] = code;
      byte_of_code[code] = static_cast<int16_t>(byte);
    }
  }
};

inline const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

// The spelling of `bytes`, as UTF-8.
inline std::string spell(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const uint16_t code = byte_alphabet().code_of_byte[static_cast<uint8_t>(c)];
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else {
      out += static_cast<char>(0xC0 | code >> 6);
      out += static_cast<char>(0x80 | (code & 63));
    }
  }
  return out;
}

// Appends the bytes that UTF-8 `spelling` spells to `out`. False, with `out` as it was, where a character spells none.
inline bool unspell(std::string_view spelling, std::string& out) {
  const size_t before = out.size();
  const auto& table = byte_alphabet().byte_of_code;
  out.resize(before + spelling.size());
  char* to = &out[before];
  for (size_t i = 0; i < spelling.size(); ++i) {
    unsigned code = static_cast<uint8_t>(spelling[i]);
    if (code >= 0xC0) {
      code = i + 1 < spelling.size() && code < 0xC6 ? (code & 31) << 6 | (static_cast<uint8_t>(spelling[i + 1]) & 63) : 9999;
      ++i;
    }
    if (code >= table.size() || table[code] < 0) {
      out.resize(before);
      return false;
    }
    *to++ = static_cast<char>(table[code]);
  }
  out.resize(static_cast<size_t>(to - out.data()));
  return true;
}

}  // namespace nextword
