// Causal softmax-attention of one tile of queries of one head: scale, mask, softmax and weighted sum in one pass; the
// scores of a tile stay in the cache.
#pragma once
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "elementwise.h"
#include "matmul.h"

namespace {

// row[k] *= the scale of position k, which lies in the prefix or behind it.
template <class V>
inline void multiply_scales(float* row, const AttentionTile& t, const float* of_prefix, const float* own,
                            int64_t seen) {
  multiply_each<V>(row, of_prefix, t.prefix);
  multiply_each<V>(row + t.prefix, own, seen - t.prefix);
}

// A single row over several panels at once, [depth, 32] each and panel_stride elements apart, whose sums follow each other:
// the same chains as panel_tile's, enough of them to hide the latency of a multiply-add.
template <class V, int panels, Start start, class T>
inline void row_tile(const float* x, const T* panel, int64_t panel_stride, int64_t depth, float* sums) {
  constexpr int vectors = panel_cols / V::lanes;
  typename V::F acc[panels][vectors];
#pragma GCC unroll 16
  for (int p = 0; p < panels; ++p)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v)
      acc[p][v] = start == Start::zero ? V::set(0.0f) : V::load(sums + p * panel_cols + v * V::lanes);
  for (int64_t k = 0; k < depth; ++k, panel += panel_cols) {
    const auto a = V::set(x[k]);
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p)
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v)
        acc[p][v] = V::mul_add(a, V::load(panel + p * panel_stride + v * V::lanes), acc[p][v]);
  }
#pragma GCC unroll 16
  for (int p = 0; p < panels; ++p)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) V::store(sums + p * panel_cols + v * V::lanes, acc[p][v]);
}

// sums[r] += sum_{k < r} x[r, k] * panel[k], as a causal mask has it: the chains of a tile go on, row r for r more.
template <class V, class T>
inline void triangle(const float* x, int64_t x_stride, const T* panel, int64_t rows, float* sums) {
  for (int64_t r = 1; r < rows; ++r)
    for (int64_t c = 0; c < panel_cols; c += V::lanes) {
      auto sum = V::load(sums + r * panel_cols + c);
      for (int64_t k = 0; k < r; ++k)
        sum = V::mul_add(V::set(x[r * x_stride + k]), V::load(panel + k * panel_cols + c), sum);
      V::store(sums + r * panel_cols + c, sum);
    }
}

template <class V>
constexpr int panels_at_once = V::lanes >= 8 ? V::lanes / 4 : 1;  // 8 chains, which 4 lanes have in one panel

template <class V, Start start, class T>
inline void row_panels(const float* x, const T* panel, int64_t panel_stride, int64_t count, int64_t depth, float* sums) {
  for (int64_t p = 0; p < count; p += panels_at_once<V>)
    for_count<panels_at_once<V>>(count - p, [&](auto n) {
      row_tile<V, decltype(n)::value, start>(x, panel + p * panel_stride, panel_stride, depth, sums + p * panel_cols);
    });
}

// T: the element of the panels.
template <class V, class T>
void attend(const AttentionTile& t) {
  const auto own_keys = static_cast<const T*>(t.keys), prefix_keys = static_cast<const T*>(t.prefix_keys);
  const auto own_values = static_cast<const T*>(t.values), prefix_values = static_cast<const T*>(t.prefix_values);
  const int64_t keys = t.first + t.rows;  // what the last query sees
  const int64_t stride = panels_of(keys) * panel_cols;
  float* const scores = t.scratch;
  float* const sums = scores + max_tile_rows * stride;

  if (t.rows == 1) {
    const int64_t apart = t.width * panel_cols;
    row_panels<V, Start::zero>(t.q, prefix_keys, apart, t.prefix / panel_cols, t.width, scores);
    row_panels<V, Start::zero>(t.q, own_keys, apart, panels_of(keys - t.prefix), t.width, scores + t.prefix);
  }
  for (int64_t k = t.rows == 1 ? keys : 0; k < keys; k += panel_cols) {
    const T* const panel = k < t.prefix ? prefix_keys + k * t.width : own_keys + (k - t.prefix) * t.width;
    panel_tile<V, Fetch::none>(t.q, t.q_stride, panel, t.width, t.rows, nullptr, scores + k, stride);
  }

  float inverse[max_tile_rows];
  for (int64_t r = 0; r < t.rows; ++r) {
    const int64_t seen = t.first + r + 1;
    float* const row = scores + r * stride;
    if (t.key_scales) multiply_scales<V>(row, t, t.prefix_key_scales, t.key_scales, seen);
    if (t.scores) {
      multiply<V>(row, t.scale, seen, t.scores + r * t.weights_stride);
      for (int64_t k = seen; k < keys; ++k) t.scores[r * t.weights_stride + k] = -INFINITY;
    }
    inverse[r] = 1.0f / scaled_exp<V>(row, t.scale, scaled_max<V>(row, t.scale, seen), seen, row);
    if (t.weights) {
      multiply<V>(row, inverse[r], seen, t.weights + r * t.weights_stride);
      for (int64_t k = seen; k < keys; ++k) t.weights[r * t.weights_stride + k] = 0.0f;
    }
    if (t.value_scales) multiply_scales<V>(row, t, t.prefix_value_scales, t.value_scales, seen);
  }

  if (t.rows == 1) {
    for (int64_t c = 0; c < t.width; c += panels_at_once<V> * panel_cols) {
      const int64_t rest = t.width - c, cols = rest < panels_at_once<V> * panel_cols ? rest : panels_at_once<V> * panel_cols;
      const T* const panel = own_values + c / panel_cols * t.value_stride;
      row_panels<V, Start::zero>(scores, prefix_values + c * t.prefix, t.prefix * panel_cols, panels_of(cols), t.prefix, sums);
      row_panels<V, Start::sums>(scores + t.prefix, panel, t.value_stride, panels_of(cols), keys - t.prefix, sums);
      multiply<V>(sums, inverse[0], cols, t.out + c);
    }
    return;
  }
  for (int64_t c = 0; c < t.width; c += panel_cols) {
    const T* const panel = own_values + c / panel_cols * t.value_stride;
    const int64_t cols = t.width - c < panel_cols ? t.width - c : panel_cols, shared = t.first + 1 - t.prefix;
    // One chain from the prefix into the slot, then what the later queries alone see.
    memset(sums, 0, static_cast<size_t>(t.rows * panel_cols) * sizeof(float));
    if (t.prefix > 0)
      panel_tile<V, Fetch::none, Start::sums>(scores, stride, prefix_values + c * t.prefix, t.prefix, t.rows, nullptr, sums,
                                              panel_cols);
    panel_tile<V, Fetch::none, Start::sums>(scores + t.prefix, stride, panel, shared, t.rows, nullptr, sums, panel_cols);
    triangle<V>(scores + t.prefix + shared, stride, panel + shared * panel_cols, t.rows, sums);
    for (int64_t r = 0; r < t.rows; ++r)
      multiply<V>(sums + r * panel_cols, inverse[r], cols, t.out + r * t.out_stride + c);
  }
}

template <class V>
void attention(const AttentionTile& t) {
  switch (t.element) {
    case Element::float32: return attend<V, float>(t);
    case Element::bfloat16: return attend<V, bfloat16>(t);
    case Element::int8: return attend<V, int8_t>(t);
  }
}

}  // namespace
