// The register tile of float32, which carries every product of floats; linear.h builds the matmul of it.
#pragma once
#include "kernels.h"
#include "elementwise.h"

namespace {

constexpr int64_t line_floats = 16;      // a cache line
constexpr int64_t fetch_bytes = 8192;    // how far ahead of its use a panel is fetched

// What a tile fetches with each k, besides what it reads: nothing, a line of other data, or a row of the panel itself,
// which stays in the caches or, where it is read once and then not for long, passes them by.
enum class Fetch { none, other, panel, panel_once };

// What a sum begins with: 0, or what `sums` holds of a chain that goes on.
enum class Start { zero, sums };

// f(Count<n>{}) for n = count, 1 .. most.
template <int n>
struct Count {
  static constexpr int value = n;
};
template <int most, class F>
inline void for_count(int64_t count, const F& f) {
  if constexpr (most > 1) {
    if (count < most) return for_count<most - 1>(count, f);
  }
  f(Count<most>{});
}

// The rows of x that a tile reads, each at the element that comes next. A pointer for each of many rows would be more than
// there are registers, and what compilers do then costs a tile up to a twentieth. So of many rows every third has one:
// x86 adds once or twice the stride within an address.
template <int rows, class T>
class TileRows {
  static constexpr int apart = rows > 8 ? 3 : rows, pointers = (rows + apart - 1) / apart;

 public:
  TileRows(const T* x, int64_t stride) : stride_(stride) {
#pragma GCC unroll 16
    for (int p = 0; p < pointers; ++p) at_[p] = x + p * apart * stride;
  }
  const T* operator[](int r) const { return at_[r / apart] + r % apart * stride_ + k_; }
  void next(int64_t elements) {
    if constexpr (pointers == 1) {
      k_ += elements;
    } else {
#pragma GCC unroll 16
      for (auto& at : at_) {
        at += elements;
        __asm__("" : "+r"(at));  // or else compilers make one of it for each row
      }
    }
  }

 private:
  const T* at_[pointers];
  int64_t stride_, k_ = 0;
};

// sums[r, c] = sum_k x[r, k] * panel[k, c]   for `vectors` registers of columns.
//   x [rows, ..] with stride, panel [.., 32] at its first column, of any element that V loads, sums with stride
// One chain of multiply-adds over ascending k for each element: the bits do not depend on rows or vectors.
// Meanwhile `fetch` brings what is needed next, from `ahead` on.
template <class V, int rows, int vectors, Fetch fetch, Start start = Start::zero, class T>
inline void tile(const float* x, int64_t x_stride, const T* panel, int64_t depth, const float* ahead, float* sums,
                 int64_t stride) {
  typename V::F acc[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v)
      acc[r][v] = start == Start::zero ? V::set(0.0f) : V::load(sums + r * stride + v * V::lanes);

  TileRows<rows, float> at(x, x_stride);
  for (int64_t k = 0; k < depth; ++k, panel += panel_cols, at.next(1)) {
    if constexpr (fetch == Fetch::other) V::prefetch(ahead + k * line_floats);
    if constexpr (fetch == Fetch::panel) V::prefetch(ahead + k * panel_cols), V::prefetch(ahead + k * panel_cols + line_floats);
    if constexpr (fetch == Fetch::panel_once)
      V::prefetch_once(ahead + k * panel_cols), V::prefetch_once(ahead + k * panel_cols + line_floats);
    typename V::F w[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) w[v] = V::load(panel + v * V::lanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const auto a = V::set(*at[r]);
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) acc[r][v] = V::mul_add(a, w[v], acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) V::store(sums + r * stride + v * V::lanes, acc[r][v]);
}

// All 32 columns of a panel for 1 .. most rows. A single row takes the whole panel at once: it is bound by the
// reading of the panel, and more chains hide the latency of the multiply-add.
template <class V, Fetch fetch, Start start = Start::zero, int most = V::tile_rows, class T>
inline void panel_tile(const float* x, int64_t x_stride, const T* panel, int64_t depth, int64_t count, const float* ahead,
                       float* sums, int64_t stride) {
  for_count<most>(count, [&](auto n) {
    constexpr int rows = decltype(n)::value;
    constexpr int vectors = rows == 1 ? panel_cols / V::lanes : V::tile_vectors;
    tile<V, rows, vectors, fetch, start>(x, x_stride, panel, depth, ahead, sums, stride);
    for (int64_t c = vectors * V::lanes; c < panel_cols; c += vectors * V::lanes)
      tile<V, rows, vectors, Fetch::none, start>(x, x_stride, panel + c, depth, nullptr, sums + c, stride);
  });
}

}  // namespace
