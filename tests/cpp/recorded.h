// Programs made in C++: operations added one by one, and GPT-2's graph of them.
#pragma once
#include <algorithm>
#include <vector>

#include "arithmetic/program.h"

namespace nextword {

struct Norm {
  const float *weight, *bias;  // [width]
};
struct Layer {
  Packed weight;
  const float* bias;  // [cols], or null
};
struct Block {
  Norm ln_1, ln_2;
  Layer qkv, attn_out, fc, mlp_out;
  float scale;
  Activation activation;
};

class Recorder {
 public:
  Program program;

  View embedding(const Packed& tokens, const float* positions, int64_t places) {
    Op op = of("embedding", {});
    op.indices[0] = Index::ids, op.indices[1] = Index::places;
    op.matrix = tokens;
    op.arrays[0] = {positions, places, tokens.depth};
    return made(op);
  }
  View layer_norm(const View& x, const Norm& norm) {
    Op op = of("layer_norm", {x});
    op.arrays[0] = {norm.weight, 0, x.cols}, op.arrays[1] = {norm.bias, 0, x.cols};
    op.scalar = 1e-5f;
    return made(op);
  }
  View matmul(const View& x, const Layer& layer) { return product(of("matmul", {x}), layer); }
  View matmul_residual(const View& x, const Layer& layer, const View& residual) {
    return product(of("matmul_residual", {x, residual}), layer);
  }
  View matmul_activated(const View& x, const Layer& layer, Activation activation) {
    Op op = of("matmul_activated", {x});
    op.activation = activation;
    return product(op, layer);
  }
  View attention(const View& qkv, int layer, float scale) {
    const int64_t width = qkv.cols / 3;
    const auto part = [&](int64_t i) { return View{qkv.value, i * width, width}; };
    Op append = of("append", {part(1), part(2)}), attention = of("attention", {part(0)});
    append.cache = attention.cache = 0;
    append.layer = attention.layer = layer;
    attention.scalar = scale;
    program.add(append);
    return made(attention);
  }
  View gather(const View& x) {
    Op op = of("gather", {x});
    op.indices[0] = Index::wanted;
    return made(op);
  }

  // Ids to logits as in models/gpt2.py; closes the program.
  void gpt2(const Packed& tokens, const float* positions, int64_t places, const std::vector<Block>& blocks, const Norm& ln_f) {
    View x = embedding(tokens, positions, places);
    for (size_t i = 0; i < blocks.size(); ++i) {
      const Block& b = blocks[i];
      const View seen = attention(matmul(layer_norm(x, b.ln_1), b.qkv), static_cast<int>(i), b.scale);
      x = matmul_residual(seen, b.attn_out, x);
      x = matmul_residual(matmul_activated(layer_norm(x, b.ln_2), b.fc, b.activation), b.mlp_out, x);
    }
    program.close(matmul(layer_norm(gather(x), ln_f), {tokens, nullptr}));
  }

 private:
  static Op of(const char* kind, const std::vector<View>& inputs) {
    Op op;
    op.kind = &kind_of(kind);
    std::copy(inputs.begin(), inputs.end(), op.inputs);
    return op;
  }
  View product(Op op, const Layer& layer) {
    op.matrix = layer.weight;
    op.arrays[0] = {layer.bias, 0, layer.weight.cols};
    return made(op);
  }
  View made(const Op& op) {
    const int value = program.add(op).out;
    return {value, 0, program.values[static_cast<size_t>(value)].cols};
  }
};

}  // namespace nextword
