// Rows of x as the compact formats multiply them (formats.h): rounded to bfloat16, or to integers with a scale for each
// row. Plain loops, which the compiler turns into the vectors of each instruction set.
#pragma once
#include <stdint.h>
#include <string.h>

#include "kernels.h"

namespace {

static inline uint32_t bits_of(float x) { uint32_t bits; memcpy(&bits, &x, sizeof bits); return bits; }

// The columns of `out` behind `cols`, up to `width`, become 0.
template <class V>
void round_rows(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int64_t width, uint16_t* out,
                int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r, x += x_stride, out += out_stride) {
    for (int64_t i = 0; i < cols; ++i) out[i] = to_bfloat16(bits_of(x[i]));
    for (int64_t i = cols; i < width; ++i) out[i] = 0;
  }
}

template <class V>
void quantise_rows(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int64_t width, Dtype weights, int8_t* out,
                   int64_t out_stride, float* scale, int32_t* start) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer, ties to even, in the low bits
  const int64_t group = weights == Dtype::int4 ? Int4::step : width;
  const int32_t offset = weights == Dtype::int4 ? 8 : V::byte_offset;
  for (int64_t r = 0; r < rows; ++r, x += x_stride, out += out_stride) {
    int32_t top = 0;  // of the size of x as bits: they are ordered like the numbers, infinity and NaN last
    for (int64_t i = 0; i < cols; ++i) {
      const int32_t size = static_cast<int32_t>(bits_of(x[i]) & 0x7fffffffu);
      top = size > top ? size : top;
    }
    float largest;
    memcpy(&largest, &top, sizeof largest);
    const bool finite = top < 0x7f800000, zero = largest < smallest_row;
    const float factor = finite && !zero ? 127.0f / largest : 0.0f;
    scale[r] = !finite ? __builtin_nanf("") : zero ? 0.0f : largest / 127.0f;
    if (finite) {
      for (int64_t i = 0; i < cols; ++i)
        out[i] = static_cast<int8_t>(static_cast<int32_t>(bits_of(x[i] * factor + magic) - bits_of(magic)));
    } else {
      memset(out, 0, static_cast<size_t>(cols));
    }
    if (cols < width) memset(out + cols, 0, static_cast<size_t>(width - cols));
    for (int64_t g = 0; g < width; g += group) {
      int32_t sum = 0;
      for (int64_t i = g; i < g + group; ++i) sum += out[i];
      *start++ = -offset * sum;
    }
  }
}

}  // namespace
