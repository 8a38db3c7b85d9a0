#include "network.h"

#include <algorithm>
#include <cstring>

#include "machine/parallel.h"
#include "pool.h"

namespace nextword {
namespace {

// Rows from which on a pass is long: a start of threads costs nothing beside it.
constexpr int64_t many = 32;

constexpr int64_t whole_lines(int64_t floats) { return (floats + 15) / 16 * 16; }

int64_t most_room(const Network& n, int64_t rows, int64_t logits) {
  int64_t most = matmul_room(n.head.weight, logits);
  for (const Block& b : n.blocks)
    for (const Linear* layer : {&b.qkv, &b.attn_out, &b.fc, &b.mlp_out})
      most = std::max(most, matmul_room(layer->weight, rows));
  return whole_lines(most);
}

}  // namespace

void run(const Network& n, const std::vector<Cache>& caches, const Pass& pass, float* logits) {
  const int64_t rows = pass.count, width = n.tokens.depth;
  if (rows == 0) return;
  int64_t inner = 0;
  for (const Block& b : n.blocks) inner = std::max(inner, spread_stride(rows, b.fc.weight.cols));
  const int64_t room_floats = most_room(n, rows, pass.wanted_count);
  const int64_t most = std::max(rows, pass.wanted_count);  // a row may be wanted more than once
  const auto memory = pooled_floats(room_floats + 4 * rows * width + 2 * most * width + rows * inner);
  float* const room = memory.get();             // of a matmul
  float* const x = room + room_floats;          // [rows, width]
  float* const h = x + rows * width;            // [most, width]: what a linear layer reads
  float* const qkv = h + most * width;          // [rows, 3 * width]
  float* const mid = qkv + 3 * rows * width;    // [most, width]: x between attention and feed-forward, then what is wanted
  float* const act = mid + most * width;        // [rows, inner]
  const Queries queries(pass.sequences, caches.empty() ? 0 : caches[0].prefix);

  const auto norm = [&](const float* from, const Norm& layer, int64_t count) {
    layer_norm(from, layer.weight, layer.bias, n.eps, count, width, h);
  };
  const auto linear = [&](const float* from, int64_t stride, const Linear& layer, const float* residual,
                          Activation activation, float* to, int64_t to_stride, const Linear& next) {
    matmul(from, stride, layer.weight, layer.bias, residual, activation, rows, to, to_stride, &next.weight, room);
  };
  const auto all = [&] {
    embedding(pass.ids, pass.places, n.tokens, n.positions, rows, x);
    for (size_t i = 0; i < n.blocks.size(); ++i) {
      const Block& b = n.blocks[i];
      const int64_t stride = spread_stride(rows, b.fc.weight.cols);
      norm(x, b.ln_1, rows);
      linear(h, width, b.qkv, nullptr, Activation::none, qkv, 3 * width, b.attn_out);
      append(qkv + width, 3 * width, qkv + 2 * width, 3 * width, pass.sequences, caches[i]);
      attention(qkv, 3 * width, caches[i], pass.sequences, queries, b.scale, nullptr, nullptr, h);
      linear(h, width, b.attn_out, x, Activation::none, mid, width, b.fc);
      norm(mid, b.ln_2, rows);
      linear(h, width, b.fc, nullptr, b.activation, act, stride, b.mlp_out);
      linear(act, stride, b.mlp_out, mid, Activation::none, x, width, i + 1 < n.blocks.size() ? n.blocks[i + 1].qkv : n.head);
    }
    parallel_ranges(pass.wanted_count, many, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        std::memcpy(mid + i * width, x + pass.wanted[i] * width, static_cast<size_t>(width) * sizeof(float));
    });
    norm(mid, n.ln_f, pass.wanted_count);
    matmul(h, width, n.head.weight, n.head.bias, nullptr, Activation::none, pass.wanted_count, logits, n.head.weight.cols,
           nullptr, room);
  };
  // Few rows: all of it by one team of threads.
  together(rows < many ? std::min(queries.threads, threads_for(rows * width * inner, worth_a_thread)) : 1, all);
}

}  // namespace nextword
