// Work whose result nobody needs, at the speed of the kernels: what machine.cpp measures the machine by.
#pragma once
#include "../kernels.h"

namespace {

template <class V>
float read_all(const float* x, int64_t n) {
  constexpr int64_t chains = 8, step = chains * V::lanes;  // as many as hide the latency of an addition
  constexpr int64_t line = 16, ahead = 2048;               // floats; matmul.h fetches as far ahead
  static_assert(read_floats % step == 0);
  typename V::F sums[chains];
#pragma GCC unroll 16
  for (auto& sum : sums) sum = V::set(0.0f);
  for (int64_t i = 0; i < n; i += step) {
#pragma GCC unroll 16
    for (int64_t c = 0; c < step; c += line) V::prefetch(x + i + ahead + c);
#pragma GCC unroll 16
    for (int64_t c = 0; c < chains; ++c) sums[c] = V::add(sums[c], V::load(x + i + c * V::lanes));
  }
  for (int64_t c = 1; c < chains; ++c) sums[0] = V::add(sums[0], sums[c]);
  return V::sum(sums[0]);
}

template <class V>
float multiply_adds(float start, int64_t count) {
  constexpr int chains = V::tile_rows * V::tile_vectors;  // as the tile of a matmul
  typename V::F sums[chains];
  const auto factor = V::set(0.5f), term = V::set(0.25f);
#pragma GCC unroll 32
  for (int c = 0; c < chains; ++c) sums[c] = V::set(start + static_cast<float>(c));
  for (int64_t done = 0; done < count; done += chains * V::lanes) {
#pragma GCC unroll 32
    for (auto& sum : sums) sum = V::mul_add(sum, factor, term);
  }
  for (int c = 1; c < chains; ++c) sums[0] = V::add(sums[0], sums[c]);
  return V::sum(sums[0]);
}

}  // namespace
