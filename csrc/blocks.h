// GPT-2's transformer blocks in one call, built of the operations: what models/gpt2.py computes step by step for whoever
// looks inside, with the same bits.
#pragma once
#include <functional>
#include <vector>

#include "attention.h"
#include "ops.h"

namespace nextword {

struct Norm {
  const float *weight, *bias;  // [width]
};
struct Linear {
  Packed weight;
  const float* bias;  // [cols]
};

struct Block {
  Norm ln_1, ln_2;
  float eps;
  Linear qkv, attn_out, fc, mlp_out;
  float scale;            // of attention's scores
  Activation activation;  // of fc
};

// x [rows, width] becomes what leaves the last block: for each one
//   x += attn_out(attention(qkv(ln_1(x))))     x += mlp_out(activation(fc(ln_2(x))))
// caches: one a block. The rows are the fresh tokens of the sequences, one after the other. between: called after each
// operation of a pass of many rows, which takes long; it may throw.
void run_blocks(const std::vector<Block>& blocks, const std::vector<Cache>& caches, const Sequences& sequences, int64_t rows,
                float* x, const std::function<void()>& between);

}  // namespace nextword
