// Selection without sorting: maxima of groups, the weight of what reaches a limit, and where it lies.
#pragma once
#include <math.h>

#include "kernels.h"
#include "elementwise.h"

namespace {

// A group is one lane of `size` consecutive vectors, so that no maximum is ever taken across lanes. The values behind
// the last whole vector are groups of one.
template <class V>
int64_t maxima(const float* x, int64_t n, int64_t size, float* out, float* largest) {
  const auto end = V::set(INFINITY);
  auto top = V::set(-INFINITY), wrong = V::set(0.0f);
  const int64_t body = n - n % V::lanes, step = size * V::lanes;
  int64_t groups = 0;
  for (int64_t begin = 0; begin < body; begin += step, groups += V::lanes) {
    const int64_t stop = begin + step < body ? begin + step : body;
    auto most = V::load(x + begin);
    for (int64_t i = begin; i < stop; i += V::lanes) {
      const auto v = V::load(x + i);
      most = V::max(most, v);
      wrong = V::where_less(v, end, wrong, v);  // NaN is not less
    }
    V::store(out + groups, most);
    top = V::max(top, most);
  }
  float best = V::max(top), found[V::lanes];
  V::store(found, wrong);
  for (int64_t i = body; i < n; ++i) {
    if (!(x[i] < INFINITY)) found[0] = x[i];
    best = x[i] > best ? x[i] : best;
    out[groups++] = x[i];
  }
  for (int64_t i = 0; i < V::lanes; ++i)
    if (!(found[i] == 0.0f)) best = found[i];
  *largest = best;
  return groups;
}

template <class V>
double weight_from(const float* keys, const float* weights, float limit, int64_t n, int64_t* count) {
  const auto from = V::set(limit), zero = V::set(0.0f), one = V::set(1.0f);
  const int64_t step = summed_vectors * V::lanes;
  double total = 0;
  int64_t number = 0;
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t end = begin + step < n ? begin + step : n;
    auto sum = zero, ones = zero;
    int64_t i = begin;
    for (; i + V::lanes <= end; i += V::lanes) {
      const auto key = V::load(keys + i);
      ones = V::add(ones, V::where_less(key, from, zero, one));
      if (weights) sum = V::add(sum, V::where_less(key, from, zero, V::load(weights + i)));
    }
    if (i < end) {
      const auto key = V::load(keys + i, end - i);
      ones = V::add(ones, V::first(V::where_less(key, from, zero, one), end - i));
      if (weights) sum = V::add(sum, V::where_less(key, from, zero, V::load(weights + i, end - i)));
    }
    number += static_cast<int64_t>(V::sum(ones));
    total += static_cast<double>(V::sum(sum));
  }
  *count = number;
  return weights ? total : static_cast<double>(number);
}

template <class V>
int64_t positions(const float* x, float low, float high, int64_t n, int32_t* out) {
  const auto from = V::set(low), to = V::set(high);
  constexpr uint32_t all = (1u << V::lanes) - 1;
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += V::lanes) {
    const int64_t left = n - i;
    const auto v = left >= V::lanes ? V::load(x + i) : V::load(x + i, left);
    uint32_t bits = V::at_least(v, from) & ~V::at_least(v, to);
    if (left < V::lanes) bits &= (1u << left) - 1;
    if (bits == all) {
      for (int64_t j = 0; j < V::lanes; ++j) out[count + j] = static_cast<int32_t>(i + j);
      count += V::lanes;
    } else {
      for (; bits; bits &= bits - 1) out[count++] = static_cast<int32_t>(i + __builtin_ctz(bits));
    }
  }
  return count;
}

}  // namespace
