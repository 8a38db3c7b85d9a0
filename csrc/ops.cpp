#include "ops.h"

#include <algorithm>
#include <cstring>

#include "cpu.h"
#include "encode.h"
#include "parallel.h"
#include "pool.h"

namespace nextword {
namespace {

// Rows taken through all weights at once: enough products for each weight that is read from memory.
constexpr int64_t block_rows = 512;

constexpr int64_t ranges_per_thread = 12;

// Bytes of the next weights that a thread asks for: as far ahead as a kernel does itself (kernels/matmul.h).
constexpr int64_t fetched_before = 8192;

// Rows that start a multiple of this apart share a few cache sets; from so many rows on that costs more than a copy.
constexpr int64_t clash = 512, many_rows = 16, pad = 16;

// x as a format multiplies it, its rows apart: x itself, or a copy in this thread's scratch memory.
struct Operand {
  const void* x;
  int64_t stride;  // elements
  const float* scale = nullptr;
  const int32_t* start = nullptr;
};

Operand spread(const float* x, int64_t stride, int64_t rows, int64_t cols) {
  if (rows < many_rows || stride % clash) return {x, stride};
  float* const copy = scratch(rows * (cols + pad));
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::memcpy(copy + r * (cols + pad), x + r * stride, static_cast<size_t>(cols) * sizeof(float));
  });
  return {copy, cols + pad};
}

Operand operand(const float* x, int64_t stride, Dtype dtype, int64_t rows, int64_t cols) {
  if (dtype == Dtype::float32) return spread(x, stride, rows, cols);
  const auto& k = kernels();
  const int64_t width = panels_of(cols) * 32, grain = 4 * worth_a_thread / cols + 1;  // whole groups of every format
  const int64_t item = dtype == Dtype::bfloat16 ? sizeof(uint16_t) : sizeof(int8_t);
  const int64_t bytes = width * item, line = 64;
  const int64_t apart = (rows >= many_rows && bytes % (clash / 2) == 0 ? bytes + line : bytes) / item;
  const int64_t groups = dtype == Dtype::int4 ? width / Int4::step : 1;
  const int64_t beside = dtype == Dtype::bfloat16 ? 0 : rows * (1 + groups);
  float* const memory = scratch(beside + line + (rows * apart * item) / 4);
  float* const scale = memory + rows * apart * item / 4 + line;
  auto* const start = reinterpret_cast<int32_t*>(scale + rows);
  parallel_ranges(rows, grain, [&](int64_t begin, int64_t end) {
    const float* const from = x + begin * stride;
    if (dtype == Dtype::bfloat16)
      k.round_rows(from, stride, end - begin, cols, width, reinterpret_cast<uint16_t*>(memory) + begin * apart, apart);
    else
      k.quantise_rows(from, stride, end - begin, cols, width, dtype, reinterpret_cast<int8_t*>(memory) + begin * apart,
                      apart, scale + begin, start + begin * groups);
  });
  if (dtype == Dtype::bfloat16) return {memory, apart};
  return {memory, apart, scale, start};
}

}  // namespace

int64_t spread_stride(int64_t rows, int64_t cols) { return rows < many_rows || cols % clash ? cols : cols + pad; }

void matmul(const float* x, int64_t x_stride, const Packed& weight, const float* bias, const float* residual,
            Activation activation, int64_t rows, float* out, int64_t out_stride, const Packed* next) {
  const auto product = kernels().matmul[static_cast<int>(weight.dtype)];
  const int64_t depth = weight.depth;
  // Weights beyond the cache are read from memory every time; kept out of it, they leave it to the activations, the
  // key-value cache and the program around.
  const bool streams = packed_bytes() > last_level_cache();
  for (int64_t r0 = 0; r0 < rows; r0 += block_rows) {
    const int64_t n = std::min(block_rows, rows - r0);
    const Operand from = operand(x + r0 * x_stride, x_stride, weight.dtype, n, depth);
    const int64_t panels = panels_of(weight.cols), grain = worth_a_thread / (n * depth * panel_cols) + 1;
    const auto columns = [&](int64_t begin, int64_t end) {
      const int64_t c0 = begin * panel_cols, c1 = std::min(end * panel_cols, weight.cols);
      MatmulBlock b{};
      b.x = from.x;
      b.x_stride = from.stride;
      b.x_scale = from.scale;
      b.x_start = from.start;
      b.panels = weight.panel(begin);
      b.bias = bias ? bias + c0 : nullptr;
      b.residual = residual ? residual + r0 * out_stride + c0 : nullptr;
      b.activation = activation;
      b.rows = n;
      b.depth = depth;
      b.cols = c1 - c0;
      b.streams = streams;
      b.out = out + r0 * out_stride + c0;
      b.out_stride = out_stride;
      product(b);
      if (next && n < many_rows) {
        const char* const ahead = next->panel(begin * panels_of(next->cols) / panels);
        for (int64_t at = 0; at < fetched_before; at += 64) __builtin_prefetch(ahead + at);
      }
    };
    // Bound by memory, a thread reads one long range. Bound by arithmetic, short ranges go to whichever thread is free:
    // cores differ in speed, and others use them too.
    if (n < many_rows) {
      parallel_ranges(panels, grain, columns);
    } else {
      const int workers = threads_for(panels, grain);
      const int64_t step = std::max<int64_t>(1, panels / (ranges_per_thread * workers));
      parallel_items((panels + step - 1) / step, workers,
                     [&](int64_t i, int) { columns(i * step, std::min(panels, (i + 1) * step)); });
    }
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t cols, float* out) {
  const auto& k = kernels();
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    k.layer_norm(x + begin * cols, weight, bias, eps, end - begin, cols, out + begin * cols);
  });
}

void softmax(const float* x, int64_t rows, int64_t cols, float* out) {
  const auto& k = kernels();
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    k.softmax(x + begin * cols, end - begin, cols, out + begin * cols);
  });
}

void activate(const float* x, Activation activation, int64_t size, float* out) {
  const auto& k = kernels();
  parallel_ranges(size, worth_a_thread, [&](int64_t begin, int64_t end) {
    k.activate(x + begin, activation, end - begin, out + begin);
  });
}

void embedding(const int64_t* ids, const int64_t* places, const Packed& tokens, const float* positions, int64_t count,
               float* out) {
  const int64_t width = tokens.depth;
  parallel_ranges(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* const row = out + t * width;
      decode_column(tokens.dtype, tokens.panel(ids[t] / panel_cols), width, ids[t] % panel_cols, row, 1);
      const float* const place = positions + places[t] * width;
      for (int64_t i = 0; i < width; ++i) row[i] += place[i];
    }
  });
}

}  // namespace nextword
