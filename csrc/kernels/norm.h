// Layer normalisation and that by the root mean square. One row at a time; ops.cpp divides the rows.
#pragma once
#include <math.h>

#include "kernels.h"

namespace {

// Two passes over each row: the mean, then the variance about it (stable where E[x^2] - mean^2 is not).
template <class V>
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t cols,
                float* out) {
  const int64_t tail = cols % V::lanes, body = cols - tail;
  for (int64_t r = 0; r < rows; ++r, x += cols, out += cols) {
    auto sum = V::set(0.0f);
    for (int64_t c = 0; c < body; c += V::lanes) sum = V::add(sum, V::load(x + c));
    if (tail) sum = V::add(sum, V::load(x + body, tail));
    const auto mean = V::set(V::sum(sum) / static_cast<float>(cols));

    auto squares = V::set(0.0f);
    for (int64_t c = 0; c < body; c += V::lanes) {
      const auto d = V::sub(V::load(x + c), mean);
      squares = V::mul_add(d, d, squares);
    }
    if (tail) {
      const auto d = V::first(V::sub(V::load(x + body, tail), mean), tail);
      squares = V::mul_add(d, d, squares);
    }
    const auto scale = V::set(1.0f / sqrtf(V::sum(squares) / static_cast<float>(cols) + eps));

    const auto normalised = [&](auto v, auto w, auto b) { return V::mul_add(V::mul(V::sub(v, mean), scale), w, b); };
    for (int64_t c = 0; c < body; c += V::lanes)
      V::store(out + c, normalised(V::load(x + c), V::load(weight + c), V::load(bias + c)));
    if (tail)
      V::store(out + body, normalised(V::load(x + body, tail), V::load(weight + body, tail), V::load(bias + body, tail)),
               tail);
  }
}

// The squares are summed lane by lane, then in one fixed tree.
template <class V>
void rms_norm(const float* x, const float* weight, float eps, int64_t width, float* out) {
  const int64_t tail = width % V::lanes, body = width - tail;
  auto squares = V::set(0.0f);
  for (int64_t c = 0; c < body; c += V::lanes) {
    const auto v = V::load(x + c);
    squares = V::mul_add(v, v, squares);
  }
  if (tail) {
    const auto v = V::load(x + body, tail);
    squares = V::mul_add(v, v, squares);
  }
  const auto scale = V::set(1.0f / sqrtf(V::sum(squares) / static_cast<float>(width) + eps));
  const auto normalised = [&](auto v, auto w) { return V::mul(V::mul(v, scale), w); };
  for (int64_t c = 0; c < body; c += V::lanes) V::store(out + c, normalised(V::load(x + c), V::load(weight + c)));
  if (tail) V::store(out + body, normalised(V::load(x + body, tail), V::load(weight + body, tail)), tail);
}

}  // namespace
