// The kernels without Python: for sanitizers, and for machines that only an emulator runs. Each operation against exact
// arithmetic within the bound of its rounding errors, and against itself row by row, on every variant that runs here.
// Every buffer is a vector of exactly the size that the contract names, so that AddressSanitizer sees a step outside.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "arithmetic/attention.h"
#include "machine/cpu.h"
#include "arithmetic/ops.h"
#include "machine/parallel.h"
#include "arithmetic/sampling.h"
#include "arithmetic/streaming.h"
#include "arithmetic/within.h"
#include "recorded.h"

using namespace nextword;
using Floats = std::vector<float>;

namespace {

constexpr double u = 1.0 / (1 << 24);
double gamma_of(int64_t n) { return static_cast<double>(n) * u / (1 - static_cast<double>(n) * u); }

std::mt19937 random_bits(7);
int64_t pick(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_bits); }
Floats numbers(int64_t count) {
  Floats x(static_cast<size_t>(count));
  std::normal_distribution<float> normal;
  for (float& v : x) v = normal(random_bits);
  return x;
}

int checks = 0;
void require(bool condition, const char* what) {
  ++checks;
  if (condition) return;
  std::printf("FAILED on %s: %s\n", kernels().isa, what);
  std::exit(1);
}
bool same(const float* a, const float* b, int64_t count) { return std::memcmp(a, b, static_cast<size_t>(count) * sizeof(float)) == 0; }

const std::pair<Activation, double (*)(double)> activations[] = {
    {Activation::gelu_tanh, [](double x) { return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }},
    {Activation::gelu_erf, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }},
    {Activation::quick_gelu, [](double x) { return x / (1 + std::exp(-1.702 * x)); }},
    {Activation::relu, [](double x) { return x > 0 ? x : 0; }},
    {Activation::silu, [](double x) { return x / (1 + std::exp(-x)); }},
    {Activation::tanh, [](double x) { return std::tanh(x); }}};

void test_matmul(int64_t rows, int64_t depth, int64_t cols) {
  const Floats x = numbers(rows * depth), w = numbers(depth * cols), bias = numbers(cols), residual = numbers(rows * cols);
  const Packed packed = pack(w.data(), Source::float32, Dtype::float32, depth, cols);
  Floats back(w.size());
  unpack(packed, back.data());
  require(same(back.data(), w.data(), depth * cols), "unpack(pack(w)) is w");

  Floats out(residual.size());
  matmul(x.data(), depth, packed, {bias.data(), Activation::none, residual.data()}, rows, out.data(), cols);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      double sum = static_cast<double>(bias[c]) + residual[r * cols + c], size = std::fabs(bias[c]) + std::fabs(residual[r * cols + c]);
      for (int64_t k = 0; k < depth; ++k) {
        const double term = static_cast<double>(x[r * depth + k]) * w[k * cols + c];
        sum += term;
        size += std::fabs(term);
      }
      require(std::fabs(out[r * cols + c] - sum) <= gamma_of(depth + 4) * size, "matmul is within its bound");
    }

  const int64_t from = pick(0, rows - 1), count = pick(1, rows - from);
  Floats part(static_cast<size_t>(count * cols));
  set_thread_count(1);
  matmul(x.data() + from * depth, depth, packed, {bias.data(), Activation::none, residual.data() + from * cols}, count, part.data(), cols);
  set_thread_count(3);
  require(same(part.data(), out.data() + from * cols, count * cols), "a row of matmul depends on that row alone");

  Floats plain(out.size()), fused(out.size());
  for (const auto& [kind, exact] : activations) {
    matmul(x.data(), depth, packed, {bias.data(), Activation::none}, rows, plain.data(), cols);
    activate(plain.data(), cols, kind, rows, cols, plain.data());
    matmul(x.data(), depth, packed, {bias.data(), kind}, rows, fused.data(), cols);
    require(same(plain.data(), fused.data(), rows * cols), "a fused activation has the bits of a separate one");
  }
  const int64_t apart = cols + 7;  // of the factor's rows
  const Floats factor = numbers((rows - 1) * apart + cols);
  matmul(x.data(), depth, packed, {bias.data(), Activation::none}, rows, plain.data(), cols);
  matmul(x.data(), depth, packed, {bias.data(), Activation::none, nullptr, factor.data(), apart}, rows, fused.data(), cols);
  for (int64_t r = 0; r < rows; ++r) {
    multiply(plain.data() + r * cols, cols, factor.data() + r * apart, apart, 1, cols, plain.data() + r * cols);
    require(same(plain.data() + r * cols, fused.data() + r * cols, cols), "a fused product has the bits of a separate one");
  }
}

