// One row of logits to the distribution that sampling draws from, and draws from it. One thread, no sort of the row.
// Arguments are checked by the bindings, logits here: std::invalid_argument where one is NaN or +inf, or all are -inf.
// `op` is the name that such an error gives.
#pragma once
#include <cstdint>
#include <vector>

namespace nextword {

enum class Chances { proportional, equal };  // of the tokens that the rules keep: their softmax, or all alike

// Applied in this order, each to the distribution renormalised over what the earlier ones kept. A logit of -inf is never
// kept. Exponentials are float32 (exp below -87.3 is 0), sums and divisions float64; where such a sum comes so near to
// top_p or typical_p that their errors could decide, exponentials are float64, too.
// A sum reaches p if it is short of it by at most u (1 + log size), u = 2^-24: so much can the rounding of float32
// log-probabilities take from it, as that of a probability P, to float32 and then as its logarithm, is u (1 + |log P|),
// whose mean is at most u (1 + log size). By the same, min_p keeps a logit that is short of largest + temperature log
// min_p by at most u (2 + 2 log size + temperature |log min_p|), the rounding of both logits.
struct Rules {
  double temperature;  // > 0: logits are divided by it; outside of [1e-30, 1e30] taken as the nearer end
  int64_t top_k;       // logits below the k-th largest go, its equals stay; 0: off
  double top_p;        // the fewest most probable tokens that reach top_p stay, one at least, of equal logits the lower ids; 1: off
  double min_p;        // p < min_p * max p goes; 0: off
  double typical_p;    // by |-log p - entropy|, the smallest stay until they reach typical_p, and equals; 1: off
  Chances chances;
};

// What is kept. Points into memory of the calling thread, valid until its next call of `keep`.
struct Kept {
  int64_t count;           // tokens kept
  int64_t size;            // of the vocabulary
  const int32_t* ids;      // [count] ascending; null: every token whose logit is not -inf
  const float* weights;    // [count], or [size] where ids is null
  const float* logits;     // [size]
  double factor;           // probability = weight * factor
  // Limits: the least logit / temperature that top_k, top_p, min_p kept; entropy and largest |-log p - entropy| of
  // typical_p. -inf and +inf where a rule is off.
  double cuts[5];
};
Kept keep(const char* op, const float* logits, int64_t size, const Rules& rules);

// ids [count] ascending and their probabilities [count].
void write(const Kept& kept, int64_t* ids, double* probabilities);

// Whether each of some tokens, ids 0 .. size - 1, was kept, and its probability, 0 if not.
void look_up(const Kept& kept, const int64_t* tokens, int64_t count, double* probabilities, bool* stays);

// The first kept id whose cumulative probability exceeds u in [0, 1); the last of positive probability if none does.
// The sum runs over blocks of 512 ids. A block's sum is that of 8 lanes (id modulo 8, each over ascending ids), added as
// ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)); in the block that passes u, probabilities are added one by one.
struct Drawn {
  int64_t id;
  double probability;
};
Drawn draw(const Kept& kept, double u);

// log(sum(exp(logits))), in float64 throughout; the same bits on every instruction set.
double log_sum_exp(const char* op, const float* logits, int64_t size);

// The ids of the k largest of `size` logits, descending, of equals the lower id first; -inf is allowed and last.
std::vector<int64_t> top(const char* op, const float* logits, int64_t size, int64_t k);

// Log-probabilities, each logit - log_sum_exp in float64: of `count` tokens, ids 0 .. size - 1, to out [count]; of the
// tokens of `top`, 0 <= k <= size, to values [k], and their ids to ids [k]. All numbers of a token are the same.
void log_probabilities(const char* op, const float* logits, int64_t size, const int64_t* tokens, int64_t count, double* out,
                       int64_t k, int64_t* ids, double* values);

}  // namespace nextword
