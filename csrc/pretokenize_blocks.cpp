// Gpt2Blocks of pretokenize.h. The same pieces as the scanner gpt2_end in pretokenize.cpp, several times faster.
//
// With one bit for each byte, a run starts where a class begins: L & ~(L << 1). A blank before a run belongs to it, so
// such starts are dropped, and the last character of white space before other text starts a piece of its own, which a
// following run then joins. Contractions are mended one by one. All bytes of a character carry its class.
#include <cstring>

#include "pretokenize.h"
#include "unicode_chars.h"

namespace nextword {

Gpt2Blocks::Gpt2Blocks(const uint8_t* begin, const uint8_t* end) : begin_(begin), end_(end), char_masks_(char_masks()) {
  if (begin < end) load(ahead_);
}

// Loads the block at loaded_. Past the end of the text all is blank: trailing white space then has no last character.
void Gpt2Blocks::load(Block& block) {
  const size_t size = static_cast<size_t>(end_ - begin_);
  if (loaded_ >= size) {
    block = {0, 0, ~uint64_t{0}, ~uint64_t{0}, 0, ~uint64_t{0}, 0};
    loaded_ += 64;
    return;
  }
  if (masks_at_ == masks_count_) {
    masks_at_ = 0;
    masks_count_ = (size - loaded_) / 64;
    if (masks_count_ > batch) masks_count_ = batch;
    if (masks_count_ > 0) {
      char_masks_(begin_ + loaded_, masks_count_, masks_);
    } else {
      uint8_t last[64];
      std::memset(last, ' ', sizeof last);
      std::memcpy(last, begin_ + loaded_, size - loaded_);
      masks_count_ = 1;
      char_masks_(last, 1, masks_);
    }
  }
  const CharMasks& m = masks_[masks_at_++];
  block = {m.letter, m.number, m.white, m.white, 0, m.blank, m.quote};
  if (m.high | spill_) {
    const uint64_t spilled = (uint64_t{1} << spill_) - 1;
    uint64_t left = m.high & ~spilled;
    const auto mark_as = [&](unsigned kind, uint64_t bits) {
      if (kind - lower < 3u) {
        block.letter |= bits;
      } else if (kind == number) {
        block.number |= bits;
      } else if (kind == space) {
        block.white |= bits;
      }
    };
    if (spill_) mark_as(spill_class_, spilled);
    spill_ = 0;
    while (left) {
      const unsigned at = static_cast<unsigned>(__builtin_ctzll(left));
      const Char c = char_at(begin_ + loaded_ + at);
      const uint64_t bits = ((uint64_t{1} << c.size) - 1) << at;
      left &= ~bits;
      mark_as(c.kind, bits);
      if (c.kind == space) block.wide_white |= uint64_t{1} << at;
      if (at + c.size > 64) {
        spill_ = at + c.size - 64;
        spill_class_ = c.kind;
      }
    }
  }
  loaded_ += 64;
}

// The length of "s", "ll" and the like after a quote, or 0.
static unsigned contraction(const uint8_t* p, const uint8_t* end) {
  if (p == end) return 0;
  if (*p == 's' || *p == 'd' || *p == 'm' || *p == 't') return 1;
  if (end - p < 2) return 0;
  return (p[0] == 'l' && p[1] == 'l') || ((p[0] == 'v' || p[0] == 'r') && p[1] == 'e') ? 2 : 0;
}

size_t Gpt2Blocks::next(uint32_t* ends, size_t capacity) {
  const size_t size = static_cast<size_t>(end_ - begin_);
  size_t count = 0;
  while (done_ < size && count + 65 <= capacity) {
    const Block b = ahead_;
    load(ahead_);
    const uint64_t other = ~(b.letter | b.number | b.white);
    uint64_t borders = (b.letter & ~(b.letter << 1 | letter_before_)) | (b.number & ~(b.number << 1 | number_before_)) |
                       (other & ~(other << 1 | other_before_));
    borders &= ~(b.blank << 1 | blank_before_);
    borders |= b.white & ~(b.white << 1 | white_before_);
    borders |= b.narrow_white & ~(b.white >> 1 | ahead_.white << 63);
    for (uint64_t left = b.wide_white; left; left &= left - 1) {
      const unsigned at = static_cast<unsigned>(__builtin_ctzll(left));
      const unsigned after = at + char_at(begin_ + done_ + at).size;
      const uint64_t white_after = after < 64 ? b.white >> after : ahead_.white >> (after - 64);
      if (!(white_after & 1)) borders |= uint64_t{1} << at;
    }
    borders = (borders & ~clear_) | set_;
    set_ = clear_ = 0;
    if (done_ == 0) borders |= 1;
    for (uint64_t left = b.quote & borders; left; left &= left - 1) {
      const unsigned at = static_cast<unsigned>(__builtin_ctzll(left));
      const unsigned letters = contraction(begin_ + done_ + at + 1, end_);
      if (!letters) continue;
      if (at < 63) {
        borders &= ~(uint64_t{2} << at);
      } else {
        clear_ = 1;
      }
      const unsigned after = at + 1 + letters;
      (after < 64 ? borders : set_) |= uint64_t{1} << after % 64;
    }
    letter_before_ = b.letter >> 63;
    number_before_ = b.number >> 63;
    other_before_ = other >> 63;
    white_before_ = b.white >> 63;
    blank_before_ = b.blank >> 63;
    if (done_ == 0) borders &= ~uint64_t{1};
    if (size - done_ < 64) borders &= (uint64_t{1} << (size - done_)) - 1;
    for (const auto base = static_cast<uint32_t>(done_); borders; borders &= borders - 1) {
      ends[count++] = base + static_cast<uint32_t>(__builtin_ctzll(borders));
    }
    done_ += 64;
    if (done_ >= size) ends[count++] = static_cast<uint32_t>(size);
  }
  return count;
}

}  // namespace nextword
