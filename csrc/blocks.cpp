#include "blocks.h"

#include <algorithm>

#include "parallel.h"
#include "pool.h"

namespace nextword {

void run_blocks(const std::vector<Block>& blocks, const std::vector<Cache>& caches, const Sequences& sequences, int64_t rows,
                float* x, const std::function<void()>& between) {
  if (blocks.empty() || rows == 0) return;
  int64_t width = 0, inner = 0, room_floats = 0;
  for (const Block& b : blocks) {
    width = b.qkv.weight.depth;
    inner = std::max(inner, spread_stride(rows, b.fc.weight.cols));
    for (const Linear* layer : {&b.qkv, &b.attn_out, &b.fc, &b.mlp_out})
      room_floats = std::max(room_floats, matmul_room(layer->weight, rows));
  }
  room_floats = (room_floats + 15) / 16 * 16;  // whole cache lines
  const auto memory = pooled_floats(room_floats + rows * (5 * width + inner));
  float* const room = memory.get();           // for matmul
  float* const h = room + room_floats;        // [rows, width]: what a linear layer reads
  float* const qkv = h + rows * width;        // [rows, 3 * width]
  float* const mid = qkv + 3 * rows * width;  // [rows, width]: x between attention and feed-forward
  float* const act = mid + rows * width;      // [rows, inner]
  const Queries queries(sequences, caches[0].prefix);

  // Few rows: all layers by one team of threads. Many: a start of threads costs nothing, and what Ctrl-C throws between
  // two operations must not leave a thread.
  constexpr int64_t many = 32;
  const auto pause = [&] {
    if (rows >= many) between();
  };
  const auto linear = [&](const float* from, int64_t stride, const Linear& layer, const float* residual,
                             Activation activation, float* to, int64_t to_stride, const Linear* next) {
    matmul(from, stride, layer.weight, layer.bias, residual, activation, rows, to, to_stride, next ? &next->weight : nullptr,
           room);
    pause();
  };
  const auto all = [&] {
    for (size_t i = 0; i < blocks.size(); ++i) {
      const Block& b = blocks[i];
      layer_norm(x, b.ln_1.weight, b.ln_1.bias, b.eps, rows, width, h);
      linear(h, width, b.qkv, nullptr, Activation::none, qkv, 3 * width, &b.attn_out);
      append(qkv + width, 3 * width, qkv + 2 * width, 3 * width, sequences, caches[i]);
      attention(qkv, 3 * width, caches[i], sequences, queries, b.scale, nullptr, nullptr, h);
      pause();
      linear(h, width, b.attn_out, x, Activation::none, mid, width, &b.fc);
      layer_norm(mid, b.ln_2.weight, b.ln_2.bias, b.eps, rows, width, h);
      const int64_t stride = spread_stride(rows, b.fc.weight.cols);
      linear(h, width, b.fc, nullptr, b.activation, act, stride, &b.mlp_out);
      linear(act, stride, b.mlp_out, mid, Activation::none, x, width, i + 1 < blocks.size() ? &blocks[i + 1].qkv : nullptr);
    }
  };
  together(rows < many ? std::min(queries.threads, threads_for(rows * width * inner, worth_a_thread)) : 1, all);
}

}  // namespace nextword