// Weights in fewer bits, against the numbers that they and the rows stand for.
void test_compact(Dtype dtype, int64_t rows, int64_t depth, int64_t cols) {
  const Floats x = numbers(rows * depth), w = numbers(depth * cols), bias = numbers(cols);
  const Packed packed = pack(w.data(), Source::float32, dtype, depth, cols);
  Floats kept(w.size());
  unpack(packed, kept.data());

  const int64_t width = panels_of(depth) * 32;
  std::vector<double> stands_for(x.size());
  if (dtype == Dtype::bfloat16) {
    std::vector<uint16_t> rounded(static_cast<size_t>(rows * width));
    kernels().round_rows(x.data(), depth, rows, depth, width, rounded.data(), width);
    Floats back(rounded.size());
    to_float32(rounded.data(), Source::bfloat16, rows * width, back.data());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < depth; ++k) stands_for[r * depth + k] = back[r * width + k];
  } else {
    std::vector<int8_t> codes(static_cast<size_t>(rows * width));
    Floats scale(static_cast<size_t>(rows));
    std::vector<int32_t> start(static_cast<size_t>(dtype == Dtype::int4 ? rows * width / Int4::step : rows));
    kernels().quantise_rows(x.data(), depth, rows, depth, width, dtype, codes.data(), width, scale.data(), start.data());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < depth; ++k) stands_for[r * depth + k] = static_cast<double>(scale[r]) * codes[r * width + k];
  }

  Floats out(static_cast<size_t>(rows * cols));
  matmul(x.data(), depth, packed, {bias.data(), Activation::none}, rows, out.data(), cols);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      double sum = bias[c], size = std::fabs(bias[c]);
      for (int64_t k = 0; k < depth; ++k) {
        const double term = stands_for[r * depth + k] * kept[k * cols + c];
        sum += term;
        size += std::fabs(term);
      }
      // unpack rounds each weight once more
      require(std::fabs(out[r * cols + c] - sum) <= gamma_of(depth + 8) * size, "compact matmul is within its bound");
    }
  const int64_t from = pick(0, rows - 1), count = pick(1, rows - from);
  Floats part(static_cast<size_t>(count * cols));
  set_thread_count(1);
  matmul(x.data() + from * depth, depth, packed, {bias.data(), Activation::none}, count, part.data(), cols);
  set_thread_count(3);
  require(same(part.data(), out.data() + from * cols, count * cols), "a row of compact matmul depends on that row alone");
}

void test_rows(int64_t rows, int64_t cols) {
  const Floats x = numbers(rows * cols), w = numbers(cols), b = numbers(cols);
  Floats norm(x.size()), soft(x.size()), one(static_cast<size_t>(cols));
  layer_norm(x.data(), w.data(), b.data(), 1e-5f, rows, cols, norm.data());
  softmax(x.data(), rows, cols, soft.data());
  for (int64_t r = 0; r < rows; ++r) {
    const float* const row = x.data() + r * cols;
    double mean = 0, variance = 0, top = row[0], total = 0, soft_total = 0;
    for (int64_t c = 0; c < cols; ++c) mean += row[c], top = std::fmax(top, row[c]);
    mean /= static_cast<double>(cols);
    for (int64_t c = 0; c < cols; ++c) variance += (row[c] - mean) * (row[c] - mean), total += std::exp(row[c] - top);
    variance /= static_cast<double>(cols);
    for (int64_t c = 0; c < cols; ++c) {
      const double p = std::exp(row[c] - top) / total;
      // |x - max| < 16 for these numbers: rounding it, exp and the sum
      require(std::fabs(soft[r * cols + c] - p) <= p * gamma_of(cols + 64), "softmax is within its bound");
      soft_total += soft[r * cols + c];
      if (cols > 1 && variance > 1e-2) {
        // deviations below 8 with a relative error of gamma(cols + 3) each, then 1 / sqrt(variance), the scale and the shift
        const double y = (row[c] - mean) / std::sqrt(variance + 1e-5f) * w[c] + b[c];
        require(std::fabs(norm[r * cols + c] - y) <= 32 * gamma_of(cols + 8) / std::sqrt(variance) * (1 / variance + 1) *
                                                           (std::fabs(w[c]) + std::fabs(b[c])), "layer_norm is within its bound");
      }
    }
    require(std::fabs(soft_total - 1) <= gamma_of(2 * cols + 64), "softmax sums to 1");
  }
  const int64_t at = pick(0, rows - 1);
  layer_norm(x.data() + at * cols, w.data(), b.data(), 1e-5f, 1, cols, one.data());
  require(same(one.data(), norm.data() + at * cols, cols), "a row of layer_norm depends on that row alone");
  softmax(x.data() + at * cols, 1, cols, one.data());
  require(same(one.data(), soft.data() + at * cols, cols), "a row of softmax depends on that row alone");
}

