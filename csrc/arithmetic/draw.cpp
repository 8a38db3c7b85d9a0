// What is kept of a distribution, written out, looked up and drawn from; sampling.h has the contracts.
#include <algorithm>
#include <cfloat>

#include "sampling.h"

namespace nextword {
namespace {

constexpr float no_limit = -FLT_MAX;  // below every finite logit, above -inf
constexpr int64_t block = 512, lanes = 8;  // of the cumulative sum that `draw` describes

}  // namespace

void write(const Kept& kept, int64_t* ids, double* probabilities) {
  if (kept.ids) {
    for (int64_t i = 0; i < kept.count; ++i) {
      ids[i] = kept.ids[i];
      probabilities[i] = static_cast<double>(kept.weights[i]) * kept.factor;
    }
    return;
  }
  int64_t done = 0;
  for (int64_t i = 0; i < kept.size && done < kept.count; ++i)
    if (kept.logits[i] >= no_limit) {
      ids[done] = i;
      probabilities[done++] = static_cast<double>(kept.weights[i]) * kept.factor;
    }
  for (; done < kept.count; ++done) ids[done] = 0, probabilities[done] = 0;  // whoever changed the logits meanwhile
}

void look_up(const Kept& kept, const int64_t* tokens, int64_t count, double* probabilities, bool* stays) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t* const end = kept.ids + (kept.ids ? kept.count : 0);
    const int32_t* const found = std::lower_bound(kept.ids, end, tokens[i]);
    const int64_t at = kept.ids ? found - kept.ids : tokens[i];
    stays[i] = kept.ids ? found != end && *found == tokens[i] : kept.logits[tokens[i]] >= no_limit;
    probabilities[i] = stays[i] ? static_cast<double>(kept.weights[at]) * kept.factor : 0;
  }
}

Drawn draw(const Kept& kept, double u) {
  const auto id_of = [&](int64_t i) -> int64_t { return kept.ids ? kept.ids[i] : i; };
  const auto probability = [&](int64_t i) { return static_cast<double>(kept.weights[i]) * kept.factor; };
  const int64_t n = kept.ids ? kept.count : kept.size;
  double reached = 0;
  for (int64_t begin = 0; begin < n;) {
    const int64_t id_end = (id_of(begin) / block + 1) * block;
    double sum[lanes] = {};
    int64_t end = begin;
    if (kept.ids) {
      for (; end < n && kept.ids[end] < id_end; ++end) sum[kept.ids[end] % lanes] += probability(end);
    } else {
      const int64_t stop = std::min(n, id_end);
      for (; end + lanes <= stop; end += lanes)
        for (int64_t j = 0; j < lanes; ++j) sum[j] += probability(end + j);
      for (; end < stop; ++end) sum[end % lanes] += probability(end);
    }
    const double after = reached + (((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])));
    for (int64_t i = begin; after > u && i < end; ++i) {
      const double p = probability(i);
      reached += p;
      if (reached > u && p > 0) return {id_of(i), p};
    }
    reached = after;
    begin = end;
  }
  int64_t last = n - 1;  // the total, 1 but for rounding, does not exceed u
  while (last > 0 && !(probability(last) > 0)) --last;
  return {id_of(last), probability(last)};
}

}  // namespace nextword
