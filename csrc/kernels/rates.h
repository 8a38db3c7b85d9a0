// Work whose result nobody needs, at the speed of the kernels: what machine.cpp measures the machine by.
#pragma once
#include "kernels.h"

namespace {

template <class V, void (*fetch)(const void*)>
float read_all(const float* x, int64_t n) {
  constexpr int64_t chains = 8, step = chains * V::lanes;  // as many as hide the latency of an addition
  constexpr int64_t line = 16, ahead = 2048;               // floats; matmul.h fetches as far ahead
  static_assert(read_floats % step == 0);
  typename V::F sums[chains];
#pragma GCC unroll 16
  for (auto& sum : sums) sum = V::set(0.0f);
  for (int64_t i = 0; i < n; i += step) {
#pragma GCC unroll 16
    for (int64_t c = 0; c < step; c += line) fetch(x + i + ahead + c);
#pragma GCC unroll 16
    for (int64_t c = 0; c < chains; ++c) sums[c] = V::add(sums[c], V::load(x + i + c * V::lanes));
  }
  for (int64_t c = 1; c < chains; ++c) sums[0] = V::add(sums[0], sums[c]);
  return V::sum(sums[0]);
}

// The products of a register tile, by the weights' format: `each` multiply-adds a lane, of operands that lie in
// memory as the formats have them.
template <class V>
struct FloatProducts {
  using Sum = typename V::F;
  static constexpr int64_t each = 1;
  static constexpr uint32_t weight = 0x3f000000, x = 0x3f800000;  // 1 / 2 and 1
  static Sum start(float a) { return V::set(a); }
  static Sum add(Sum sum, const char* w, const char* x) {
    return V::mul_add(V::set(*reinterpret_cast<const float*>(x)), V::load(reinterpret_cast<const float*>(w)), sum);
  }
  static typename V::F result(Sum sum) { return sum; }
};
template <class V>
struct PairProducts {
  using Sum = typename V::F;
  static constexpr int64_t each = 2;
  static constexpr uint32_t weight = 0x3f003f00, x = 0x3f803f80;
  static Sum start(float a) { return V::set(a); }
  static Sum add(Sum sum, const char* w, const char* x) { return V::dot_pairs(sum, V::bytes(w), V::four(x)); }
  static typename V::F result(Sum sum) { return sum; }
};
template <class V>
struct ByteProducts {
  using Sum = typename V::I;
  static constexpr int64_t each = 4;
  static constexpr uint32_t weight = 0x81818181, x = 0x01010101;  // code 129, which is 1, and 1
  static Sum start(float a) { return V::ints(static_cast<int32_t>(a)); }
  static Sum add(Sum sum, const char* w, const char* x) { return V::dot_bytes(sum, V::bytes(w), V::four(x)); }
  static typename V::F result(Sum sum) { return V::to_float(sum); }
};
template <class V>
struct NibbleProducts : ByteProducts<V> {
  using Sum = typename V::I;
  static constexpr uint32_t weight = 0x01010101;
  static Sum add(Sum sum, const char* w, const char* x) { return V::dot_nibbles(sum, V::bytes(w), V::four(x)); }
};

template <class V, template <class> class Products>
float multiply_adds(float start, int64_t count) {
  using P = Products<V>;
  constexpr int rows = V::tile_rows, vectors = V::tile_vectors, words = vectors * V::lanes;
  uint32_t weights[words], x[rows];
  for (auto& w : weights) w = P::weight;
  for (auto& v : x) v = P::x;
  typename P::Sum sums[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) sums[r][v] = P::start(start + static_cast<float>(r * vectors + v));
  for (int64_t done = 0; done < count; done += rows * words * P::each) {
    __asm__ volatile("" : : "r"(weights), "r"(x) : "memory");  // they may be others now: each product is made
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v)
        sums[r][v] = P::add(sums[r][v], reinterpret_cast<const char*>(weights + v * V::lanes),
                            reinterpret_cast<const char*>(x + r));
  }
  auto total = V::set(0.0f);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) total = V::add(total, P::result(sums[r][v]));
  return V::sum(total);
}

}  // namespace