void test_activation() {
  Floats x;
  for (int i = -8000; i <= 8000; ++i) x.push_back(static_cast<float>(i) / 700);
  Floats y(x.size());
  const auto count = static_cast<int64_t>(x.size());
  for (const auto& [kind, exact] : activations) {
    activate(x.data(), count, kind, 1, count, y.data());
    for (size_t i = 0; i < x.size(); ++i)  // exp's argument has five roundings at most, and in gelu_tanh grows with x^3
      require(std::fabs(y[i] - exact(x[i])) <= 64 * u * (std::fabs(x[i]) + 1e-6), "an activation is within its bound");
    constexpr int64_t stride = 40, cols = 33;
    const int64_t rows = count / stride;
    Floats columns(static_cast<size_t>(rows * cols));
    activate(x.data(), stride, kind, rows, cols, columns.data());
    for (int64_t r = 0; r < rows; ++r)
      require(same(columns.data() + r * cols, y.data() + r * stride, cols), "columns of wider rows have the bits of a copy");
  }
}

struct Sequence {
  Element element;
  int64_t heads, width, past, fresh, group, window;  // `group` heads of q to each of k and v
  Floats q, k, v, scales, out, scores, weights;
  std::vector<unsigned char> keys, values;

  Sequence(Element element_, int64_t heads_, int64_t width_, int64_t past_, int64_t fresh_, int64_t group_ = 1,
           int64_t window_ = 0)
      : element(element_), heads(heads_), width(width_), past(past_), fresh(fresh_), group(group_), window(window_),
        q(numbers((past + fresh) * heads * group * width)), k(numbers((past + fresh) * heads * width)),
        v(numbers((past + fresh) * heads * width)) {}

  int64_t capacity() const { return panels_of(past + fresh) * panel_cols; }
  // Panels and scales of that many tokens, all bits set: NaN, or -1 beside scales of NaN.
  Cache cache_of(int64_t tokens, std::vector<unsigned char>& keys_, std::vector<unsigned char>& values_,
                 Floats& scales_) {
    const int64_t bytes = element == Element::float32 ? 4 : element == Element::bfloat16 ? 2 : 1;
    keys_.assign(static_cast<size_t>(bytes * heads * tokens * width), 0xff);
    values_.assign(static_cast<size_t>(bytes * heads * panels_of(width) * tokens * panel_cols), 0xff);
    const bool scaled = element == Element::int8;
    scales_.assign(static_cast<size_t>(scaled ? heads * 2 * tokens : 0), NAN);
    return {element, keys_.data(), values_.data(), scaled ? scales_.data() : nullptr, heads, width, tokens};
  }
  void run() {
    const int64_t row = heads * width, q_row = group * row, zero = 0;
    const Cache cache = cache_of(capacity(), keys, values, scales);
    if (past) append(k.data(), row, v.data(), row, {&zero, &zero, &past, 1}, cache);
    append(k.data() + past * row, row, v.data() + past * row, row, {&zero, &past, &fresh, 1}, cache);
    out.assign(static_cast<size_t>(fresh * q_row), 0);
    const Sequences one{&zero, &past, &fresh, 1};
    const Queries queries(one, 0);
    const auto attend = [&](float* to_scores, float* to_weights, Floats& to) {
      attention(q.data() + past * q_row, q_row, heads * group, cache, one, queries, window, 0.25f, to_scores, to_weights, to.data());
    };
    attend(nullptr, nullptr, out);
    Floats again(out.size());
    scores.assign(static_cast<size_t>(heads * group * fresh * (past + fresh)), 0);
    weights = scores;
    attend(scores.data(), weights.data(), again);
    require(same(out.data(), again.data(), fresh * q_row), "attention has the same bits with its weights given out");
    for (int64_t apart = panel_cols; apart <= past; apart += panel_cols) run_behind(apart);
  }
  // The first `apart` tokens held elsewhere, in memory of just that size.
  void run_behind(int64_t apart) {
    const int64_t row = heads * width, q_row = group * row, zero = 0, rest = past - apart;
    std::vector<unsigned char> first_k, first_v, own_k, own_v;
    Floats first_scales, own_scales;
    const Cache before = cache_of(apart, first_k, first_v, first_scales);
    append(k.data(), row, v.data(), row, {&zero, &zero, &apart, 1}, before);
    Cache cache = cache_of(capacity() - apart, own_k, own_v, own_scales);
    cache.prefix = apart;
    cache.prefix_keys = before.keys;
    cache.prefix_values = before.values;
    cache.prefix_scales = before.scales;
    if (rest) append(k.data() + apart * row, row, v.data() + apart * row, row, {&zero, &zero, &rest, 1}, cache);
    append(k.data() + past * row, row, v.data() + past * row, row, {&zero, &rest, &fresh, 1}, cache);
    Floats again(out.size());
    const Sequences later{&zero, &rest, &fresh, 1};
    attention(q.data() + past * q_row, q_row, heads * group, cache, later, Queries(later, apart), window, 0.25f, nullptr, nullptr,
              again.data());
    require(same(out.data(), again.data(), fresh * q_row), "attention has the same bits with its first tokens held apart");
  }
  // Element i of panels as float64; its scale apart.
  double number(const std::vector<unsigned char>& panels, int64_t i) const {
    float x;
    if (element == Element::int8) return static_cast<int8_t>(panels[static_cast<size_t>(i)]);
    if (element == Element::float32) {
      std::memcpy(&x, panels.data() + 4 * i, sizeof x);
    } else {
      const uint32_t bits = static_cast<uint32_t>(panels[static_cast<size_t>(2 * i)]) << 16 |
                            static_cast<uint32_t>(panels[static_cast<size_t>(2 * i + 1)]) << 24;
      std::memcpy(&x, &bits, sizeof x);
    }
    return x;
  }
  double scale(int64_t head, int64_t which, int64_t token) const {
    return element == Element::int8 ? scales[static_cast<size_t>((head * 2 + which) * capacity() + token)] : 1.0;
  }
  double key(int64_t head, int64_t token, int64_t d) const {
    const int64_t panel = head * capacity() / panel_cols + token / panel_cols;
    return number(keys, (panel * width + d) * panel_cols + token % panel_cols) * scale(head, 0, token);
  }
  double value(int64_t head, int64_t token, int64_t d) const {
    const int64_t panel = head * panels_of(width) + d / panel_cols;
    return number(values, (panel * capacity() + token) * panel_cols + d % panel_cols) * scale(head, 1, token);
  }
};

