// Activations: the forms of GELU, SiLU, ReLU and tanh. Polynomials from tools/fit_polynomials.py.
#pragma once
#include "kernels.h"
#include "elementwise.h"

namespace {

// x / (1 + e^(-k x)) = x times the logistic function of k x.
template <class V>
inline typename V::F logistic_product(typename V::F x, float k) {
  const auto minus = V::mul(x, V::set(-k));
  const auto y = V::div(x, V::add(V::set(1.0f), exp<V>(minus)));
  return V::where_less(V::set(88.0f), minus, V::set(0.0f), y);  // below e^-88: exp ends there, the product need not
}

// x / 2 (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks & Gimpel 2016).
template <class V>
inline typename V::F gelu_tanh(typename V::F x) {
  const auto cubic = V::mul_add(V::mul(V::mul(x, x), V::set(-2 * 0.797884561f * 0.044715f)), x,
                                V::mul(x, V::set(-2 * 0.797884561f)));
  const auto y = V::div(x, V::add(V::set(1.0f), exp<V>(cubic)));
  return V::where_less(V::set(88.0f), cubic, V::set(0.0f), y);  // below e^-88: exp ends there, the product need not
}

// x P(X <= x) for a standard normal X. The tail P(X > |x|) = erfc(z) / 2 = e^(-z^2) erfcx(z) / 2, z = |x| / sqrt(2).
template <class V>
inline typename V::F gelu_erf(typename V::F x) {
  // relative error 4.0e-8 for z in [0, 15]; beyond, e^(-z^2) is 0
  constexpr float p[] = {2.84206158e-06f, 0.281995207f, 0.283584535f, 0.234307557f,  0.241825745f, -0.138618529f,
                         0.487998247f,    -0.743157566f, 0.479832739f, -0.143617094f, 0.0158463009f};
  const auto size = V::max(V::sub(V::set(0.0f), x), x);
  const auto t = V::div(V::set(1.0f), V::mul_add(size, V::set(0.353553391f), V::set(1.0f)));
  const auto decay = exp<V>(V::mul(V::mul(x, x), V::set(-0.5f)));
  const auto tail = V::mul(x, V::mul(V::mul(V::set(0.5f), decay), polynomial<V>(t, p)));
  return V::where_less(x, V::set(0.0f), tail, V::sub(x, tail));
}

// (1 - 2 / (e^2|x| + 1)) with the sign of x; x + x^3 p(x^2) where that would cancel, relative error of p 1.6e-7.
template <class V>
inline typename V::F hyperbolic_tangent(typename V::F x) {
  constexpr float p[] = {-0.333333284f, 0.133327708f, -0.0538509525f, 0.0209973566f, -0.00609694095f};
  const auto zero = V::set(0.0f), one = V::set(1.0f), two = V::set(2.0f);
  const auto size = V::max(V::sub(zero, x), x);
  const auto large = V::sub(one, V::div(two, V::add(exp<V>(V::mul(size, two)), one)));
  const auto square = V::mul(x, x);
  const auto small = V::mul_add(V::mul(x, square), polynomial<V>(square, p), x);
  return V::where_less(size, V::set(0.625f), small, V::where_less(x, zero, V::sub(zero, large), large));
}

// use(f) with the function f of an activation, from a vector to a vector.
template <class V, class Use>
inline void with_activation(Activation kind, const Use& use) {
  using F = typename V::F;
  switch (kind) {
    case Activation::none: return use([](F x) { return x; });
    case Activation::gelu_tanh: return use([](F x) { return gelu_tanh<V>(x); });
    case Activation::gelu_erf: return use([](F x) { return gelu_erf<V>(x); });
    case Activation::quick_gelu: return use([](F x) { return logistic_product<V>(x, 1.702f); });
    case Activation::relu: return use([](F x) { return V::max(V::set(0.0f), x); });  // NaN stays
    case Activation::silu: return use([](F x) { return logistic_product<V>(x, 1.0f); });
    case Activation::tanh: return use([](F x) { return hyperbolic_tangent<V>(x); });
  }
}

template <class V>
void activate(const float* x, Activation kind, int64_t size, float* out) {
  with_activation<V>(kind, [&](const auto& f) {
    int64_t i = 0;
    for (; i + V::lanes <= size; i += V::lanes) V::store(out + i, f(V::load(x + i)));
    if (i < size) V::store(out + i, f(V::load(x + i, size - i)), size - i);
  });
}

}  // namespace
