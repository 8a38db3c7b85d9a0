// GPT-2 from ids to logits in one call, built of the operations: what models/gpt2.py computes step by step for whoever
// looks inside, with the same bits.
#pragma once
#include <vector>

#include "attention.h"
#include "ops.h"

namespace nextword {

struct Norm {
  const float *weight, *bias;  // [width]
};
struct Linear {
  Packed weight;
  const float* bias;  // [cols], or null
};

struct Block {
  Norm ln_1, ln_2;
  Linear qkv, attn_out, fc, mlp_out;
  float scale;            // of attention's scores
  Activation activation;  // of fc
};

struct Network {
  Packed tokens;           // [width, vocabulary]
  const float* positions;  // [places, width]
  std::vector<Block> blocks;
  Norm ln_f;
  Linear head;
  float eps;  // of all norms
};

// ids, places: of each fresh token of the sequences, one sequence after the other. wanted: the tokens, counted through
// them, whose logits [wanted_count, vocabulary] are computed.
struct Pass {
  Sequences sequences;
  const int64_t *ids, *places, *wanted;
  int64_t count, wanted_count;
};

// x = tokens[ids] + positions[places], then for each block
//   x += attn_out(attention(qkv(ln_1(x))))     x += mlp_out(activation(fc(ln_2(x))))
// and logits = head(ln_f(x[wanted])). caches: one a block. Throws what interrupts it (interrupt.h); the caches then hold no
// more than before.
void run(const Network& network, const std::vector<Cache>& caches, const Pass& pass, float* logits);

}  // namespace nextword