void test_attention(Element element, int64_t heads, int64_t width, int64_t past, int64_t fresh, int64_t group = 1,
                    int64_t window = 0) {
  Sequence s(element, heads, width, past, fresh, group, window);
  s.run();
  const int64_t row = heads * width, q_row = group * row, total = past + fresh;
  for (int64_t head = 0; head < heads * group; ++head)
    for (int64_t t = past; t < total; ++t) {
      const int64_t h = head / group, from = window ? std::max<int64_t>(0, t + 1 - window) : 0;
      std::vector<double> score(static_cast<size_t>(t + 1), -INFINITY);
      double top = -INFINITY, sum = 0, worst = 0;
      for (int64_t j = from; j <= t; ++j) {
        double dot = 0, size = 0;
        for (int64_t d = 0; d < width; ++d) {
          const double k = s.key(h, j, d), given = s.k[j * row + h * width + d];
          // formats.h: 2^-8 of the number, or half a step of a row whose numbers are below 8
          const double half = element == Element::int8 ? 4.01 / 127 : 0;
          const double off = element == Element::bfloat16 ? std::fabs(given) / 256 : half;
          require(std::fabs(k - given) <= off, "append stores a number within the bound of its format");
          const double term = static_cast<double>(s.q[t * q_row + head * width + d]) * k;
          dot += term;
          size += std::fabs(term);
        }
        score[j] = 0.25 * dot;
        worst = std::fmax(worst, 0.25 * size * gamma_of(width + 4));
        top = std::fmax(top, score[j]);
      }
      for (double& x : score) sum += x = std::exp(x - top);
      for (int64_t d = 0; d < width; ++d) {
        double y = 0, size = 0;
        for (int64_t j = from; j <= t; ++j) {
          const double term = score[j] / sum * s.value(h, j, d);
          y += term;
          size += std::fabs(term);
        }
        // relative error of a weight: twice that of the scores, exp of a difference below 64, two sums over the keys
        const double bound = size * (4 * worst + gamma_of(3 * total + 160));
        require(std::fabs(s.out[(t - past) * q_row + head * width + d] - y) <= bound, "attention is within its bound");
      }
      for (int64_t j = 0, at = (head * fresh + t - past) * total; j < total; ++j, ++at)
        require((j < from || j > t) == (std::isinf(s.scores[at]) && s.weights[at] == 0), "what is not seen is masked");
    }
  // The last query alone, over the same keys: one more past token and one fresh one.
  Sequence last(element, heads, width, total - 1, 1, group, window);
  last.q = s.q;
  last.k = s.k;
  last.v = s.v;
  last.run();
  require(same(last.out.data(), s.out.data() + (fresh - 1) * q_row, q_row), "a query depends on what it sees alone");
}

