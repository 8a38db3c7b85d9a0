// The key-value cache and attention over it: contracts, work divided over threads, the chosen table of kernels called.
// Arguments are checked by the bindings. Scratch memory is allocated by Queries (std::bad_alloc), before any thread starts.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernels.h"

namespace nextword {

// The cache of one layer, laid out as formats.h says.
struct Cache {
  Element element;
  void* keys;
  void* values;
  float* scales;  // of int8, else null
  int64_t heads, width, capacity;
  // What every sequence begins with, before what its slot holds: a multiple of 32 tokens, laid out like a slot of that
  // capacity. 0 and null: nothing.
  int64_t prefix = 0;
  const void* prefix_keys = nullptr;
  const void* prefix_values = nullptr;
  const float* prefix_scales = nullptr;
};

// `count` sequences; sequence i has past[i] tokens in slot slots[i] and brings fresh[i] more, whose rows follow each
// other in q, k, v and out.
struct Sequences {
  const int64_t *slots, *past, *fresh;
  int64_t count;
};

// Stores rows of k and v [tokens, heads * width], as the cache's element has them, behind what the slots hold.
void append(const float* k, int64_t k_stride, const float* v, int64_t v_stride, const Sequences& sequences,
            const Cache& cache);

// The fresh tokens cut into tiles of one sequence each, and scratch memory for every thread: the same for all layers whose
// caches begin with a prefix of this length.
struct Queries {
  struct Tile { int64_t sequence, row, offset, rows; };  // `rows` queries from `offset` on; row: of q and out
  std::vector<Tile> tiles, ones;  // of several queries, and of one
  int64_t scored = 0;   // pairs of a query and a key that its sequence holds
  bool decode;          // one token a sequence
  int threads;          // that scratch memory is for
  int64_t room;         // floats of it for each
  std::shared_ptr<float> scratch;

  Queries(const Sequences& sequences, int64_t prefix);
};

// Causal attention of the fresh tokens over the prefix and their own slot, which append has filled before, within a window
// of so many tokens (0: any). q [tokens, heads * width]; heads: a multiple, `group`, of the cache's, whose head h / group
// head h reads: of a single query once for all heads of a group. out [tokens, heads * width]. scores and weights: null, or
// of a single sequence [heads, fresh, prefix + past + fresh].
void attention(const float* q, int64_t q_stride, int64_t heads, const Cache& cache, const Sequences& sequences,
               const Queries& queries, int64_t window, float scale, float* scores, float* weights, float* out);

}  // namespace nextword
