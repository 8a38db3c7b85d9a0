// Causal softmax-attention of one tile of queries over the keys of one head: scale, mask, softmax and weighted sum in one
// pass; the scores of a tile stay in the cache.
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

// sums += sum_k x[k] * panel[k] over `count` positions that one row of a tile sees and others do not: its chain goes on.
template <class V, class T>
inline void chain(const float* x, const T* panel, int64_t count, float* sums) {
  for (int64_t c = 0; c < panel_cols; c += V::lanes) {
    auto sum = V::load(sums + c);
    for (int64_t k = 0; k < count; ++k) sum = V::mul_add(V::set(x[k]), V::load(panel + k * panel_cols + c), sum);
    V::store(sums + c, sum);
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
  // Row r sees the keys begin_of(r) .. end_of(r) - 1.
  const auto reach_of = [&](int64_t r) { return t.first + r * t.step + 1; };
  const auto end_of = [&](int64_t r) { return t.limit && reach_of(r) > t.limit ? t.limit : reach_of(r); };
  const auto begin_of = [&](int64_t r) { return t.window && reach_of(r) > t.window ? reach_of(r) - t.window : 0; };
  const int64_t keys = end_of(t.rows - 1);
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
    const int64_t begin = begin_of(r), end = end_of(r), seen = end - begin;
    float* const row = scores + r * stride;
    // s or w as they are told of: what is masked stands on both sides.
    const auto tell = [&](float* to, float factor, float masked) {
      if (!to) return;
      to += r * t.weights_stride;
      for (int64_t k = 0; k < begin; ++k) to[k] = masked;
      multiply<V>(row + begin, factor, seen, to + begin);
      for (int64_t k = end; k < keys; ++k) to[k] = masked;
    };
    if (t.key_scales) multiply_scales<V>(row, t, t.prefix_key_scales, t.key_scales, end);
    if (t.bias) multiply_add<V>(row + begin, t.scale, t.bias - r + begin, seen);
    const float scale = t.bias ? 1.0f : t.scale;
    tell(t.scores, scale, -INFINITY);
    const float top = scaled_max<V>(row + begin, scale, seen);
    inverse[r] = 1.0f / scaled_exp<V>(row + begin, scale, top, seen, row + begin);
    tell(t.weights, inverse[r], 0.0f);
    if (t.value_scales) multiply_scales<V>(row, t, t.prefix_value_scales, t.value_scales, end);
  }

  // What all rows see, low .. high - 1: from the prefix into the slot.
  const int64_t high = end_of(0), low = begin_of(t.rows - 1) < high ? begin_of(t.rows - 1) : high;
  const int64_t own = low > t.prefix ? low : t.prefix;  // from here on in the slot
  const auto values_at = [&](int64_t c, int64_t k) {
    return k < t.prefix ? prefix_values + c / panel_cols * t.prefix_stride + k * panel_cols
                        : own_values + c / panel_cols * t.value_stride + (k - t.prefix) * panel_cols;
  };
  if (t.rows == 1) {
    for (int64_t c = 0; c < t.width; c += panels_at_once<V> * panel_cols) {
      const int64_t rest = t.width - c, cols = rest < panels_at_once<V> * panel_cols ? rest : panels_at_once<V> * panel_cols;
      row_panels<V, Start::zero>(scores + low, values_at(c, low), t.prefix_stride, panels_of(cols), own - low, sums);
      row_panels<V, Start::sums>(scores + own, values_at(c, own), t.value_stride, panels_of(cols), high - own, sums);
      multiply<V>(sums, inverse[0], cols, t.out + c);
    }
    return;
  }
  for (int64_t c = 0; c < t.width; c += panel_cols) {
    const int64_t cols = t.width - c < panel_cols ? t.width - c : panel_cols;
    // Each row's chain begins with what the later rows no longer see, and ends with what the earlier ones do not see yet.
    memset(sums, 0, static_cast<size_t>(t.rows * panel_cols) * sizeof(float));
    for (int64_t r = 0; r < t.rows && begin_of(r) < low; ++r) {
      const int64_t begin = begin_of(r), middle = low < t.prefix ? low : begin < t.prefix ? t.prefix : begin;
      const float* const row = scores + r * stride;
      chain<V>(row + begin, values_at(c, begin), middle - begin, sums + r * panel_cols);
      chain<V>(row + middle, values_at(c, middle), low - middle, sums + r * panel_cols);
    }
    if (low < own)
      panel_tile<V, Fetch::none, Start::sums>(scores + low, stride, values_at(c, low), own - low, t.rows, nullptr, sums, panel_cols);
    panel_tile<V, Fetch::none, Start::sums>(scores + own, stride, values_at(c, own), high - own, t.rows, nullptr, sums, panel_cols);
    for (int64_t r = 1; r < t.rows && end_of(r) > high; ++r) {
      const int64_t begin = begin_of(r) > high ? begin_of(r) : high;
      chain<V>(scores + r * stride + begin, values_at(c, begin), end_of(r) - begin, sums + r * panel_cols);
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
