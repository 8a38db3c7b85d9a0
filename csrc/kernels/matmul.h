// The register tile that carries every product, and the matmul built of it.
#pragma once
#include "../kernels.h"
#include "elementwise.h"

namespace {

// sums[r, c] = (start ? start[r, c] : 0) + sum_k x[r, k] * panel[k, c]   for `vectors` registers of columns.
//   x [rows, depth] with stride, panel [depth, 32] at its first column, start and sums with stride (may be the same)
// One chain of multiply-adds over ascending k for each element: the bits do not depend on rows or vectors.
template <class V, int rows, int vectors>
inline void tile(const float* x, int64_t x_stride, const float* panel, int64_t depth, const float* start, float* sums,
                 int64_t stride) {
  typename V::F acc[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) acc[r][v] = start ? V::load(start + r * stride + v * V::lanes) : V::set(0.0f);

  for (int64_t k = 0; k < depth; ++k, panel += panel_cols) {
    typename V::F w[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) w[v] = V::load(panel + v * V::lanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const auto a = V::set(x[r * x_stride + k]);
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) acc[r][v] = V::mul_add(a, w[v], acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) V::store(sums + r * stride + v * V::lanes, acc[r][v]);
}

// All 32 columns of a panel for 1 .. V::tile_rows rows. A single row takes the whole panel at once: it is bound by the
// reading of the panel, and more chains hide the latency of the multiply-add.
template <class V, int rows = V::tile_rows>
inline void panel_tile(const float* x, int64_t x_stride, const float* panel, int64_t depth, int64_t count,
                       const float* start, float* sums, int64_t stride) {
  if constexpr (rows > 1) {
    if (count < rows) return panel_tile<V, rows - 1>(x, x_stride, panel, depth, count, start, sums, stride);
  }
  constexpr int vectors = rows == 1 ? panel_cols / V::lanes : V::tile_vectors;
  for (int64_t c = 0; c < panel_cols; c += vectors * V::lanes)
    tile<V, rows, vectors>(x, x_stride, panel + c, depth, start ? start + c : nullptr, sums + c, stride);
}

// out[r, c] = activation(sums[r, c] + bias[c]) + residual[r, c] for the `cols` <= 32 columns of one panel.
template <class V>
inline void finish(const float* sums, int64_t sums_stride, const float* bias, const float* residual, Activation kind,
                   int64_t rows, int64_t cols, float* out, int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += V::lanes) {
      const int64_t n = cols - c < V::lanes ? cols - c : V::lanes;
      const auto get = [&](const float* p) { return n == V::lanes ? V::load(p) : V::load(p, n); };
      auto y = get(sums + r * sums_stride + c);
      if (bias) y = V::add(y, get(bias + c));
      y = activation<V>(y, kind);
      if (residual) y = V::add(y, get(residual + r * out_stride + c));
      if (n == V::lanes) V::store(out + r * out_stride + c, y);
      else V::store(out + r * out_stride + c, y, n);
    }
  }
}

template <class V>
void matmul(const MatmulBlock& b) {
  const bool completes = b.done + b.depth == b.total;
  const bool finishes = completes && (b.bias || b.residual || b.activation != Activation::none);
  for (int64_t c = 0; c < b.cols; c += panel_cols) {
    const float* panel = b.panels + c / panel_cols * b.panel_stride;
    const int64_t cols = b.cols - c < panel_cols ? b.cols - c : panel_cols;
    for (int64_t r = 0; r < b.rows; r += V::tile_rows) {
      const int64_t rows = b.rows - r < V::tile_rows ? b.rows - r : V::tile_rows;
      const float* x = b.x + r * b.x_stride;
      float* out = b.out + r * b.out_stride + c;
      const float* bias = b.bias ? b.bias + c : nullptr;
      const float* residual = b.residual ? b.residual + r * b.out_stride + c : nullptr;
      if (cols == panel_cols) {
        panel_tile<V>(x, b.x_stride, panel, b.depth, rows, b.done ? out : nullptr, out, b.out_stride);
        if (finishes) finish<V>(out, b.out_stride, bias, residual, b.activation, rows, cols, out, b.out_stride);
      } else {  // the last panel: whole panels of sums, then only the columns that exist
        float sums[max_tile_rows * panel_cols];
        if (b.done)
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < panel_cols; ++j)
              sums[i * panel_cols + j] = j < cols ? out[i * b.out_stride + j] : 0.0f;
        panel_tile<V>(x, b.x_stride, panel, b.depth, rows, b.done ? sums : nullptr, sums, panel_cols);
        finish<V>(sums, panel_cols, completes ? bias : nullptr, completes ? residual : nullptr,
                  completes ? b.activation : Activation::none, rows, cols, out, b.out_stride);
      }
    }
  }
}

}  // namespace
