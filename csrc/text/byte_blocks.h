// Text in blocks of 64 bytes, one bit for each byte: which are letters, digits, blanks, ..., and where the bits of such a
// word are. Nothing beyond ASCII is looked at; pretokenize_blocks.cpp adds it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nextword {

struct CharMasks {  // the first byte is the lowest bit
  uint64_t letter, number, blank, white, quote, high;  // [A-Za-z] [0-9] ' ' [\t\n\v\f\r ] '\'' and bytes from 0x80
};

struct ByteBlocks {
  // text holds 64 * blocks bytes; out, [blocks], may not alias it.
  void (*char_masks)(const uint8_t* text, size_t blocks, CharMasks* out);

  // Writes base + 64 * i + bit for each bit that is set in words[i], smallest first, and returns how many there are.
  // What stands in the `positions_slack` numbers after them is lost.
  size_t (*positions)(const uint64_t* words, size_t count, uint32_t base, uint32_t* out);
};
constexpr size_t positions_slack = 32;

// Fastest last; all that this CPU runs, and all give the same.
std::vector<std::pair<std::string, ByteBlocks>> byte_blocks_variants();

ByteBlocks byte_blocks();                          // the fastest, or the one set
void set_byte_blocks(const std::string& variant);  // for tests; throws std::invalid_argument and lists the names

}  // namespace nextword
