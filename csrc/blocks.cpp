#include "blocks.h"

#include <algorithm>

#include "pool.h"

namespace nextword {

void run_blocks(const std::vector<Block>& blocks, const std::vector<Cache>& caches, const Sequences& sequences, int64_t rows,
                float* x, const std::function<void()>& between) {
  if (blocks.empty() || rows == 0) return;
  int64_t width = 0, inner = 0;
  for (const Block& b : blocks) {
    width = b.qkv.weight.depth;
    inner = std::max(inner, spread_stride(rows, b.fc.weight.cols));
  }
  const auto memory = pooled_floats(rows * (5 * width + inner));
  float* const h = memory.get();              // [rows, width]: what a linear layer reads
  float* const qkv = h + rows * width;        // [rows, 3 * width]
  float* const mid = qkv + 3 * rows * width;  // [rows, width]: x between attention and feed-forward
  float* const act = mid + rows * width;      // [rows, inner]

  constexpr int64_t many = 32;
  const auto pause = [&] {
    if (rows >= many) between();
  };
  const auto linear = [&](const float* from, int64_t stride, const Linear& layer, const float* residual,
                             Activation activation, float* to, int64_t to_stride, const Linear* next) {
    matmul(from, stride, layer.weight, layer.bias, residual, activation, rows, to, to_stride, next ? &next->weight : nullptr);
    pause();
  };
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& b = blocks[i];
    layer_norm(x, b.ln_1.weight, b.ln_1.bias, b.eps, rows, width, h);
    linear(h, width, b.qkv, nullptr, Activation::none, qkv, 3 * width, &b.attn_out);
    append(qkv + width, 3 * width, qkv + 2 * width, 3 * width, sequences, caches[i]);
    attention(qkv, 3 * width, caches[i], sequences, b.scale, nullptr, nullptr, h);
    pause();
    linear(h, width, b.attn_out, x, Activation::none, mid, width, &b.fc);
    layer_norm(mid, b.ln_2.weight, b.ln_2.bias, b.eps, rows, width, h);
    const int64_t stride = spread_stride(rows, b.fc.weight.cols);
    linear(h, width, b.fc, nullptr, b.activation, act, stride, &b.mlp_out);
    linear(act, stride, b.mlp_out, mid, Activation::none, x, width, i + 1 < blocks.size() ? &blocks[i + 1].qkv : nullptr);
  }
}

}  // namespace nextword
