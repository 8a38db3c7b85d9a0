// Splits text into the pieces that byte-pair encoding works on. No vocabulary here, and no regular expressions:
// each pattern is a scanner over the character classes of unicode_tables.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nextword {

// The splitting patterns of tiktoken's encodings, matched as tiktoken matches them.
//   gpt2    r50k_base, p50k_base, p50k_edit and GPT-2
//           '(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s
//   cl100k  '(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]
//           |\s+(?!\S)|\s
//   o200k   word without or with capitals, each with an optional character before and a contraction after,
//           |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
enum class Pattern { gpt2, cl100k, o200k };

// The end of the piece that starts at `begin`. begin < end; [begin, end) is valid UTF-8 and ends where the text ends.
// Over a whole text the work is linear in its bytes.
const uint8_t* piece_end(Pattern pattern, const uint8_t* begin, const uint8_t* end);

// The ends of the next pieces of [begin, end) as distances from begin, until `capacity` of them are written or the text
// is used up. Returns how many. Requires end - begin < 2^32 and begin < end.
size_t split(Pattern pattern, const uint8_t* begin, const uint8_t* end, uint32_t* ends, size_t capacity);

}  // namespace nextword