// Numbers of any bits are stored, and attended to, without a conversion that C++ leaves undefined.
void test_within(int64_t heads, int64_t width, const std::vector<int64_t>& fresh, int64_t window, int64_t reach) {
  int64_t tokens = 0;
  for (const int64_t n : fresh) tokens += n;
  const int64_t cols = heads * width;
  const Floats x = numbers(tokens * 3 * cols), bias = numbers(heads * (2 * reach + 1));  // q, k and v side by side
  const auto rows_at = [&](int64_t row, const int64_t* each, int64_t count) {
    const float* const at = x.data() + row * 3 * cols;
    return TextRows{at, at + cols, at + 2 * cols, 3 * cols, 3 * cols, 3 * cols, each, count, heads, width};
  };
  const float scale = 1 / std::sqrt(static_cast<float>(width)), *const table = reach ? bias.data() : nullptr;
  const auto texts = static_cast<int64_t>(fresh.size());
  Floats out(static_cast<size_t>(tokens * cols));
  attention_within(rows_at(0, fresh.data(), texts), TextRoom(fresh.data(), texts, width), window, scale, table, reach, nullptr, nullptr,
                   out.data());
  int64_t row = 0;
  for (const int64_t n : fresh) {
    Floats alone(static_cast<size_t>(n * cols)), scores(static_cast<size_t>(heads * n * n)), weights(scores.size());
    attention_within(rows_at(row, &n, 1), TextRoom(&n, 1, width), window, scale, table, reach, scores.data(), weights.data(), alone.data());
    require(same(alone.data(), out.data() + row * cols, n * cols), "attention within: a text's bits depend on the others");
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < n; ++i) {
        const float* const q = x.data() + (row + i) * 3 * cols + h * width;
        double top = -INFINITY, sum = 0, largest = 0;
        std::vector<double> s(static_cast<size_t>(n)), exact(static_cast<size_t>(width));
        for (int64_t j = 0; j < n; ++j) {
          const int64_t apart = j - i;
          double product = 0, size = 0;
          for (int64_t d = 0; d < width; ++d) {
            const double term = static_cast<double>(q[d]) * x[static_cast<size_t>((row + j) * 3 * cols + cols + h * width + d)];
            product += term, size += std::fabs(term);
          }
          const float plus = table ? bias[static_cast<size_t>(h * (2 * reach + 1) + std::clamp(apart, -reach, reach) + reach)] : 0;
          const bool seen = !window || std::abs(apart) <= window;
          s[static_cast<size_t>(j)] = seen ? scale * product + plus : -INFINITY;
          if (seen) top = std::max(top, s[static_cast<size_t>(j)]), largest = std::max(largest, scale * size + std::fabs(plus));
          require(seen == std::isfinite(scores[static_cast<size_t>((h * n + i) * n + j)]), "attention within: what is masked");
        }
        for (double& v : s) sum += v = std::exp(v - top);
        const double error = 2 * gamma_of(width + 4) * largest + gamma_of(n + 16);
        for (int64_t d = 0; d < width; ++d) {
          double value = 0, size = 0;
          for (int64_t j = 0; j < n; ++j) {
            const double w = s[static_cast<size_t>(j)] / sum, v = x[static_cast<size_t>((row + j) * 3 * cols + 2 * cols + h * width + d)];
            value += w * v, size = std::max(size, std::fabs(v));
          }
          require(std::fabs(alone[static_cast<size_t>(i * cols + h * width + d)] - value) <= 2 * error * size, "attention within: value");
        }
        for (int64_t j = 0; j < n; ++j)
          require(std::fabs(weights[static_cast<size_t>((h * n + i) * n + j)] - s[static_cast<size_t>(j)] / sum) <= 2 * error,
                  "attention within: weight");
      }
    row += n;
  }
}

void test_any_bits(Element element) {
  Sequence s(element, 3, 9, 40, 3);
  for (Floats* const x : {&s.k, &s.v})
    for (float& number : *x) {
      const uint32_t bits = static_cast<uint32_t>(random_bits());
      std::memcpy(&number, &bits, sizeof bits);
    }
  s.k[0] = NAN, s.k[1] = INFINITY, s.v[0] = std::numeric_limits<float>::max(), s.v[1] = 1e-45f;
  s.run();
}

void test_turns() {
  for (const int64_t pairs : {1, 3, 16, 65, 130})
    for (const auto pairing : {Pairing::halves, Pairing::neighbours}) {
      const int64_t rows = pick(1, 5), heads = pick(1, 3), cols = heads * 2 * pairs, stride = cols + 3, positions = 4;
      const Floats x = numbers((rows - 1) * stride + cols), turns = numbers(positions * pairs * 2);
      std::vector<int64_t> places;
      for (int64_t r = 0; r < rows; ++r) places.push_back(pick(0, positions - 1));
      Floats out(static_cast<size_t>(rows * cols));
      rotate(x.data(), stride, places.data(), turns.data(), pairing, rows, heads, pairs, out.data());
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < heads * pairs; ++i) {
          const int64_t head = i / pairs * 2 * pairs, p = i % pairs, turn = 2 * (places[r] * pairs + p);
          const int64_t first = head + (pairing == Pairing::halves ? p : 2 * p), second = first + (pairing == Pairing::halves ? pairs : 1);
          const float a = x[r * stride + first], b = x[r * stride + second], cosine = turns[turn], sine = turns[turn + 1];
          const float products[] = {a * cosine, b * sine, b * cosine, a * sine};
          require(out[r * cols + first] == products[0] - products[1] && out[r * cols + second] == products[2] + products[3],
                  "a pair is turned by its angle");
        }
    }
}

