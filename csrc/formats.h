// How weights and the key-value cache are stored. Plain layout constants; packed.cpp writes them, kernels/ read them.
#pragma once
#include <stdint.h>

// A matrix [depth, cols] is cut into panels of 32 columns. Panel p holds rows 0 .. depth - 1 of its columns one after
// the other, panel[k][c] = matrix[k][32 p + c], so that every product reads it from front to back; columns past the
// last are 0. 32 = two AVX-512 or four AVX2 registers, two cache lines: wide enough that a row of weights is a whole
// number of lines, narrow enough that a tile of several rows keeps its accumulators in registers.
constexpr int64_t panel_cols = 32;
static inline constexpr int64_t panels_of(int64_t cols) { return (cols + panel_cols - 1) / panel_cols; }

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
