// Numbers that GGUF files hold in blocks, as float32. A block is a run of numbers of one row: integers of a few bits, and
// one or two scales. Files, names and shapes are not known here.
//
//   F32, F16, BF16     a number each
//   Q8_0               32: scale d, int8 q                          d q
//   Q4_0, Q5_0         32: d, q of 4 or 5 bits                      d (q - 8), d (q - 16)
//   Q4_1, Q5_1         32: d, least m, q                            d q + m
//   Q4_K, Q5_K         256: d, m, eight groups with 6-bit s and t   (d s) q - m t
//   Q6_K               256: d, sixteen groups with int8 s, 6-bit q  (d s) (q - 32)
//
// d and m are float16. Every product above fits float32 exactly, so that a number is rounded once, in the sum or the
// difference. Whatever the bytes are, they stand for numbers, NaN and infinity among them.
#pragma once
#include <cstdint>

namespace nextword {

struct BlockKind {
  const char* name;
  int64_t numbers, bytes;  // of a block
  void (*dequantise)(const uint8_t* blocks, int64_t count, float* out);
};

// The kinds, up to one without a name.
extern const BlockKind block_kinds[];

// `count` blocks, of any alignment, divided over threads. out: [count * kind.numbers].
void dequantise(const uint8_t* blocks, const BlockKind& kind, int64_t count, float* out);

}  // namespace nextword