void test_root_mean_square(int64_t rows, int64_t width) {
  const int64_t runs = pick(1, 3), cols = runs * width, stride = cols + 5;
  const Floats x = numbers((rows - 1) * stride + cols), w = numbers(width);
  Floats out(static_cast<size_t>(rows * cols)), one(static_cast<size_t>(width));
  rms_norm(x.data(), stride, w.data(), 1e-5f, rows, cols, width, out.data());
  for (int64_t i = 0; i < rows * runs; ++i) {
    const float* const run = x.data() + i / runs * stride + i % runs * width;
    double mean = 0;
    for (int64_t c = 0; c < width; ++c) mean += static_cast<double>(run[c]) * run[c];
    mean /= static_cast<double>(width);
    for (int64_t c = 0; c < width; ++c) {
      // half the error of the mean of squares, then a square root, a quotient and two products
      const double y = run[c] / std::sqrt(mean + 1e-5f) * w[c];
      require(std::fabs(out[i * width + c] - y) <= std::fabs(y) * gamma_of(width + 8), "rms_norm is within its bound");
    }
    rms_norm(run, width, w.data(), 1e-5f, 1, width, width, one.data());
    require(same(one.data(), out.data() + i * width, width), "a run of rms_norm depends on that run alone");
  }
}

void test_embedding() {
  const int64_t vocabulary = 45, width = 19, count = 40;
  const Floats tokens = numbers(vocabulary * width), positions = numbers(count * width);
  const Packed packed = pack_transposed(tokens.data(), Source::float32, Dtype::float32, width, vocabulary);
  std::vector<int64_t> ids, places;
  for (int64_t i = 0; i < count; ++i) ids.push_back(pick(0, vocabulary - 1)), places.push_back(count - 1 - i);
  Floats out(static_cast<size_t>(count * width));
  embedding(ids.data(), places.data(), packed, positions.data(), count, out.data());
  for (int64_t i = 0; i < count; ++i)
    for (int64_t d = 0; d < width; ++d)
      require(out[i * width + d] == tokens[ids[i] * width + d] + positions[places[i] * width + d], "embedding is a sum");
  embedding(ids.data(), nullptr, packed, nullptr, count, out.data());
  for (int64_t i = 0; i < count; ++i)
    require(same(&out[i * width], &tokens[ids[i] * width], width), "without positions it is the token's");
}

void test_pairs() {
  for (const int64_t rows : {0, 1, 5, 4000})
    for (const int64_t cols : {1, 7, 33}) {
      const int64_t x_stride = cols + 3, y_stride = cols + 1;
      const Floats x = numbers(rows * x_stride), y = numbers(rows * y_stride);
      Floats sum(static_cast<size_t>(rows * cols)), product(sum);
      add(x.data(), x_stride, y.data(), y_stride, rows, cols, sum.data());
      multiply(x.data(), x_stride, y.data(), y_stride, rows, cols, product.data());
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c) {
          const float a = x[r * x_stride + c], b = y[r * y_stride + c];
          require(sum[r * cols + c] == a + b && product[r * cols + c] == a * b, "numbers are taken in pairs");
        }
    }
}

// A whole model: its logits have the same bits whether a text goes through it in one pass, in two or token by token, by one
// thread or by a team.
struct Model {
  static constexpr int64_t width = 64, heads = 2, inner = 160, vocabulary = 70, places = 64;
  std::vector<Floats> memory;
  Recorder recorder;
  Element element;
  std::vector<std::vector<unsigned char>> panels;
  std::vector<Floats> scales;
  std::vector<Cache> caches;

  const float* kept(Floats x) {
    memory.push_back(std::move(x));
    return memory.back().data();
  }
  Layer linear(Dtype dtype, int64_t depth, int64_t cols) {
    return {pack(numbers(depth * cols).data(), Source::float32, dtype, depth, cols), kept(numbers(cols))};
  }
  Norm norm() { return {kept(numbers(width)), kept(numbers(width))}; }

  Model(Dtype dtype, Element element_) : element(element_) {
    const Packed tokens = pack(numbers(width * vocabulary).data(), Source::float32, dtype, width, vocabulary);
    const float* const positions = kept(numbers(places * width));
    std::vector<Block> blocks;
    for (int layer = 0; layer < 2; ++layer)
      blocks.push_back({norm(), norm(), linear(dtype, width, 3 * width), linear(dtype, width, width),
                        linear(dtype, width, inner), linear(dtype, inner, width), 0.2f, activations[layer].first});
    recorder.gpt2(tokens, positions, places, blocks, norm());
  }
  void forget() {
    const int64_t bytes = element == Element::float32 ? 4 : element == Element::bfloat16 ? 2 : 1;
    panels.assign(4, std::vector<unsigned char>(static_cast<size_t>(bytes * places * width), 0xff));
    scales.assign(2, Floats(static_cast<size_t>(element == Element::int8 ? heads * 2 * places : 0), NAN));
    caches.clear();
    for (size_t layer = 0; layer < 2; ++layer)
      caches.push_back({element, panels[2 * layer].data(), panels[2 * layer + 1].data(),
                        element == Element::int8 ? scales[layer].data() : nullptr, heads, width / heads, places});
  }
  // The logits of all tokens of a text that goes through in pieces of these lengths.
  Floats logits(const std::vector<int64_t>& ids, const std::vector<int64_t>& pieces) {
    forget();
    Floats found;
    int64_t past = 0;
    for (const int64_t fresh : pieces) {
      const int64_t slot = 0;
      std::vector<int64_t> at(static_cast<size_t>(fresh)), wanted(at);
      for (int64_t i = 0; i < fresh; ++i) at[static_cast<size_t>(i)] = past + i, wanted[static_cast<size_t>(i)] = i;
      Floats out(static_cast<size_t>(fresh * vocabulary));
      const Pass pass{ids.data() + past, at.data(), nullptr, wanted.data(), &fresh, fresh, fresh, 1, {{{&slot, &past, &fresh, 1}, caches}}};
      nextword::run(recorder.program, pass, out.data());
      found.insert(found.end(), out.begin(), out.end());
      past += fresh;
    }
    return found;
  }
};

