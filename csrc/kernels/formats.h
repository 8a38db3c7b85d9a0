// How weights and the key-value cache are stored. Plain layout constants; encode.h and packed.cpp write them, kernels/
// read them.
#pragma once
#include <stdint.h>

// A matrix [depth, cols] is cut into panels of 32 columns. A panel holds its columns' weights for one depth after the
// other, so that every product reads it from front to back; columns past the last are 0. 32 = two AVX-512 or four AVX2
// registers, two cache lines of float32: wide enough that a row of weights is a whole number of lines, narrow enough that
// a tile of several rows keeps its accumulators in registers.
constexpr int64_t panel_cols = 32;
static inline constexpr int64_t panels_of(int64_t cols) { return (cols + panel_cols - 1) / panel_cols; }

// The format of a weight matrix. In each, a panel is a sequence of steps, `step` depths of all 32 columns, and then
// `tail` bytes; depths past the last are 0. Every part is a whole number of cache lines. A product multiplies the stored
// weight by x as `multiplies` says, and sums in one order, so that a row's bits depend on that row alone.
enum class Dtype { float32, bfloat16, int8, int4 };
constexpr int dtypes = 4;

// float32 as it is. A step is panel[k][c] = matrix[k][c]. out = one chain of multiply-adds over ascending k.
struct Float32 {
  static constexpr int64_t step = 1, step_bytes = 4 * panel_cols, tail = 0;
};

// The upper half of a float32, rounded to nearest, ties to even: relative error 2^-8 at most, above
// float32's range infinite, NaN kept. A step is [32][2]: two depths of a column lie together. x is rounded in the same
// way; products are exact in float32, sums float32 over ascending k (AVX512-BF16 adds the two of a step in its own fixed
// order and takes subnormal numbers as 0).
struct Bfloat16 {
  static constexpr int64_t step = 2, step_bytes = 4 * panel_cols, tail = 0;
};

// -127 .. 127 times a scale for each column: scale = max |w| / 127, code = 128 + round(w / scale), ties to even; error
// at most scale / 2. A step is [4][32][4] codes, one byte each: quads of depths; the tail is 32 scales as
// float32.
// x becomes integers in the same way with a scale for each row; the integers' sum is exact, then it is multiplied by
// the column's scale and by the row's. Depths up to 65,536: a sum of that many products fits an int32.
struct Int8 {
  static constexpr int64_t step = 16, step_bytes = 16 * panel_cols, tail = 4 * panel_cols;
  static constexpr int64_t most_depth = 65536;
};

// -8 .. 7 times a scale for each column and group of 32 depths. The scale, a bfloat16, is the one of +-max |w| / d for d
// = 7, 7.5 .. 11 with the least squared error (the first of equals); code = 8 + round(w / scale), ties to even, held to
// 0 .. 15. A step is eight lines of 64 bytes, then the 32 scales. Line q holds depths 4 q .. 4 q + 3: byte 4 c + i has
// in its low half the code of column c and depth 4 q + i, in its high half that of column c + 16.
// x becomes integers as for int8. A group's integer sum is exact; its product with the group's scale is added to the
// groups before it in float32, and the end multiplied by the row's scale.
struct Int4 {
  static constexpr int64_t step = 32, step_bytes = 18 * panel_cols, tail = 0;
};

// Rows of x whose largest number is below this are taken as 0: 127 / largest must be finite.
constexpr float smallest_row = 1e-30f;

static inline constexpr uint16_t to_bfloat16(uint32_t bits) {
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u
                                                                  : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <class Format>
static constexpr int64_t steps_of(int64_t depth) { return (depth + Format::step - 1) / Format::step; }
template <class Format>
static constexpr int64_t panel_bytes(int64_t depth) { return steps_of<Format>(depth) * Format::step_bytes + Format::tail; }

// Keys are packed as the matrix [width, tokens] (a panel is 32 tokens), values as [tokens, width]: both products of
// attention are then the same tile as a linear layer's.
//   keys    [slots, heads, capacity / 32, width, 32]
//   values  [slots, heads, panels_of(width), capacity, 32]
// Their elements, in the order of the enumerators:
//   float    as it is
//   bfloat16 The upper 16 bits of a float32, rounded to nearest, ties to even: x (1 + e) with |e| <= 2^-8, off by at
//            most 2^-134 where |x| < 2^-126, infinite from 2^128 (1 - 2^-9) on. Infinity and NaN stay what they are.
//   int8     The key or the value of one token in one head is one row q * s of integers -127 .. 127 and a float32 s:
//            s = max|x| / 127, q = x / s to nearest, ties to even; off by at most s (1/2 + 2^-17). Where s is below
//            float32's normal range, 2^-126, s and all q are 0: off by less than 2^-119. A row with NaN or infinity in
//            it has s = NaN and q = 0, so that all of it is NaN.
//   scales  [slots, heads, 2, capacity]   float32: s of the keys, then of the values
enum class Element { float32, bfloat16, int8 };
using bfloat16 = uint16_t;
