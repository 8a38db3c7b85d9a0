#include "sampling.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>

#include "machine/cpu.h"

namespace nextword {
namespace {

constexpr float no_limit = -FLT_MAX;  // below every finite logit, above -inf
constexpr float infinite = INFINITY;

constexpr int64_t group = 32;  // values for each maximum: 1571 maxima of GPT-2's vocabulary, which fit the first cache
constexpr int64_t few = 48;    // so many candidates are sorted rather than divided once more
constexpr int64_t worth_copying = 1024;  // fewer keys are passed over faster
constexpr double half_ulp = 0x1p-24;  // of float32: the relative error of a rounding
constexpr int64_t lanes = 8;  // of a sum

// Memory that a thread keeps from call to call.
struct Scratch {
  std::vector<float> maxima, logits, weights, keys, narrow_keys, narrow_weights;
  std::vector<int32_t> ids, at;
  std::vector<double> shifts;
};
Scratch& scratch() {
  thread_local Scratch memory;
  return memory;
}

template <class T>
T* room(std::vector<T>& memory, int64_t count) {
  if (memory.size() < static_cast<size_t>(count)) memory.resize(static_cast<size_t>(count));
  return memory.data();
}

// The largest logit, an error unless it is finite and at least `least`; the maxima of groups go to scratch.
float survey(const char* op, const float* x, int64_t n, float least, int64_t& groups) {
  float top = -infinite;
  groups = n ? kernels().maxima(x, n, group, room(scratch().maxima, n / group + 2 * max_lanes), &top) : 0;
  if (top >= least && top < infinite) return top;
  const char* const got = std::isnan(top) ? "nan" : top > 0 ? "inf" : "-inf";
  throw std::invalid_argument("sampling: the largest logit must be finite and none may be NaN, got " + std::string(got) + " among " +
                              std::to_string(n) + " logits of " + op + "; pass finite logits, and -inf for tokens that may not be drawn");
}

// Floats as integers in the same order; both zeros are 0.
int32_t ordinal(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits < 0 ? -(bits & 0x7fffffff) : bits;
}
float from_ordinal(int32_t o) {
  const int32_t bits = o < 0 ? -o | INT32_MIN : o;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The least float >= x, and the largest <= x; x below all floats is the least of them.
float round_up(double x) {
  const auto y = static_cast<float>(std::max<double>(x, no_limit));
  return static_cast<double>(y) < x ? from_ordinal(ordinal(y) + 1) : y;
}
float round_down(double x) {
  const auto y = static_cast<float>(std::max<double>(x, no_limit));
  return static_cast<double>(y) > x && y > no_limit ? from_ordinal(ordinal(y) - 1) : y;
}

// x, or `least` where it is less or NaN: x is read once, and another thread may be writing it.
float at_least(float x, float least) { return x >= least ? x : least; }

// Where the running total of the weights, by descending key, reaches `target`: keys >= high weigh `before` < target;
// those in [low, high), the band, reach it, and are few or all equal.
struct Border {
  float low, high;
  double before;
};

// Halves [low, top] by turns between values, which suits a smooth density, and between bit patterns, of which there are
// at most 2^32; what lies between is copied together when it has become few. weights: null for ones. Keys below `low` do
// not count; `guess` is the first limit tried.
Border find_border(const float* keys, const float* weights, int64_t n, double target, float low, float top, float guess) {
  const auto& k = kernels();
  auto& s = scratch();
  Border border{low, from_ordinal(ordinal(top) + 1), 0};
  int64_t below = n, above = 0;  // keys >= low, at most; keys >= high
  double before = 0;             // the weight of keys above those copied together
  int64_t before_count = 0;
  for (int turn = 0; below - above > few; ++turn) {
    const int64_t least = ordinal(border.low), most = ordinal(border.high);
    if (most - least <= 1) break;
    const double mean = (static_cast<double>(border.low) + border.high) / 2;
    int64_t at = turn == 0 ? ordinal(guess) : turn % 2 ? ordinal(static_cast<float>(mean)) : least + (most - least) / 2;
    if (!(at > least && at < most)) at = least + (most - least) / 2;
    const float limit = from_ordinal(static_cast<int32_t>(at));
    int64_t count;
    const double total = before + k.weight_from(keys, weights, limit, n, &count);
    count += before_count;
    if (total >= target) {
      border.low = limit;
      below = count;
    } else {
      border.high = limit;
      border.before = total;
      above = count;
    }
    if (n >= worth_copying && (below - above) * 4 <= n) {
      int32_t* const at = room(s.at, n);
      const int64_t left = k.positions(keys, border.low, border.high, n, at);
      float* const narrow = room(s.narrow_keys, n);  // may be keys itself: positions ascend
      for (int64_t i = 0; i < left; ++i) narrow[i] = keys[at[i]];
      if (weights) {
        float* const with = room(s.narrow_weights, n);
        for (int64_t i = 0; i < left; ++i) with[i] = weights[at[i]];
        weights = with;
      }
      keys = narrow;
      n = left;
      before = border.before;
      before_count = above;
    }
  }
  return border;
}

// The positions of the band; valid until the next call.
struct Band {
  int32_t* at;
  int64_t count;
};
Band band_of(const float* keys, int64_t n, const Border& border) {
  int32_t* const at = room(scratch().at, n);
  return {at, kernels().positions(keys, border.low, border.high, n, at)};
}

// The k-th largest of n values, 1 <= k <= n.
float kth_of(const float* x, int64_t n, int64_t k, float top, float guess) {
  const Border border = find_border(x, nullptr, n, static_cast<double>(k), -infinite, top, guess);
  if (static_cast<int64_t>(ordinal(border.high)) - ordinal(border.low) <= 1) return border.low;
  // Whoever changes the logits meanwhile gets a wrong number, not a step outside of the values.
  const Band band = band_of(x, n, border);
  const int64_t count = std::min(band.count, few);
  if (count == 0) return border.low;
  float values[few];
  for (int64_t i = 0; i < count; ++i) values[i] = at_least(x[band.at[i]], border.low);
  const int64_t rank = std::clamp<int64_t>(k - 1 - static_cast<int64_t>(border.before), 0, count - 1);
  std::nth_element(values, values + rank, values + count, std::greater<float>());
  return values[rank];
}

// The same, with the maxima of groups that survey has left: as many values reach the k-th largest maximum.
float kth_largest(const float* x, int64_t n, int64_t k, float top, int64_t groups) {
  const auto& s = scratch();
  if (2 * k > groups) {  // a first limit that most values reach
    float common = top;
    for (int64_t i = 0; i < groups; ++i)
      if (s.maxima[i] < common && s.maxima[i] >= no_limit) common = s.maxima[i];
    return kth_of(x, n, k, top, common);
  }
  const float least = kth_of(s.maxima.data(), groups, k, top, s.maxima[0]);
  const Band band = band_of(x, n, {least, infinite, 0});
  float* const values = room(scratch().keys, band.count + 1);
  int64_t count = 0;
  for (int64_t i = 0; i < band.count; ++i) {
    values[count] = at_least(x[band.at[i]], least);
    count += values[count] > least;
  }
  if (count < k) return least;  // among many equals, none of which is moved
  std::nth_element(values, values + (k - 1), values + count, std::greater<float>());
  return values[k - 1];
}

// The sum of term(0) .. term(n - 1) in lanes, which the compiler turns into vectors, and a fixed tree.
template <class Term>
double sum_of(int64_t n, const Term& term) {
  double sum[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int64_t j = 0; j < lanes; ++j) sum[j] += term(i + j);
  for (; i < n; ++i) sum[i % lanes] += term(i);
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}
double total_of(const float* weights, int64_t n) {
  return sum_of(n, [&](int64_t i) { return static_cast<double>(weights[i]); });
}

float least_of(const float* x, int64_t n) {
  float found[lanes];
  std::fill(found, found + lanes, infinite);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int64_t j = 0; j < lanes; ++j) found[j] = x[i + j] < found[j] ? x[i + j] : found[j];
  for (; i < n; ++i) found[0] = std::min(found[0], x[i]);
  return *std::min_element(found, found + lanes);
}

// Tokens still in the running, ascending by id.
struct Candidates {
  int32_t* ids;
  float *logits, *weights;
  int64_t count;

