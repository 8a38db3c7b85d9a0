#include "ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "encode.h"
#include "machine/cpu.h"
#include "machine/pages.h"
#include "machine/parallel.h"
#include "pool.h"
#include "streaming.h"

namespace nextword {
namespace {

// Rows taken through all weights at once: enough products for each weight that is read from memory.
constexpr int64_t block_rows = 512;

// Bytes of the next weights that a thread asks for: as far ahead as a kernel does itself (kernels/matmul.h).
constexpr int64_t fetched_before = 8192;

// Rows that start a multiple of this apart share a few cache sets; from so many rows on that costs more than a copy.
constexpr int64_t clash = 512, many_rows = 16, pad = 16;
constexpr int64_t line = 64;  // bytes

constexpr int64_t large_result = int64_t{1} << 22;  // floats: it takes longer to clear their pages than between two checks

// x as a format multiplies it, its rows apart: x itself, or a copy in this thread's scratch memory.
struct Operand {
  const void* x;
  int64_t stride;  // elements
  const float* scale = nullptr;
  const int32_t* start = nullptr;
};

Operand spread(const float* x, int64_t stride, int64_t rows, int64_t cols, float* room) {
  if (rows < many_rows || stride % clash) return {x, stride};
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::memcpy(room + r * (cols + pad), x + r * stride, static_cast<size_t>(cols) * sizeof(float));
  });
  return {room, cols + pad};
}

// Rows of x as compact formats have them.
struct CompactRows {
  int64_t width, item, apart, groups;  // elements, bytes of one, elements from row to row, groups of one start each

  CompactRows(Dtype dtype, int64_t rows, int64_t cols)
      : width(panels_of(cols) * panel_cols),  // whole groups of every format
        item(dtype == Dtype::bfloat16 ? sizeof(uint16_t) : sizeof(int8_t)),
        apart(width + (rows >= many_rows && width * item % (clash / 2) == 0 ? line / item : 0)),
        groups(dtype == Dtype::int4 ? width / Int4::step : 1) {}
  int64_t floats(int64_t rows) const { return rows * apart * item / static_cast<int64_t>(sizeof(float)); }
};

Operand operand(const float* x, int64_t stride, Dtype dtype, int64_t rows, int64_t cols, float* room) {
  if (dtype == Dtype::float32) return spread(x, stride, rows, cols, room);
  const auto& k = kernels();
  const CompactRows to(dtype, rows, cols);
  float* const scale = room + to.floats(rows) + line;
  auto* const start = reinterpret_cast<int32_t*>(scale + rows);
  parallel_ranges(rows, 4 * worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    const float* const from = x + begin * stride;
    if (dtype == Dtype::bfloat16)
      k.round_rows(from, stride, end - begin, cols, to.width, reinterpret_cast<uint16_t*>(room) + begin * to.apart, to.apart);
    else
      k.quantise_rows(from, stride, end - begin, cols, to.width, dtype, reinterpret_cast<int8_t*>(room) + begin * to.apart,
                      to.apart, scale + begin, start + begin * to.groups);
  });
  if (dtype == Dtype::bfloat16) return {room, to.apart};
  return {room, to.apart, scale, start};
}

// Panels that are a piece of work for one thread.
int64_t grain_of(const Packed& weight, int64_t rows) { return worth_a_thread / (rows * weight.depth * panel_cols) + 1; }

// out = combine(x, y), number by number.
template <class F>
void by_pairs(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t rows, int64_t cols, float* out,
                     const F& combine) {
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < cols; ++c) out[r * cols + c] = combine(x[r * x_stride + c], y[r * y_stride + c]);
  });
}

}  // namespace

int64_t matmul_room(const Packed& weight, int64_t rows) {
  const int64_t n = std::min(rows, block_rows);
  if (weight.dtype == Dtype::float32) return n < many_rows ? 0 : n * (weight.depth + pad);
  const CompactRows to(weight.dtype, n, weight.depth);
  return to.floats(n) + line + n * (1 + to.groups);
}

int64_t spread_stride(int64_t rows, int64_t cols) { return rows < many_rows || cols % clash ? cols : cols + pad; }

void matmul(const float* x, int64_t x_stride, const Packed& weight, const Epilogue& e, int64_t rows, float* out,
            int64_t out_stride, const Packed* next, float* room) {
  const auto product = kernels().matmul[static_cast<int>(weight.dtype)];
  const int64_t depth = weight.depth;
  const bool past_caches = streams(weight);
  if (!room) room = scratch(matmul_room(weight, rows));
  if (rows >= many_rows && rows * out_stride >= large_result) touch_pages(out, (rows - 1) * out_stride + weight.cols);
  for (int64_t r0 = 0; r0 < rows; r0 += block_rows) {
    const int64_t n = std::min(block_rows, rows - r0);
    const Operand from = operand(x + r0 * x_stride, x_stride, weight.dtype, n, depth, room);
    const auto columns = [&](int64_t begin, int64_t end) {
      const int64_t c0 = begin * panel_cols, c1 = std::min(end * panel_cols, weight.cols);
      MatmulBlock b{};
      b.x = from.x;
      b.x_stride = from.stride;
      b.x_scale = from.scale;
      b.x_start = from.start;
      b.panels = weight.panel(begin);
      b.bias = e.bias ? e.bias + c0 : nullptr;
      b.residual = e.residual ? e.residual + r0 * out_stride + c0 : nullptr;
      b.factor = e.factor ? e.factor + r0 * e.factor_stride + c0 : nullptr;
      b.factor_stride = e.factor_stride;
      b.activation = e.activation;
      b.rows = n;
      b.depth = depth;
      b.cols = c1 - c0;
      b.streams = past_caches;
      b.out = out + r0 * out_stride + c0;
      b.out_stride = out_stride;
      product(b);
    };
    const auto fetch_next = [&] {  // what this thread begins with
      if (!next || n >= many_rows) return;
      const int64_t panels = panels_of(next->cols), grain = grain_of(*next, n);
      const char* const ahead = next->panel(member ? member->first((panels + grain - 1) / grain) * grain : 0);
      for (int64_t at = 0; at < fetched_before; at += line) __builtin_prefetch(ahead + at);
    };
    parallel_ranges(panels_of(weight.cols), grain_of(weight, n), columns, fetch_next);
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t cols, float* out) {
  const auto& k = kernels();
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    k.layer_norm(x + begin * cols, weight, bias, eps, end - begin, cols, out + begin * cols);
  });
}

