// Gpt2Blocks of pretokenize.h. The same pieces as the scanner gpt2_end in pretokenize.cpp, several times faster.
//
// With one bit for each byte, a run starts where a class begins: L & ~(L << 1). A blank before a run belongs to it, so
// such starts are dropped, and the last character of white space before other text starts a piece of its own, which a
// following run then joins. Contractions are mended one by one. All bytes of a character carry its class.
#include <algorithm>
#include <cstring>

#include "pretokenize.h"
#include "unicode_chars.h"

namespace nextword {

Gpt2Blocks::Gpt2Blocks(const uint8_t* begin, const uint8_t* end) : begin_(begin), end_(end), bytes_(byte_blocks()) {
  if (begin < end) load(ahead_);
}

// Loads the block at loaded_. Past the end of the text all is blank: trailing white space then has no last character.
void Gpt2Blocks::load(Block& block) {
  const size_t size = static_cast<size_t>(end_ - begin_);
  if (loaded_ >= size) {
    block = {0, 0, 0, ~uint64_t{0}, ~uint64_t{0}, 0, ~uint64_t{0}, 0};
    loaded_ += 64;
    return;
  }
  if (masks_at_ == masks_count_) {
    masks_at_ = 0;
    masks_count_ = (size - loaded_) / 64;
    if (masks_count_ > batch) masks_count_ = batch;
    if (masks_count_ > 0) {
      bytes_.char_masks(begin_ + loaded_, masks_count_, masks_);
    } else {
      uint8_t last[64];
      std::memset(last, ' ', sizeof last);
      std::memcpy(last, begin_ + loaded_, size - loaded_);
      masks_count_ = 1;
      bytes_.char_masks(last, 1, masks_);
    }
  }
  const CharMasks& m = masks_[masks_at_++];
  block = {m.letter, m.number, 0, m.white, m.white, 0, m.blank, m.quote};
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
  block.other = ~(block.letter | block.number | block.white);
  loaded_ += 64;
}

// The length of "s", "ll" and the like after a quote, or 0.
static unsigned contraction(const uint8_t* p, const uint8_t* end) {
  if (p == end) return 0;
  if (*p == 's' || *p == 'd' || *p == 'm' || *p == 't') return 1;
  if (end - p < 2) return 0;
  return (p[0] == 'l' && p[1] == 'l') || ((p[0] == 'v' || p[0] == 'r') && p[1] == 'e') ? 2 : 0;
}

// One bit for each byte of `block` that begins a piece. Called for each block in turn.
uint64_t Gpt2Blocks::borders(const Block& before, const Block& block, const Block& after) {
  const auto first = [](uint64_t run, uint64_t run_before) { return run & ~(run << 1 | run_before >> 63); };
  uint64_t borders = first(block.letter, before.letter) | first(block.number, before.number) | first(block.other, before.other);
  borders &= ~(block.blank << 1 | before.blank >> 63);
  borders |= first(block.white, before.white);
  borders |= block.narrow_white & ~(block.white >> 1 | after.white << 63);
  for (uint64_t left = block.wide_white; left; left &= left - 1) {
    const unsigned at = static_cast<unsigned>(__builtin_ctzll(left));
    const unsigned next = at + char_at(begin_ + done_ + at).size;
    const uint64_t white = next < 64 ? block.white >> next : after.white >> (next - 64);
    if (!(white & 1)) borders |= uint64_t{1} << at;
  }
  borders = (borders & ~clear_) | set_;
  set_ = clear_ = 0;
  if (done_ == 0) borders |= 1;
  for (uint64_t left = block.quote & borders; left; left &= left - 1) {
    const unsigned at = static_cast<unsigned>(__builtin_ctzll(left));
    const unsigned letters = contraction(begin_ + done_ + at + 1, end_);
    if (!letters) continue;
    if (at < 63) {
      borders &= ~(uint64_t{2} << at);
    } else {
      clear_ = 1;
    }
    const unsigned next = at + 1 + letters;
    (next < 64 ? borders : set_) |= uint64_t{1} << next % 64;
  }
  return done_ == 0 ? borders & ~uint64_t{1} : borders;
}

size_t Gpt2Blocks::next(uint32_t* ends) {
  const size_t size = static_cast<size_t>(end_ - begin_);
  size_t count = 0;
  while (count == 0 && done_ < size) {
    const size_t blocks = std::min(batch, (size - done_ + 63) / 64);
    const auto base = static_cast<uint32_t>(done_);
    Block block[batch + 2];  // with the one before and the one after
    uint64_t words[batch];
    block[0] = before_;
    block[1] = ahead_;
    for (size_t i = 0; i < blocks; ++i, done_ += 64) {
      load(block[i + 2]);
      words[i] = borders(block[i], block[i + 1], block[i + 2]);
    }
    before_ = block[blocks];
    ahead_ = block[blocks + 1];
    if (done_ > size) words[blocks - 1] &= ~uint64_t{0} >> (done_ - size);
    count = bytes_.positions(words, blocks, base, ends);
    if (done_ >= size) ends[count++] = static_cast<uint32_t>(size);
  }
  return count;
}

}  // namespace nextword
