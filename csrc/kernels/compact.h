// The register tiles of weights in fewer bits than float32: bfloat16 pairs, and integers whose sums are exact. What the
// formats hold and in which order they sum is said in formats.h.
#pragma once
#include "kernels.h"
#include "matmul.h"

namespace {

// A step of a panel, fetched ahead of its use: all of its lines for a panel that one tile reads, half of them for one
// that the first two tiles of the panel before it fetch.
template <class V, class Format, Fetch fetch>
inline void fetch_step(const char* ahead, int64_t step) {
  constexpr int64_t line = 64, lines = Format::step_bytes / line, half = (lines + 1) / 2;
  if constexpr (fetch == Fetch::other)
#pragma GCC unroll 16
    for (int64_t i = 0; i < half; ++i) V::prefetch(ahead + (step * half + i) * line);
  if constexpr (fetch == Fetch::panel)
#pragma GCC unroll 16
    for (int64_t i = 0; i < lines; ++i) V::prefetch(ahead + (step * lines + i) * line);
  if constexpr (fetch == Fetch::panel_once)
#pragma GCC unroll 16
    for (int64_t i = 0; i < lines; ++i) V::prefetch_once(ahead + (step * lines + i) * line);
}

// sums[r, c] = sum_k x[r, k] * w[k, c] for `vectors` registers of columns from the panel's column `first` on.
template <class V, Fetch fetch, int rows, int vectors>
inline void compact_tile(Bfloat16, const MatmulBlock& b, int64_t row, const char* panel, int64_t first, const char* ahead,
                         float* sums, int64_t stride) {
  const uint16_t* const x = static_cast<const uint16_t*>(b.x) + row * b.x_stride;
  const int64_t steps = steps_of<Bfloat16>(b.depth);
  typename V::F acc[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) acc[r][v] = V::set(0.0f);
  TileRows<rows, uint16_t> at(x, b.x_stride);
  for (int64_t k = 0; k < steps; ++k, at.next(Bfloat16::step)) {
    fetch_step<V, Bfloat16, fetch>(ahead, k);
    const char* const from = panel + k * Bfloat16::step_bytes + first * 4;
    typename V::I w[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) w[v] = V::bytes(from + v * V::lanes * 4);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const auto pair = V::four(at[r]);
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) acc[r][v] = V::dot_pairs(acc[r][v], w[v], pair);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) V::store(sums + r * stride + v * V::lanes, acc[r][v]);
}

// A single row has four chains, which hide the latency of its sums: they are exact in any order.
template <class V, Fetch fetch, int rows, int vectors>
inline void compact_tile(Int8, const MatmulBlock& b, int64_t row, const char* panel, int64_t first, const char* ahead,
                         float* sums, int64_t stride) {
  constexpr int quads = Int8::step / 4, chains = rows == 1 ? quads : 1;
  const int8_t* const x = static_cast<const int8_t*>(b.x) + row * b.x_stride;
  const int64_t steps = steps_of<Int8>(b.depth);
  typename V::I acc[rows][vectors][chains];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v)
#pragma GCC unroll 16
      for (int chain = 0; chain < chains; ++chain) acc[r][v][chain] = V::ints(0);
  TileRows<rows, int8_t> at(x, b.x_stride);
  for (int64_t k = 0; k < steps; ++k, at.next(Int8::step)) {
    fetch_step<V, Int8, fetch>(ahead, k);
#pragma GCC unroll 16
    for (int q = 0; q < quads; ++q) {
      const char* const from = panel + k * Int8::step_bytes + (q * panel_cols + first) * 4;
      typename V::I w[vectors];
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) w[v] = V::bytes(from + v * V::lanes * 4);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const auto four = V::four(at[r] + 4 * q);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) acc[r][v][q % chains] = V::dot_bytes(acc[r][v][q % chains], w[v], four);
      }
    }
  }
  const float* const scales = reinterpret_cast<const float*>(panel + steps * Int8::step_bytes) + first;
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      auto sum = V::plus(acc[r][v][0], V::ints(b.x_start[row + r]));
#pragma GCC unroll 16
      for (int chain = 1; chain < chains; ++chain) sum = V::plus(sum, acc[r][v][chain]);
      V::store(sums + r * stride + v * V::lanes, V::mul(V::to_float(sum), V::load(scales + v * V::lanes)));
    }
}

// A group's sum is an integer, the sum of groups a float32: both stay in registers.
template <class V, Fetch fetch, int rows, int vectors>
inline void compact_tile(Int4, const MatmulBlock& b, int64_t row, const char* panel, int64_t first, const char* ahead,
                         float* sums, int64_t stride) {
  constexpr int64_t half = panel_cols / 2, lines = Int4::step / 4;
  const int8_t* const x = static_cast<const int8_t*>(b.x) + row * b.x_stride;
  const int64_t groups = steps_of<Int4>(b.depth);
  const int32_t* const start = b.x_start + row * groups;
  typename V::F total[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) total[r][v] = V::set(0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    fetch_step<V, Int4, fetch>(ahead, g);
    const char* const from = panel + g * Int4::step_bytes;
    typename V::I acc[rows][vectors];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) acc[r][v] = V::ints(start[r * groups + g]);
#pragma GCC unroll 8
    for (int64_t q = 0; q < lines; ++q) {
      typename V::I w[vectors];
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) {
        const int64_t c = first + v * V::lanes;
        const auto codes = V::bytes(from + q * 64 + c % half * 4);
        w[v] = c < half ? V::low(codes) : V::high(codes);
      }
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const auto four = V::four(x + r * b.x_stride + g * Int4::step + 4 * q);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) acc[r][v] = V::dot_nibbles(acc[r][v], w[v], four);
      }
    }
    const uint16_t* const scales = reinterpret_cast<const uint16_t*>(from + lines * 64) + first;
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      const auto scale = V::widen(scales + v * V::lanes);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) total[r][v] = V::mul_add(V::to_float(acc[r][v]), scale, total[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) V::store(sums + r * stride + v * V::lanes, total[r][v]);
}

// Rows of a tile at most: as many as its sums leave registers for.
template <class V, class Format>
constexpr int most_rows = Format::step == Int4::step ? V::tile_rows / 2 : V::tile_rows;

// All 32 columns of a panel for 1 .. most rows, as panel_tile in matmul.h.
template <class V, class Format, Fetch fetch, int most>
inline void compact_panel(const MatmulBlock& b, int64_t row, int64_t count, const char* panel, const char* ahead, float* sums,
                          int64_t stride) {
  for_count<most>(count, [&](auto n) {
    constexpr int rows = decltype(n)::value;
    constexpr int vectors = rows == 1 ? panel_cols / V::lanes : V::tile_vectors;
    compact_tile<V, fetch, rows, vectors>(Format{}, b, row, panel, 0, ahead, sums, stride);
    for (int64_t c = vectors * V::lanes; c < panel_cols; c += vectors * V::lanes)
      compact_tile<V, Fetch::none, rows, vectors>(Format{}, b, row, panel, c, nullptr, sums + c, stride);
  });
}

}  // namespace