void rms_norm(const float* x, int64_t x_stride, const float* weight, float eps, int64_t rows, int64_t cols, int64_t width,
              float* out) {
  const auto& k = kernels();
  const int64_t runs = cols / width;
  parallel_ranges(rows * runs, worth_a_thread / width + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      k.rms_norm(x + i / runs * x_stride + i % runs * width, weight, eps, width, out + i * width);
  });
}

void rotate(const float* x, int64_t x_stride, const int64_t* places, const float* turns, Pairing pairing, int64_t rows,
            int64_t heads, int64_t pairs, float* out) {
  const auto turned = kernels().rotate[static_cast<int>(pairing)];
  const int64_t cols = heads * 2 * pairs;
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      turned(x + r * x_stride, turns + places[r] * 2 * pairs, heads, pairs, out + r * cols);
  });
}

void softmax(const float* x, int64_t rows, int64_t cols, float* out) {
  const auto& k = kernels();
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    k.softmax(x + begin * cols, end - begin, cols, out + begin * cols);
  });
}

void activate(const float* x, int64_t x_stride, Activation activation, int64_t rows, int64_t cols, float* out) {
  const auto& k = kernels();
  if (x_stride != cols && rows > 1) {
    parallel_ranges(rows, worth_a_thread / std::max<int64_t>(1, cols) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) k.activate(x + r * x_stride, activation, cols, out + r * cols);
    });
    return;
  }
  parallel_ranges(rows * cols, worth_a_thread, [&](int64_t begin, int64_t end) {
    k.activate(x + begin, activation, end - begin, out + begin);
  });
}

void add(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t rows, int64_t cols, float* out) {
  by_pairs(x, x_stride, y, y_stride, rows, cols, out, [](float a, float b) { return a + b; });
}

void multiply(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t rows, int64_t cols, float* out) {
  by_pairs(x, x_stride, y, y_stride, rows, cols, out, [](float a, float b) { return a * b; });
}

void embedding(const int64_t* ids, const int64_t* places, const Packed& tokens, const float* positions, int64_t count,
               float* out) {
  const int64_t width = tokens.depth;
  parallel_ranges(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* const row = out + t * width;
      decode_column(tokens.dtype, tokens.panel(ids[t] / panel_cols), width, ids[t] % panel_cols, row, 1);
      if (!positions) continue;
      const float* const place = positions + places[t] * width;
      for (int64_t i = 0; i < width; ++i) row[i] += place[i];
    }
  });
}

void add_rows(const float* x, int64_t x_stride, const int64_t* ids, const float* table, int64_t rows, int64_t cols, float* out) {
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < cols; ++c) out[r * cols + c] = x[r * x_stride + c] + table[ids[r] * cols + c];
  });
}

void pool(const float* x, int64_t x_stride, const int64_t* fresh, int64_t texts, int64_t cols, Pooling how, float* out) {
  std::vector<int64_t> begins(static_cast<size_t>(texts));
  for (int64_t i = 1; i < texts; ++i) begins[static_cast<size_t>(i)] = begins[static_cast<size_t>(i - 1)] + fresh[i - 1];
  const int64_t tokens = texts ? begins.back() + fresh[texts - 1] : 0;
  parallel_ranges(texts, worth_a_thread * texts / std::max<int64_t>(1, tokens * cols) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* const from = x + (begins[static_cast<size_t>(i)] + (how == Pooling::last ? fresh[i] - 1 : 0)) * x_stride;
      float* const to = out + i * cols;
      std::memcpy(to, from, static_cast<size_t>(cols) * sizeof(float));
      if (how == Pooling::first || how == Pooling::last) continue;
      for (int64_t r = 1; r < fresh[i]; ++r) {
        const float* const row = from + r * x_stride;
        for (int64_t c = 0; c < cols; ++c) to[c] = how == Pooling::mean ? to[c] + row[c] : row[c] > to[c] || row[c] != row[c] ? row[c] : to[c];
      }
      for (int64_t c = 0; c < cols && how == Pooling::mean; ++c) to[c] /= static_cast<float>(fresh[i]);
    }
  });
}

void normalise(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* out) {
  parallel_ranges(rows, worth_a_thread / cols + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      double squares = 0;
      for (int64_t c = 0; c < cols; ++c) squares += static_cast<double>(x[r * x_stride + c]) * x[r * x_stride + c];
      const double length = std::sqrt(squares);
      const double by = length < 1e-12 ? 1e-12 : length;
      for (int64_t c = 0; c < cols; ++c) out[r * cols + c] = static_cast<float>(x[r * x_stride + c] / by);
    }
  });
}

}  // namespace nextword
