// What a message shows of text that may be of any length and content.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace nextword {

// Its beginning, cut between two characters if it is longer than `most` bytes; bytes that are no UTF-8, and control
// characters, as '?'.
inline std::string shown(std::string_view text, size_t most = 60) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const unsigned first = byte(at), second = byte(at + 1);
    // Bytes of the character by its first one (RFC 3629); a second one that would make it overlong, a surrogate or too
    // large is refused.
    size_t size = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second >= 0x90)) {
      size = 0;
    }
    for (size_t i = 1; i < size; ++i)
      if ((byte(at + i) & 0xC0) != 0x80) size = 0;
    if (out.size() + (size ? size : 1) > most) return out + "...";
    if (size == 0 || (size == 1 && (first < 0x20 || first == 0x7F)))
      out += '?';
    else
      out += text.substr(at, size);
    at += size ? size : 1;
  }
  return out;
}

}  // namespace nextword
