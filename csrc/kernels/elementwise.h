// exp, what is built of it for softmax and sampling, and products. The polynomial is from tools/fit_polynomials.py.
#pragma once
#include "kernels.h"

namespace {

template <class V, int n>
inline typename V::F polynomial(typename V::F x, const float (&c)[n]) {
  auto y = V::set(c[n - 1]);
#pragma GCC unroll 16
  for (int i = n - 2; i >= 0; --i) y = V::mul_add(y, x, V::set(c[i]));
  return y;
}

// e^x: x = n ln 2 + r with |r| <= ln(2) / 2, e^x = 2^n p(r). Within 4 ulp on [-87.3, 88]; 0 below, e^88 above, NaN kept.
template <class V>
inline typename V::F exp(typename V::F x) {
  constexpr float low = -87.3f, high = 88.0f;
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  // relative error 1.8e-8 on |r| <= 0.3467
  constexpr float p[] = {1.0f, 1.0f, 0.499999911f, 0.166664198f, 0.0416682288f, 0.00837484002f, 0.00138368155f};
  const auto clamped = V::min(V::set(high), V::max(V::set(low), x));  // this order keeps NaN
  const auto shifted = V::mul_add(clamped, V::set(1.44269504f), V::set(magic));
  const auto n = V::sub(shifted, V::set(magic));
  auto r = V::mul_add(n, V::set(-0.693359375f), clamped);  // ln 2 in two parts: n times the first is exact
  r = V::mul_add(n, V::set(2.12194440e-4f), r);
  return V::where_less(x, V::set(low), V::set(0.0f), V::mul(polynomial<V>(r, p), V::pow2(shifted)));
}

// The largest of scale * x[i], 0 < n.
template <class V>
inline float scaled_max(const float* x, float scale, int64_t n) {
  const auto s = V::set(scale);
  const int64_t body = n - n % V::lanes;
  float best = x[n - 1] * scale;
  if (body) {
    auto top = V::mul(s, V::load(x));
    for (int64_t i = V::lanes; i < body; i += V::lanes) top = V::max(top, V::mul(s, V::load(x + i)));
    const float m = V::max(top);
    best = m > best ? m : best;
  }
  for (int64_t i = body; i < n; ++i) best = x[i] * scale > best ? x[i] * scale : best;
  return best;
}

// out[i] = exp(scale * x[i] - top); returns the sum. Lane by lane over ascending i, then one tree.
template <class V>
inline float scaled_exp(const float* x, float scale, float top, int64_t n, float* out) {
  const auto s = V::set(scale), t = V::set(top);
  auto total = V::set(0.0f);
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) {
    const auto e = exp<V>(V::sub(V::mul(s, V::load(x + i)), t));
    V::store(out + i, e);
    total = V::add(total, e);
  }
  if (i < n) {
    const auto e = V::first(exp<V>(V::sub(V::mul(s, V::load(x + i, n - i)), t)), n - i);
    V::store(out + i, e, n - i);
    total = V::add(total, e);
  }
  return V::sum(total);
}

// Vectors whose float32 sum goes into the float64 one: sixteen additions bound its rounding, and it costs nothing.
constexpr int64_t summed_vectors = 16;

template <class V>
double exp_sum(const float* x, float top, float scale, int64_t n, float* out) {
  const auto t = V::set(top), s = V::set(scale);
  const auto weight = [&](auto v) { return exp<V>(V::mul(V::sub(v, t), s)); };
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += summed_vectors * V::lanes) {
    const int64_t end = begin + summed_vectors * V::lanes < n ? begin + summed_vectors * V::lanes : n;
    auto sum = V::set(0.0f);
    int64_t i = begin;
    for (; i + V::lanes <= end; i += V::lanes) {
      const auto e = weight(V::load(x + i));
      if (out) V::store(out + i, e);
      sum = V::add(sum, e);
    }
    if (i < end) {
      const auto e = V::first(weight(V::load(x + i, end - i)), end - i);
      if (out) V::store(out + i, e, end - i);
      sum = V::add(sum, e);
    }
    total += static_cast<double>(V::sum(sum));
  }
  return total;
}

template <class V>
inline void multiply(const float* x, float factor, int64_t n, float* out) {
  const auto f = V::set(factor);
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) V::store(out + i, V::mul(V::load(x + i), f));
  if (i < n) V::store(out + i, V::mul(V::load(x + i, n - i), f), n - i);
}

// x[i] *= by[i]
template <class V>
inline void multiply_each(float* x, const float* by, int64_t n) {
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) V::store(x + i, V::mul(V::load(x + i), V::load(by + i)));
  if (i < n) V::store(x + i, V::mul(V::load(x + i, n - i), V::load(by + i, n - i)), n - i);
}

// x[i] = x[i] * factor + plus[i]
template <class V>
inline void multiply_add(float* x, float factor, const float* plus, int64_t n) {
  const auto f = V::set(factor);
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) V::store(x + i, V::mul_add(V::load(x + i), f, V::load(plus + i)));
  if (i < n) V::store(x + i, V::mul_add(V::load(x + i, n - i), f, V::load(plus + i, n - i)), n - i);
}

template <class V>
void softmax(const float* x, int64_t rows, int64_t cols, float* out) {
  for (int64_t r = 0; r < rows; ++r, x += cols, out += cols) {
    const float total = scaled_exp<V>(x, 1.0f, scaled_max<V>(x, 1.0f, cols), cols, out);
    multiply<V>(out, 1.0f / total, cols, out);
  }
}

}  // namespace