  template <class Keep>
  void retain(const Keep& keep) {
    int64_t n = 0;
    for (int64_t i = 0; i < count; ++i) {
      const bool stays = keep(i);
      ids[n] = ids[i];
      logits[n] = logits[i];
      weights[n] = weights[i];
      n += stays;
    }
    count = n;
  }
  float least() const { return least_of(logits, count); }
};

// Only whoever changes the logits while they are read has none left.
void some_left(int64_t count) {
  if (count == 0) throw std::invalid_argument("sampling: the logits changed while they were read; pass a copy");
}

Candidates collect(const float* x, int64_t n, float limit, float top) {
  auto& s = scratch();
  Candidates c{room(s.ids, n), nullptr, nullptr, 0};
  c.count = kernels().positions(x, limit, infinite, n, c.ids);
  c.logits = room(s.logits, c.count);
  c.weights = room(s.weights, c.count);
  for (int64_t i = 0; i < c.count; ++i) c.logits[i] = std::min(at_least(x[c.ids[i]], limit), top);
  some_left(c.count);
  return c;
}

// The share that a sum must have for it to reach `share`, of n tokens: see sampling.h.
double needed(double share, int64_t n) { return std::max(share - half_ulp * (1 + std::log(static_cast<double>(n))), DBL_MIN); }
// How far sums of float32 exponentials may lie from the exact ones, as a share of their total: an exponential of d has a
// relative error of (3 |d| + 8) half units, the mean of |d| is at most log n, and sum and total both have it.
double unsure(int64_t n) { return half_ulp * (6 * std::log(static_cast<double>(n)) + 64); }

// Where float32 cannot tell whether a sum reaches the target, float64 decides, on every instruction set alike.
bool close(double before, double reached, double target, double unsure) { return reached - target <= unsure || target - before <= unsure; }

// Sorts those of the band, the most probable first, of equal logits the lower ids.
void sort_likelier(const Candidates& c, const Band& band) {
  const auto likelier = [&](int32_t a, int32_t b) {
    return c.logits[a] > c.logits[b] || (c.logits[a] == c.logits[b] && a < b);
  };
  if (!std::is_sorted(band.at, band.at + band.count, likelier)) std::sort(band.at, band.at + band.count, likelier);
}

// Ends the nucleus with the band's i-th token.
void cut_behind(Candidates& c, const Band& band, int64_t i) {
  const int32_t last = band.at[i];
  const float limit = c.logits[last];
  c.retain([&](int64_t j) { return c.logits[j] > limit || (c.logits[j] == limit && j <= last); });
}

// The nucleus by float64 sums. `exact` and `total`: exp of a logit's distance from the top, and the sum of all; only
// tokens between the borders of target -+ unsure are in question.
template <class Exact>
void exact_nucleus(Candidates& c, double share, double total, double target, double unsure, float top, const Exact& exact) {
  const float low = c.least(), middle = low + (top - low) / 2;
  const float sure = find_border(c.logits, c.weights, c.count, target - unsure, low, top, middle).high;
  const float out = find_border(c.logits, c.weights, c.count, target + unsure, low, top, middle).low;
  double reached = 0, each = 0;
  for (int64_t i = 0; i < c.count; ++i)
    if (c.logits[i] >= sure) reached += exact(c.logits[i]);
  const Band band = band_of(c.logits, c.count, {out, sure, 0});
  sort_likelier(c, band);
  for (int64_t i = 0; i < band.count; ++i) {
    if (i == 0 || c.logits[band.at[i]] != c.logits[band.at[i - 1]]) each = exact(c.logits[band.at[i]]);
    reached += each;
    if (reached >= share * total) return cut_behind(c, band, i);
  }
}

// The most probable tokens that reach `target` together stay. True if float32 sums cannot tell which: all stay then.
bool nucleus(Candidates& c, double target, double unsure, float top) {
  const float low = c.least();
  const Border border = find_border(c.logits, c.weights, c.count, target, low, top, low + (top - low) / 2);
  const Band band = band_of(c.logits, c.count, border);
  sort_likelier(c, band);
  double reached = border.before;
  int64_t i = 0;
  if (band.count > few && c.weights[band.at[0]] > 0) {  // all equal: so many of them stay short of the target
    const double each = c.weights[band.at[0]];
    i = std::clamp<int64_t>(static_cast<int64_t>((target - reached) / each) - 1, 0, band.count);
    reached += each * static_cast<double>(i);
  }
  for (; i < band.count; ++i) {
    const double before = reached;
    reached += static_cast<double>(c.weights[band.at[i]]);
    if (reached < target) continue;
    if (close(before, reached, target, unsure)) return true;
    cut_behind(c, band, i);
    return false;
  }
  return true;
}

// -log p - entropy = mean - d, where d = (logit - top) / temperature and mean is its expectation.
// `share` and `unsure` of the total. True if float32 sums cannot tell which tokens stay: all do then.
bool typical(Candidates& c, double share, double unsure, double top, double inverse, double* cuts) {
  auto& s = scratch();
  double* const shifts = room(s.shifts, c.count);
  const double total = total_of(c.weights, c.count), target = share * total;
  const auto from_top = [&](int64_t i) { return (static_cast<double>(c.logits[i]) - top) * inverse; };
  const double mean = sum_of(c.count, [&](int64_t i) { return from_top(i) * static_cast<double>(c.weights[i]); }) / total;
  float *const keys = room(s.keys, c.count), *const maxima = room(s.maxima, c.count / group + 2 * max_lanes);
  for (int64_t i = 0; i < c.count; ++i) {
    shifts[i] = std::fabs(from_top(i) - mean);
    keys[i] = static_cast<float>(-shifts[i]);
  }
  float nearest = 0;
  kernels().maxima(keys, c.count, group, maxima, &nearest);
  const float farthest = least_of(keys, c.count);
  const Border border = find_border(keys, c.weights, c.count, target, farthest, nearest, nearest + (farthest - nearest) / 2);
  const Band band = band_of(keys, c.count, border);
  const auto nearer = [&](int32_t a, int32_t b) { return shifts[a] < shifts[b]; };
  if (!std::is_sorted(band.at, band.at + band.count, nearer)) std::sort(band.at, band.at + band.count, nearer);
  double limit = band.count ? shifts[band.at[band.count - 1]] : infinite, before = border.before, reached = before;
  for (int64_t i = 0; i < band.count && reached < target; ++i) {
    before = reached;
    reached += static_cast<double>(c.weights[band.at[i]]);
    limit = shifts[band.at[i]];
  }
  if (close(before, reached, target, unsure * total)) return true;
  cuts[3] = std::log(total) - mean;
  cuts[4] = limit;
  c.retain([&](int64_t i) { return shifts[i] <= limit; });
  return false;
}

// The same by float64 sums. `exact`: exp of a logit's distance from the top; `log_of`: that distance.
template <class Exact, class Log>
void exact_typical(Candidates& c, double share, double* cuts, const Exact& exact, const Log& log_of) {
  auto& s = scratch();
  double* const shifts = room(s.shifts, c.count);
  double total = 0, mean = 0;
  for (int64_t i = 0; i < c.count; ++i) {
    const double weight = exact(c.logits[i]);
    total += weight;
    mean += weight * log_of(c.logits[i]);
  }
  mean /= total;
  int32_t* at = room(s.at, c.count);
  std::iota(at, at + c.count, 0);
  for (int64_t i = 0; i < c.count; ++i) shifts[i] = std::fabs(log_of(c.logits[i]) - mean);
  std::sort(at, at + c.count, [&](int32_t a, int32_t b) { return shifts[a] < shifts[b] || (shifts[a] == shifts[b] && a < b); });
  double reached = exact(c.logits[*at]);
  for (int32_t* last = at + c.count - 1; at < last && reached < share * total;) reached += exact(c.logits[*++at]);
  cuts[3] = std::log(total) - mean;
  cuts[4] = shifts[*at];
  c.retain([&](int64_t i) { return shifts[i] <= cuts[4]; });
}

// log(sum(exp(x))), of which `top` is the largest.
double log_sum_from(const float* x, int64_t n, float top) {
  return static_cast<double>(top) + std::log(kernels().exp_sum_double(x, top, n));
}

// The ids of the k largest, 1 <= k <= n, of which `most` is the largest; survey has left the maxima of groups.
std::vector<int64_t> head(const float* x, int64_t n, int64_t k, float most, int64_t groups) {
  const float least = kth_largest(x, n, k, most, groups);
  const Band band = band_of(x, n, {least, infinite, 0});
  std::vector<std::pair<float, int64_t>> above;  // -logit, id
  std::vector<int64_t> out, equal;
  for (int64_t i = 0; i < band.count; ++i) {
    const float logit = at_least(x[band.at[i]], least);
    if (logit > least) above.emplace_back(-logit, band.at[i]);
    else if (static_cast<int64_t>(equal.size()) < k) equal.push_back(band.at[i]);
  }
  std::sort(above.begin(), above.end());
  for (const auto& one : above) out.push_back(one.second);
  out.insert(out.end(), equal.begin(), equal.end());
  out.resize(static_cast<size_t>(k));
  return out;
}

}  // namespace

Kept keep(const char* op, const float* x, int64_t n, const Rules& rules) {
  auto& s = scratch();
  const auto& k = kernels();
  int64_t groups = 0;
  const float top = survey(op, x, n, no_limit, groups);
  const double temperature = std::min(std::max(rules.temperature, 1e-30), 1e30), inverse = 1 / temperature;
  const auto scale = static_cast<float>(inverse);
  const bool few_k = 0 < rules.top_k && rules.top_k < n, by_p = rules.top_p < 1, by_min = rules.min_p > 0;
  Kept kept{0, n, nullptr, nullptr, x, 1, {-infinite, -infinite, -infinite, infinite, infinite}};
  const auto scaled = [&](float logit) { return static_cast<double>(logit) / rules.temperature; };

  if (!few_k && !by_p && !by_min && rules.typical_p >= 1 && rules.chances == Chances::proportional) {
    float* const weights = room(s.weights, n);
    kept.weights = weights;
    k.exp_sum(x, top, scale, n, weights);
    kept.factor = 1 / total_of(weights, n);  // float64 throughout, so that the probabilities sum to 1
    for (int64_t i = 0; i < n; ++i) kept.count += x[i] >= no_limit;
    return kept;
  }

  float limit = no_limit;
  if (few_k) {
    const float kth = kth_largest(x, n, rules.top_k, top, groups);
    kept.cuts[0] = scaled(kth);
    limit = std::max(limit, kth);
  }
  const double lowest = by_min ? top + temperature * std::log(rules.min_p) : 0, log_n = std::log(static_cast<double>(n));
  const float least = by_min ? round_up(lowest - half_ulp * (2 + 2 * log_n + (top - lowest))) : no_limit;
  const auto log_of = [&](float logit) { return (static_cast<double>(logit) - top) / temperature; };
  const auto exact = [&](float logit) { return std::exp(log_of(logit)); };
  double total = 0;
  if (by_p && !few_k) {
    // Tokens below this limit sum to less than 1 - top_p together: the nucleus is among the others. The slack is more
    // than the error of an exponential, below 2e-5.
    total = k.exp_sum(x, top, scale, n, nullptr);
    const double slack = 1e-3, tail = (1 - rules.top_p) * total / static_cast<double>(n);
    limit = round_down(top + temperature * (std::log(tail) - slack));
  } else if (!by_p && least > limit) {
    limit = least;
  }
  Candidates c = collect(x, n, std::min(limit, top), top);
  const double sum = k.exp_sum(c.logits, top, scale, c.count, c.weights);
  if (by_p) {
    const double share = needed(rules.top_p, n), all = few_k ? sum : total, target = share * all;
    if (nucleus(c, target, unsure(n) * all, top)) {
      double exact_total = 0;
      const float* const from = few_k ? c.logits : x;
      for (int64_t i = 0; i < (few_k ? c.count : n); ++i) exact_total += exact(from[i]);
      exact_nucleus(c, share, exact_total, target, unsure(n) * all, top, exact);
    }
    kept.cuts[1] = scaled(c.least());
  }
  if (by_min) {
    c.retain([&](int64_t i) { return c.logits[i] >= std::min(least, top); });
    kept.cuts[2] = scaled(c.least());
  }
  if (rules.typical_p < 1) {
    const double share = needed(rules.typical_p, n);
    if (typical(c, share, unsure(n), static_cast<double>(top), inverse, kept.cuts))
      exact_typical(c, share, kept.cuts, exact, log_of);
  }
  if (rules.chances == Chances::equal) std::fill(c.weights, c.weights + c.count, 1.0f);
  some_left(c.count);
  kept.count = c.count;
  kept.ids = c.ids;
  kept.weights = c.weights;
  kept.factor = 1 / total_of(c.weights, c.count);
  return kept;
}

double log_sum_exp(const char* op, const float* x, int64_t n) {
  int64_t groups;
  return log_sum_from(x, n, survey(op, x, n, no_limit, groups));
}

std::vector<int64_t> top(const char* op, const float* x, int64_t n, int64_t k) {
  k = std::min(k, n);
  if (k < 1) return {};
  int64_t groups;
  const float most = survey(op, x, n, -infinite, groups);
  return head(x, n, k, most, groups);
}

void log_probabilities(const char* op, const float* x, int64_t n, const int64_t* targets, int64_t count, double* out, int64_t k,
                       int64_t* ids, double* values) {
  int64_t groups;
  const float most = survey(op, x, n, no_limit, groups);
  const double sum = log_sum_from(x, n, most);
  const auto value = [&](int64_t id) { return static_cast<double>(x[id]) - sum; };
  for (int64_t i = 0; i < count; ++i) out[i] = value(targets[i]);
  if (k < 1) return;
  const auto best = head(x, n, k, most, groups);
  for (int64_t i = 0; i < k; ++i) values[i] = value(ids[i] = best[static_cast<size_t>(i)]);
}

}  // namespace nextword
