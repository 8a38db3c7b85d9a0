// The matmul: the tiles of each weight format over panels and rows, and what is applied to a tile that is still in the
// cache.
#pragma once
#include "kernels.h"
#include "activations.h"
#include "compact.h"
#include "matmul.h"

namespace {

// out[r, c] = (activation(sums[r, c] * scale[r] + bias[c]) + residual[r, c]) * factor[r, c] for the `cols` <= 32 columns of
// one panel.
template <class V, class F>
inline void finish_with(const F& activation, const float* sums, int64_t sums_stride, const float* scale, const float* bias,
                        const float* residual, const float* factor, int64_t factor_stride, int64_t rows, int64_t cols,
                        float* out, int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r, sums += sums_stride, out += out_stride, residual += residual ? out_stride : 0,
               factor += factor ? factor_stride : 0) {
    const auto of_row = V::set(scale ? scale[r] : 1.0f);
    const auto each = [&](int64_t c, const auto& get, const auto& put) {
      auto y = get(sums + c);
      if (scale) y = V::mul(y, of_row);
      if (bias) y = V::add(y, get(bias + c));
      y = activation(y);
      if (residual) y = V::add(y, get(residual + c));
      if (factor) y = V::mul(y, get(factor + c));
      put(out + c, y);
    };
    const auto whole = [&](int64_t c) {
      each(c, [](const float* p) { return V::load(p); }, [](float* p, auto y) { V::store(p, y); });
    };
    if (cols == panel_cols) {
#pragma GCC unroll 2
      for (int64_t c = 0; c < panel_cols; c += V::lanes) whole(c);
      continue;
    }
    int64_t c = 0;
    for (; c + V::lanes <= cols; c += V::lanes) whole(c);
    const int64_t n = cols - c;
    if (n) each(c, [&](const float* p) { return V::load(p, n); }, [&](float* p, auto y) { V::store(p, y, n); });
  }
}

// Not inline: constants of the activations, kept in registers, would take them from the tiles.
template <class V>
__attribute__((noinline)) void finish(const float* sums, int64_t sums_stride, const float* scale, const float* bias,
                                      const float* residual, const float* factor, int64_t factor_stride, Activation kind,
                                      int64_t rows, int64_t cols, float* out, int64_t out_stride) {
  with_activation<V>(kind, [&](const auto& activation) {
    finish_with<V>(activation, sums, sums_stride, scale, bias, residual, factor, factor_stride, rows, cols, out, out_stride);
  });
}

// `count` <= `most` rows from `row` on, one panel.
template <class V, class Format, Fetch fetch, int most = most_rows<V, Format>>
inline void rows_of_panel(const MatmulBlock& b, int64_t row, int64_t count, const char* panel, const char* ahead, float* sums,
                          int64_t stride) {
  if constexpr (Format::step == 1) {
    const float* const x = static_cast<const float*>(b.x) + row * b.x_stride;
    panel_tile<V, fetch, Start::zero, most>(x, b.x_stride, reinterpret_cast<const float*>(panel), b.depth, count,
                                            reinterpret_cast<const float*>(ahead), sums, stride);
  } else {
    compact_panel<V, Format, fetch, most>(b, row, count, panel, ahead, sums, stride);
  }
}

// One panel of up to 32 columns for all rows of a block. A panel that a single tile reads is fetched shortly ahead of
// its use. One that several tiles share is fetched while the panel before it is used: half by each of its first two
// tiles.
template <class V, class Format>
inline void matmul_panel(const MatmulBlock& b, int64_t c) {
  constexpr int64_t item = Format::step == 1 ? sizeof(float) : Format::step == 2 ? sizeof(uint16_t) : sizeof(int8_t);
  const int64_t bytes = panel_bytes<Format>(b.depth);
  const int64_t half = steps_of<Format>(b.depth) * ((Format::step_bytes / 64 + 1) / 2) * 64;
  const char* const panel = static_cast<const char*>(b.panels) + c / panel_cols * bytes;
  const int64_t cols = b.cols - c < panel_cols ? b.cols - c : panel_cols;
  const bool in_place = cols == panel_cols && !b.x_scale;  // integers come back to their sums, which would clash in out
  const bool finishes = b.bias || b.residual || b.factor || b.activation != Activation::none;
  const int64_t tiles = (b.rows + most_rows<V, Format> - 1) / most_rows<V, Format>;
  const int64_t step = tiles > 1 ? (b.rows + tiles - 1) / tiles : b.rows;  // tiles of one height, as far as it goes
  for (int64_t r = 0; r < b.rows; r += step) {
    const int64_t rows = b.rows - r < step ? b.rows - r : step;
    float* const out = b.out + r * b.out_stride + c;
    float apart[max_tile_rows * panel_cols];  // also for the last panel, of which only some columns exist
    float* const sums = in_place ? out : apart;
    const int64_t stride = in_place ? b.out_stride : panel_cols;
    if (b.rows == 1 && b.streams) {
      rows_of_panel<V, Format, Fetch::panel_once, 1>(b, r, rows, panel, panel + fetch_bytes, sums, stride);
    } else if (tiles == 1) {
      rows_of_panel<V, Format, Fetch::panel>(b, r, rows, panel, panel + fetch_bytes, sums, stride);
    } else {
      const int64_t t = r / step;
      const char* const next_rows = static_cast<const char*>(b.x) + (r + rows) * b.x_stride * item;
      rows_of_panel<V, Format, Fetch::other>(b, r, rows, panel, t < 2 ? panel + bytes + t * half : next_rows, sums, stride);
    }
    if (finishes || !in_place)
      finish<V>(sums, stride, b.x_scale ? b.x_scale + r : nullptr, b.bias ? b.bias + c : nullptr,
                b.residual ? b.residual + r * b.out_stride + c : nullptr, b.factor ? b.factor + r * b.factor_stride + c : nullptr,
                b.factor_stride, b.activation, rows, cols, out, b.out_stride);
  }
}

template <class V, class Format>
void matmul(const MatmulBlock& b) {
  for (int64_t c = 0; c < b.cols; c += panel_cols) matmul_panel<V, Format>(b, c);
}

}  // namespace
