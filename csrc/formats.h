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
