// Causal softmax-attention of one tile of queries of one head: scale, mask, softmax and weighted sum in one pass; the
// scores of a tile stay in the cache.
#pragma once
#include <math.h>

#include "../kernels.h"
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

// T: the element of the panels.
template <class V, class T>
void attend(const AttentionTile& t) {
  const auto own_keys = static_cast<const T*>(t.keys), prefix_keys = static_cast<const T*>(t.prefix_keys);
  const auto own_values = static_cast<const T*>(t.values), prefix_values = static_cast<const T*>(t.prefix_values);
  const int64_t keys = t.first + t.rows;  // what the last query sees
  const int64_t stride = panels_of(keys) * panel_cols;
  float* const scores = t.scratch;
  float* const sums = scores + max_tile_rows * stride;

  for (int64_t k = 0; k < keys; k += panel_cols) {
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

  for (int64_t c = 0; c < t.width; c += panel_cols) {
    const T* const panel = own_values + c / panel_cols * t.value_stride;
    const int64_t cols = t.width - c < panel_cols ? t.width - c : panel_cols;
    if (t.prefix == 0) {
      panel_tile<V, Fetch::none, Reach::causal>(scores, stride, panel, t.first + 1, t.rows, nullptr, sums, panel_cols);
    } else {  // the same chain, from one memory and then from the other
      const T* const before = prefix_values + c * t.prefix;
      panel_tile<V, Fetch::none>(scores, stride, before, t.prefix, t.rows, nullptr, sums, panel_cols);
      panel_tile<V, Fetch::none, Reach::causal, Start::sums>(scores + t.prefix, stride, panel, t.first + 1 - t.prefix,
                                                             t.rows, nullptr, sums, panel_cols);
    }
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
