// Attention of texts over themselves, to both sides, without a cache: contracts, work divided over threads. Arguments are
// checked by the bindings. Scratch memory is allocated by TextRoom (std::bad_alloc), before any thread starts.
#pragma once
#include <cstdint>
#include <memory>

namespace nextword {

// Queries, keys and values [tokens, heads * width] of `count` texts, whose rows follow each other; text i has fresh[i].
struct TextRows {
  const float *q, *k, *v;
  int64_t q_stride, k_stride, v_stride;
  const int64_t* fresh;
  int64_t count, heads, width;
};

// Scratch memory for every thread: keys and values of one head of a text in panels, its bias, and a tile's scores.
struct TextRoom {
  int64_t pairs = 0;  // of a query and a key
  int64_t keys = 0;   // of the longest text, whole panels
  int threads;        // that memory is for
  int64_t room = 0;   // floats of it for each
  std::shared_ptr<float> scratch;

  TextRoom(const int64_t* fresh, int64_t count, int64_t width);
};

// Every query sees all tokens of its text, or those with |i - j| <= window (0: all). bias: null, or [heads, 2 * reach + 1],
// added to scale * q . k at clamp(j - i, -reach, reach) + reach. out [tokens, heads * width]. scores and weights: null, or
// of a single text [heads, tokens, tokens].
void attention_within(const TextRows& texts, const TextRoom& room, int64_t window, float scale, const float* bias, int64_t reach,
                      float* scores, float* weights, float* out);

}  // namespace nextword