void test_program(Dtype dtype, Element element) {
  Model model(dtype, element);
  model.forget();
  const int64_t zero = 0, one = 1, times = 50;  // more rows are wanted than there are
  const std::vector<int64_t> wanted(static_cast<size_t>(times), 0);
  Floats many(static_cast<size_t>(times * Model::vocabulary));
  const Program& program = model.recorder.program;
  std::vector<double> seconds(program.ops.size(), 0);
  const Pass pass{&one, &zero, nullptr, wanted.data(), &one, 1, times, 1, {{{&zero, &zero, &one, 1}, model.caches}}};
  nextword::run(program, pass, many.data(), seconds.data());
  double sum = 0;
  for (const double time : seconds) require(time >= 0, "no operation takes less than no time"), sum += time;
  require(sum > 0, "a pass takes time");
  for (int64_t i = 1; i < times; ++i)
    require(same(many.data(), many.data() + i * Model::vocabulary, Model::vocabulary), "a row wanted again is the same");
  std::vector<int64_t> ids(40);
  for (int64_t& id : ids) id = pick(0, Model::vocabulary - 1);
  const Floats whole = model.logits(ids, {40});
  for (const float x : whole) require(std::isfinite(x), "logits are finite");
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    for (const auto& pieces : {std::vector<int64_t>{40}, {13, 27}, std::vector<int64_t>(40, 1)}) {
      const Floats again = model.logits(ids, pieces);
      require(same(whole.data(), again.data(), static_cast<int64_t>(whole.size())), "logits do not depend on how a text came");
    }
  }
}

// Selection by sorting, in float64, beside keep; the probabilities, and a draw beside the plain cumulative sum.
void test_sampling(int64_t size, float spread, const Rules& rules) {
  Floats x = numbers(size);
  for (float& v : x) v = pick(0, 9) ? v * spread : -INFINITY;
  x[static_cast<size_t>(pick(0, size - 1))] = 4 * spread;
  const Kept kept = keep("test", x.data(), size, rules);
  std::vector<int64_t> ids(static_cast<size_t>(kept.count));
  std::vector<double> p(ids.size());
  write(kept, ids.data(), p.data());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    sum += p[i];
    require(std::isfinite(x[ids[i]]) && (i == 0 || ids[i] > ids[i - 1]), "kept ids ascend and none is banned");
  }
  const double slack = static_cast<double>(size + 8) / (int64_t{1} << 52);  // a float64 rounding for each term of two sums
  require(!p.empty() && std::fabs(sum - 1) <= slack, "probabilities sum to 1");
  const Drawn drawn = draw(kept, 0.5);
  double before = 0;
  for (size_t i = 0; ids[i] != drawn.id; ++i) before += p[i];
  require(before <= 0.5 + slack && before + drawn.probability >= 0.5 - slack, "a draw is where the cumulative sum passes u");

  std::vector<int64_t> order = top("test", x.data(), size, size);
  for (size_t i = 1; i < order.size(); ++i)
    require(x[order[i - 1]] > x[order[i]] || (x[order[i - 1]] == x[order[i]] && order[i - 1] < order[i]), "top descends");
  const int64_t most = pick(1, size);
  const auto head = top("test", x.data(), size, most);
  require(std::equal(head.begin(), head.end(), order.begin()) && static_cast<int64_t>(head.size()) == most, "top of fewer is its head");
  if (rules.typical_p < 1 || rules.min_p > 0) return;
  // What top_k and top_p keep is a head of that order, but for equals of the k-th.
  std::sort(ids.begin(), ids.end(), [&](int64_t a, int64_t b) { return x[a] > x[b] || (x[a] == x[b] && a < b); });
  require(std::equal(ids.begin(), ids.end(), order.begin()), "the most probable are kept");
  double total = 0, kept_total = 0;
  for (const float v : x) total += std::exp((v - 4.0 * spread) / rules.temperature);
  for (const int64_t id : ids) kept_total += std::exp((x[id] - 4.0 * spread) / rules.temperature);
  if (rules.top_k) require(kept.count >= std::min<int64_t>(rules.top_k, 1) && kept.count <= size, "top_k keeps some");
  else require(kept_total >= (rules.top_p - 1e-4) * total, "top_p is reached");
}

