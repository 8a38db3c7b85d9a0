// The sum behind log-probabilities, in double precision, in the compiler's own vectors of the registers' size. Nothing is
// contracted: every instruction set gives the same bits.
#pragma once
#include <stdint.h>
#include <string.h>

namespace {

// Vectors of as many float64, int64 and float32.
template <int64_t lanes>
struct Wide;
template <>
struct Wide<2> {
  typedef double D __attribute__((vector_size(16)));
  typedef int64_t L __attribute__((vector_size(16)));
  typedef float F __attribute__((vector_size(8)));
};
template <>
struct Wide<4> {
  typedef double D __attribute__((vector_size(32)));
  typedef int64_t L __attribute__((vector_size(32)));
  typedef float F __attribute__((vector_size(16)));
};
template <>
struct Wide<8> {
  typedef double D __attribute__((vector_size(64)));
  typedef int64_t L __attribute__((vector_size(64)));
  typedef float F __attribute__((vector_size(32)));
};

// sum of exp(x[i] - top): each exponential within 2 units in the last place, below e^-708 as 0; summed in 16 lanes,
// each over ascending i, then lane j to lane j + 8, 4, 2 and 1. x may hold -inf, top is the largest.
template <class V>
double exp_sum_double(const float* x, float top, int64_t n) {
  constexpr int64_t lanes = 16, each = V::lanes / 2, registers = lanes / each;
  using D = typename Wide<each>::D;
  using L = typename Wide<each>::L;
  using F = typename Wide<each>::F;
  constexpr double log2_e = 1.4426950408889634, magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  constexpr double ln2_high = 0.693147180369123816490, ln2_low = 1.90821492927058770002e-10;  // the high part has 32 bits
  constexpr double low = -708.0;
  // 1 / k!, k = 13 .. 2: for |r| <= ln(2) / 2 the rest of the series is below 2^-57
  constexpr double p[] = {1.6059043836821613e-10, 2.08767569878681e-09,  2.505210838544172e-08, 2.755731922398589e-07,
                          2.7557319223985893e-06, 2.48015873015873e-05,  0.0001984126984126984, 0.001388888888888889,
                          0.008333333333333333,   0.041666666666666664,  0.16666666666666666,   0.5};
  D sums[registers] = {};
  for (int64_t i = 0; i < n; i += lanes) {
    float last[lanes];
    const float* from = x + i;
    if (n - i < lanes) {
      for (int64_t j = 0; j < lanes; ++j) last[j] = j < n - i ? from[j] : -__builtin_inff();
      from = last;
    }
#pragma GCC unroll 8
    for (int64_t v = 0; v < registers; ++v) {
      F block;
      memcpy(&block, from + v * each, sizeof block);
      const D d = __builtin_convertvector(block, D) - static_cast<double>(top);
      const L small = d < low;
      const D bounded = small ? D{} + low : d;
      const D shifted = bounded * log2_e + magic, k = shifted - magic;
      const D r = (bounded - k * ln2_high) - k * ln2_low;
      D y = D{} + p[0];
#pragma GCC unroll 16
      for (int j = 1; j < 12; ++j) y = y * r + p[j];
      y = (y * r + 1.0) * r + 1.0;
      L bits;
      memcpy(&bits, &shifted, sizeof bits);
      bits = (bits + 1023) << 52;  // the exponent of 2^k: the low bits of `shifted` are k's
      D power;
      memcpy(&power, &bits, sizeof power);
      sums[v] += small ? D{} : y * power;
    }
  }
  double s[lanes];
  memcpy(s, sums, sizeof s);
  for (int64_t half = lanes / 2; half > 0; half /= 2)
    for (int64_t j = 0; j < half; ++j) s[j] += s[j + half];
  return s[0];
}

}  // namespace
