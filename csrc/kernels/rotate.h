// Rotary position embedding. One row at a time; ops.cpp divides the rows and finds the turns of each.
#pragma once
#include "kernels.h"

namespace {

// Pairs whose cosines and sines are parted from each other at once, for all heads of the row.
constexpr int64_t parted = 64;

struct Parted {
  float cosines[parted], sines[parted];

  void take(const float* turns, int64_t count) {
    for (int64_t i = 0; i < count; ++i) cosines[i] = turns[2 * i], sines[i] = turns[2 * i + 1];
  }
};

template <class V>
void rotate_halves(const float* x, const float* turns, int64_t heads, int64_t pairs, float* out) {
  Parted part;
  for (int64_t first = 0; first < pairs; first += parted) {
    const int64_t count = pairs - first < parted ? pairs - first : parted;
    part.take(turns + 2 * first, count);
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t at = head * 2 * pairs + first;
      const auto each = [&](int64_t i, const auto& get, const auto& put) {
        const auto cosine = get(part.cosines + i), sine = get(part.sines + i), a = get(x + at + i), b = get(x + at + pairs + i);
        put(out + at + i, V::sub(V::mul(a, cosine), V::mul(b, sine)));
        put(out + at + pairs + i, V::add(V::mul(b, cosine), V::mul(a, sine)));
      };
      int64_t i = 0;
      for (; i + V::lanes <= count; i += V::lanes)
        each(i, [](const float* p) { return V::load(p); }, [](float* p, auto y) { V::store(p, y); });
      const int64_t n = count - i;
      if (n) each(i, [&](const float* p) { return V::load(p, n); }, [&](float* p, auto y) { V::store(p, y, n); });
    }
  }
}

template <class V>
void rotate_neighbours(const float* x, const float* turns, int64_t heads, int64_t pairs, float* out) {
  Parted part;
  for (int64_t first = 0; first < pairs; first += parted) {
    const int64_t count = pairs - first < parted ? pairs - first : parted;
    part.take(turns + 2 * first, count);
    for (int64_t head = 0; head < heads; ++head) {
      const float* const from = x + 2 * (head * pairs + first);
      float* const to = out + 2 * (head * pairs + first);
      for (int64_t i = 0; i < count; ++i) {  // compilers part the pairs in registers
        const float a = from[2 * i], b = from[2 * i + 1];
        to[2 * i] = a * part.cosines[i] - b * part.sines[i];
        to[2 * i + 1] = b * part.cosines[i] + a * part.sines[i];
      }
    }
  }
}

}  // namespace
