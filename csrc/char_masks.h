// Which of 64 bytes are ASCII letters, digits, blanks, ...: one bit for each byte, first byte lowest. Nothing beyond
// ASCII is looked at; pretokenize_blocks.cpp adds it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nextword {

struct CharMasks {
  uint64_t letter, number, blank, white, quote, high;  // [A-Za-z] [0-9] ' ' [\t\n\v\f\r ] '\'' and bytes from 0x80
};

// text holds 64 * blocks bytes; out, [blocks], may not alias it.
using CharMasksFunction = void (*)(const uint8_t* text, size_t blocks, CharMasks* out);

// Fastest last; all that this CPU runs, and all give the same masks.
std::vector<std::pair<std::string, CharMasksFunction>> char_masks_variants();

CharMasksFunction char_masks();                   // the fastest, or the one set
void set_char_masks(const std::string& variant);  // for tests; throws std::invalid_argument and lists the names

}  // namespace nextword
