#include "ops.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu.h"
#include "encode.h"
#include "parallel.h"

namespace nextword {
namespace {

// Work below this many multiply-adds is done before a second thread has woken up (about 2 us).
constexpr int64_t worth_a_thread = 1 << 16;

// What a value costs, in multiply-adds, that comes from memory for one use (a cached key), or goes to a line of its own
// there (a key of one token).
constexpr int64_t read_once = 4, written_apart = 256;

// Rows taken through all weights at once: enough products for each weight that is read from memory.
constexpr int64_t block_rows = 512;

constexpr int64_t ranges_per_thread = 12;

// Rows that start a multiple of this apart share a few cache sets; from so many rows on that costs more than a copy.
constexpr int64_t clash = 512, many_rows = 16, pad = 16;

// Memory that a thread keeps from call to call.
float* scratch(int64_t count) {
  thread_local std::shared_ptr<float> memory;
  thread_local int64_t size = 0;
  if (size < count) {
    memory.reset();
    size = 0;
    memory = aligned_floats(count);
    size = count;
  }
  return memory.get();
}

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
            Activation activation, int64_t rows, float* out, int64_t out_stride) {
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

void append(const float* k, int64_t k_stride, const float* v, int64_t v_stride, const Sequences& s, const Cache& cache) {
  const int64_t width = cache.width, key_head = cache.capacity * width;
  const int64_t value_head = panels_of(width) * cache.capacity * panel_cols;
  int64_t tokens = 0;
  for (int64_t i = 0; i < s.count; ++i) tokens += s.fresh[i];
  const int64_t grain = worth_a_thread / std::max<int64_t>(1, written_apart * tokens * width) + 1;
  parallel_ranges(cache.heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      int64_t row = 0;
      for (int64_t i = 0; i < s.count; ++i) {
        float* const keys = cache.keys + (s.slots[i] * cache.heads + head) * key_head;
        float* const values = cache.values + (s.slots[i] * cache.heads + head) * value_head;
        const int64_t end = s.past[i] + s.fresh[i];
        for (int64_t at = s.past[i]; at < end;) {  // as many tokens at once as share a panel of keys
          const int64_t n = std::min(end, (at / panel_cols + 1) * panel_cols) - at;
          const float* const from_k = k + row * k_stride + head * width;
          float* const to_k = keys + at / panel_cols * width * panel_cols + at % panel_cols;
          for (int64_t d = 0; d < width; ++d)
            for (int64_t t = 0; t < n; ++t) to_k[d * panel_cols + t] = from_k[t * k_stride + d];
          for (const int64_t stop = at + n; at < stop; ++at, ++row) {
            const float* const from_v = v + row * v_stride + head * width;
            for (int64_t d = 0; d < width; d += panel_cols) {
              float* const to_v = values + (d / panel_cols * cache.capacity + at) * panel_cols;
              for (int64_t c = 0; c < std::min(panel_cols, width - d); ++c) to_v[c] = from_v[d + c];
            }
          }
        }
      }
    }
  });
}

void attention(const float* q, int64_t q_stride, const Cache& cache, const Sequences& s, float scale, float* scores,
               float* weights, float* out) {
  const auto& k = kernels();
  const int64_t width = cache.width, heads = cache.heads, step = k.tile_rows;
  struct Tile { int64_t sequence, row, offset, rows; };  // `rows` queries from `offset` on; row: of q and out
  std::vector<Tile> tiles;
  int64_t row = 0, longest = 0, work = 0;
  for (int64_t i = 0; i < s.count; ++i) {
    const int64_t seen = cache.prefix + s.past[i] + s.fresh[i];
    longest = std::max(longest, seen);
    work += s.fresh[i] * seen * width * heads;
    for (int64_t offset = 0; offset < s.fresh[i]; offset += step)
      tiles.push_back({i, row + offset, offset, std::min(step, s.fresh[i] - offset)});
    row += s.fresh[i];
  }
  const int64_t items = static_cast<int64_t>(tiles.size()) * heads;
  const int workers = threads_for(std::min(items, read_once * work / worth_a_thread), 1);
  const int64_t room = attention_scratch(longest);
  float* const memory = scratch(workers * room);

  parallel_items(items, workers, [&](int64_t item, int worker) {
    // Head by head, so that a head's keys and values stay in the cache; the longest tiles first.
    const auto count = static_cast<int64_t>(tiles.size());
    const Tile& tile = tiles[static_cast<size_t>(count - 1 - item % count)];
    const int64_t head = item / count, slot = s.slots[tile.sequence] * heads + head;
    const int64_t past = cache.prefix + s.past[tile.sequence], keys_seen = past + s.fresh[tile.sequence];
    AttentionTile t{};
    t.q = q + tile.row * q_stride + head * width;
    t.q_stride = q_stride;
    t.keys = cache.keys + slot * cache.capacity * width;
    t.value_stride = cache.capacity * panel_cols;
    t.values = cache.values + slot * panels_of(width) * t.value_stride;
    t.prefix = cache.prefix;
    if (cache.prefix > 0) {
      t.prefix_keys = cache.prefix_keys + head * cache.prefix * width;
      t.prefix_values = cache.prefix_values + head * panels_of(width) * panel_cols * cache.prefix;
    }
    t.scale = scale;
    t.rows = tile.rows;
    t.width = width;
    t.first = past + tile.offset;
    t.scratch = memory + worker * room;
    t.weights_stride = keys_seen;
    const int64_t traced = (head * s.fresh[tile.sequence] + tile.offset) * keys_seen;
    t.scores = scores ? scores + traced : nullptr;
    t.weights = weights ? weights + traced : nullptr;
    t.out = out + tile.row * heads * width + head * width;
    t.out_stride = heads * width;
    k.attention(t);
    // What lies behind the tile's own last key is masked for all of its queries.
    for (int64_t r = 0; r < tile.rows && (scores || weights); ++r)
      for (int64_t key = t.first + t.rows; key < keys_seen; ++key) {
        if (scores) t.scores[r * keys_seen + key] = -__builtin_inff();
        if (weights) t.weights[r * keys_seen + key] = 0.0f;
      }
  });
}

}  // namespace nextword
