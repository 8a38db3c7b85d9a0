// Splits text into the pieces that byte-pair encoding works on. No vocabulary here, and no regular expressions:
// each pattern is a scanner over the character classes of unicode_tables.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "byte_blocks.h"

namespace nextword {

// The splitting patterns of tiktoken's encodings, matched as tiktoken matches them, and others made of them.
//   gpt2    r50k_base, p50k_base, p50k_edit and GPT-2
//           '(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s
//   cl100k  '(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]
//           |\s+(?!\S)|\s
//   llama3  cl100k as it was before: without \s++$, so that a newline ends a piece at the end of the text too
//   qwen2   llama3 with \p{N} in the place of \p{N}{1,3}
//   smollm  each \p{N} alone, and what is between two of them by gpt2, as a text of its own (Digits, then ByteLevel)
//   blanks  before each run of blanks; each_blank: before each blank; whole: nowhere. For SentencePiece's vocabularies.
//   bert    white space, signs of punctuation one by one, what is between them; words: what is between white space. For
//           WordPiece, which leaves white space out (wordpiece.h).
//   o200k   word without or with capitals, each with an optional character before and a contraction after,
//           |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
enum class Pattern { gpt2, cl100k, llama3, qwen2, smollm, o200k, blanks, each_blank, whole, bert, words };

Pattern pattern_named(std::string_view name);  // throws std::invalid_argument and lists the names
const char* pattern_name(Pattern pattern);

// The end of the piece that starts at `begin`. begin < end; [begin, end) is valid UTF-8 and ends where the text ends.
// Over a whole text the work is linear in its bytes.
const uint8_t* piece_end(Pattern pattern, const uint8_t* begin, const uint8_t* end);

// The gpt2 pattern over blocks of 64 bytes: the classes of their characters as bitmaps, and piece borders by bit algebra.
class Gpt2Blocks {
 public:
  Gpt2Blocks(const uint8_t* begin, const uint8_t* end);
  static constexpr size_t batch = 16;  // blocks at a time

  size_t next(uint32_t* ends);  // as Splitter::next

 private:
  struct Block {
    uint64_t letter, number, other, white, narrow_white, wide_white;  // narrow: ASCII; wide: first bytes of the others
    uint64_t blank, quote;
  };
  void load(Block& block);
  uint64_t borders(const Block& before, const Block& block, const Block& after);

  const uint8_t* begin_;
  const uint8_t* end_;
  size_t loaded_ = 0, done_ = 0;  // bytes before the next block to load; before the next block to split
  size_t masks_at_ = batch, masks_count_ = batch;
  unsigned spill_ = 0;            // bytes of the next block that belong to the last character of the one before
  unsigned spill_class_ = 0;
  Block before_{}, ahead_;        // the block before done_, and the one that begins there
  uint64_t set_ = 0, clear_ = 0;  // borders that a contraction of the block before makes and removes
  ByteBlocks bytes_;
  CharMasks masks_[batch];
};

// Goes over a text once. The text is valid UTF-8, below 4 GiB, and outlives the splitter.
class Splitter {
 public:
  static constexpr size_t room = 64 * Gpt2Blocks::batch + positions_slack;

  Splitter(Pattern pattern, const uint8_t* begin, const uint8_t* end)
      : pattern_(pattern), begin_(begin), at_(begin), end_(end), blocks_(begin, pattern == Pattern::gpt2 ? end : begin) {}

  // The ends of the next pieces as distances from the text's begin. Returns how many; 0 at the end of the text.
  // ends: [room]; what stands in it after the pieces is lost.
  size_t next(uint32_t* ends);

 private:
  Pattern pattern_;
  const uint8_t *begin_, *at_, *end_;
  Gpt2Blocks blocks_;
};

}  // namespace nextword