void test_rates() {
  const auto& k = kernels();
  const Floats ones(static_cast<size_t>(3 * read_floats), 1.0f);
  require(k.read_all(ones.data(), 3 * read_floats) == 3 * read_floats, "read_all adds up every float");
  require(k.read_past(ones.data(), 3 * read_floats) == 3 * read_floats, "read_past adds up every float");
  // Each chain begins with 1, 2, .. in every lane and grows by a half, or by the products of ones, or halves, of a step.
  const auto end_of = [&](Dtype dtype, int64_t count) { return k.multiply_adds[static_cast<int>(dtype)](1.0f, count); };
  const float start = end_of(Dtype::float32, 0);
  for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::int8, Dtype::int4}) {
    require(end_of(dtype, 0) == start, "no multiply-adds leave the sums as they were");
    const float one = end_of(dtype, 1) - start, many = end_of(dtype, 1 << 12) - start;
    const float each = dtype == Dtype::float32 || dtype == Dtype::bfloat16 ? 0.5f : 1.0f;
    require(one > 0 && many >= each * (1 << 12), "as many multiply-adds as told");
    if (dtype != Dtype::int8) require(many < each * ((1 << 12) + 2048), "few more than told");  // its codes may not be shifted
    require(std::fmod(many, one) == 0, "whole steps");
  }
}

void test_streaming() {
  const auto x = numbers(1 << 20);
  const Packed small = pack(x.data(), Source::float32, Dtype::float32, 32, 32);
  const Packed large = pack(x.data(), Source::float32, Dtype::float32, 1 << 10, 1 << 10);
  set_last_level_cache(int64_t{1} << 40);
  set_streaming(Streaming::on);
  require(!streams(large), "what the caches hold is not read past them");
  set_last_level_cache(1);
  require(streams(small) && streams(large), "on is on");
  set_streaming(Streaming::off);
  require(!streams(small) && !streams(large), "off is off");
  set_streaming(Streaming::tried);
  const bool found = streams(large);
  const Trial trial = streaming_trial();
  require(trial.past > 0 && trial.through > 0 && trial.allows() == found && streams(small) == found, "the trial decides");
  set_last_level_cache(0);
}

}  // namespace

int main() {
  for (const auto& name : variants()) {
    set_isa(name);
    set_thread_count(3);
    for (const int64_t rows : {1, 2, 5, 12, 13, 16, 30})
      for (const int64_t depth : {1, 17, 64, 512})
        for (const int64_t cols : {1, 31, 33, 64, 70}) {
          test_matmul(rows, depth, cols);
          for (const Dtype dtype : {Dtype::bfloat16, Dtype::int8, Dtype::int4}) test_compact(dtype, rows, depth, cols);
        }
    for (const int64_t cols : {1, 3, 4, 7, 8, 15, 16, 17, 100, 768}) {
      test_rows(pick(1, 5), cols);
      test_root_mean_square(pick(1, 5), cols);
    }
    test_turns();
    test_activation();
    test_rates();
    test_streaming();
    for (const int64_t width : {1, 8, 25, 32, 48, 64})
      for (const int64_t past : {0, 1, 31, 70})
        for (const int64_t fresh : {1, 2, 13, 40})
          for (const auto element : {Element::float32, Element::bfloat16, Element::int8})
            test_attention(element, 2, width, past, fresh);
    for (const int64_t group : {3, 13})
      for (const int64_t window : {0, 5, 33})
        for (const int64_t fresh : {1, 14})
          for (const auto element : {Element::float32, Element::bfloat16, Element::int8})
            test_attention(element, 1, 9, 70, fresh, group, window);
    for (const int64_t width : {1, 20, 32, 48})
      for (const int64_t window : {0, 1, 5, 33, 100})
        for (const int64_t reach : {0, 3, 128}) test_within(2, width, {1, 70, 13}, window, reach);
    test_embedding();
    test_pairs();
    for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::int8, Dtype::int4})
      for (const auto element : {Element::float32, Element::bfloat16, Element::int8}) test_program(dtype, element);
    for (const auto element : {Element::float32, Element::bfloat16, Element::int8}) test_any_bits(element);
    for (const int64_t size : {1, 2, 15, 16, 17, 32, 33, 511, 513, 5000, 50257})
      for (const float spread : {0.0f, 0.01f, 4.0f})
        for (const Rules& rules : {Rules{1, 0, 1, 0, 1, Chances::proportional}, Rules{0.8, 5, 1, 0, 1, Chances::proportional},
                                   Rules{1, 1000, 1, 0, 1, Chances::equal}, Rules{2, 0, 0.9, 0, 1, Chances::proportional},
                                   Rules{1, 0, 1, 0.1, 1, Chances::proportional}, Rules{1, 0, 1, 0, 0.5, Chances::proportional},
                                   Rules{0.9, 50, 0.9, 0.05, 0.9, Chances::proportional}})
          test_sampling(size, spread, rules);
    std::printf("%s: ok\n", name.c_str());
  }
  std::printf("%d checks\n", checks);
}
