// The kernels that every instruction set provides: one table for each file in isa/.
// All are single-threaded and allocation-free and cannot fail; their callers check nothing either, bindings do.
#pragma once
#include <stdint.h>

#include "formats.h"

// Floats that a vector holds at most on any instruction set.
constexpr int64_t max_lanes = 16;

// Rows that one register tile holds at most on any instruction set; sizes scratch memory.
constexpr int64_t max_tile_rows = 12;

// What read_all takes a multiple of.
constexpr int64_t read_floats = 8 * max_lanes;

enum class Activation { none, gelu_tanh, gelu_erf, quick_gelu, relu, silu, tanh };  // kernels/activations.h

// One call computes all rows of some columns:
//   out[r, c] = (activation(sum_k x[r, k] * w[k, c] + bias[c]) + residual[r, c]) * factor[r, c]
// where each sum is taken as the weights' format says (formats.h), whatever the rows and columns of the call.
// out may not alias x, residual or factor. bias (at the first column), residual and factor may be null.
struct MatmulBlock {
  const void* x;           // [rows, depth] as the format multiplies it: float, bfloat16 bits or int8, the latter two with
                           // zeros up to a whole number of 32
  int64_t x_stride;        // elements from row to row
  const float* x_scale;    // integers: [rows], what a row is multiplied by; else null
  const int32_t* x_start;  // integers: [rows, groups], what each group's sum begins with (quantise_rows)
  const void* panels;      // from the first column's panel on
  const float* bias;
  const float* residual;   // same stride as out
  const float* factor;
  int64_t factor_stride;
  Activation activation;
  int64_t rows, depth, cols;
  bool streams;            // whether more is read than the caches hold before these panels are read again
  float* out;
  int64_t out_stride;
};

// How rotate takes the two numbers of a pair: i and pairs + i of a head, or 2 i and 2 i + 1.
enum class Pairing { halves, neighbours };
constexpr int pairings = 2;

// Causal attention of `rows` <= tile_rows rows over the keys of one head. With a step of 1 these are consecutive queries,
// with a step of 0 the same query of several heads that share the keys. Row r sees the keys up to first + r * step, of
// these the last `window`; 0: all.
//   s = scale * q . k     w = exp(s - max s) / sum     out = w . v
// Keys and values of int8 are widened to integers; q . k is multiplied by the scale of k before it is by `scale`, and
// exp(s - max s) by the scale of v before the sum over positions.
// Every sum runs over ascending positions and skips what a query does not see, so a row does not depend on its tile. What
// no row sees of the first keys is computed for nothing: a caller leaves out whole panels of them.
struct AttentionTile {
  const float* q;         // [rows, width]
  int64_t q_stride;
  Element element;        // of the panels
  const void* keys;       // panels of one head, see formats.h
  const void* values;     // panels of one head
  const float *key_scales, *value_scales;  // [capacity] of int8, else null
  int64_t value_stride;   // elements from panel to panel: capacity * 32
  int64_t prefix;         // positions before those of keys and values that lie elsewhere: a multiple of 32, <= first
  const void* prefix_keys;    // their panels, [prefix / 32, width, 32]
  const void* prefix_values;  // and [panels_of(width), prefix, 32],
  int64_t prefix_stride;      // so many elements from panel to panel
  const float *prefix_key_scales, *prefix_value_scales;  // [prefix]
  float scale;
  int64_t rows, width, first, step, window;
  int64_t limit;          // keys that there are, where a window reaches behind them; 0: any number
  const float* bias;      // null, or what is added to scale * q . k: [keys] of row 0, that of the next begins one before it
  float* scratch;         // attention_scratch(first + rows) floats
  float* scores;          // null, or [rows, first + rows]: s, and -inf where masked
  float* weights;         // null, or [rows, first + rows]: w, and 0 where masked
  int64_t weights_stride; // floats from row to row of scores and weights
  float* out;             // [rows, width]
  int64_t out_stride;
};
static inline constexpr int64_t attention_scratch(int64_t keys) {
  return max_tile_rows * (panels_of(keys) + 1) * panel_cols;
}

struct Kernels {
  const char* isa;
  int64_t tile_rows;  // queries that attention takes at once

  void (*matmul[dtypes])(const MatmulBlock& block);  // by the weights' Dtype

  // Rows of x as bfloat16 weights multiply them: out[r, i] for i < width, 0 behind `cols`.
  void (*round_rows)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int64_t width, uint16_t* out,
                     int64_t out_stride);
  // Rows of x as int8 or int4 weights multiply them: scale[r] * out[r, i] is x[r, i] within scale[r] / 2, 0 behind `cols`.
  // A row with a NaN or an infinity has the scale NaN. width: a multiple of 32; start [rows, 1] (int8) or
  // [rows, width / 32] (int4), see MatmulBlock.
  void (*quantise_rows)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int64_t width, Dtype weights,
                        int8_t* out, int64_t out_stride, float* scale, int32_t* start);

  void (*attention)(const AttentionTile& tile);

  // out[r, c] = (x[r, c] - mean_r) / sqrt(var_r + eps) * weight[c] + bias[c]; out may alias x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t cols,
                     float* out);
  // out[c] = x[c] / sqrt(mean(x^2) + eps) * weight[c] over `width` numbers; out may alias x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t width, float* out);
  // Each pair (a, b) of a row [heads, 2 * pairs] as (a cos - b sin, b cos + a sin); turns [pairs, 2]: cos, sin. Products
  // are rounded before they are added. out may not alias x.
  void (*rotate[pairings])(const float* x, const float* turns, int64_t heads, int64_t pairs, float* out);
  // out[r, c] = exp(x[r, c] - max_r) / sum_c exp(x[r, c] - max_r); out may alias x. exp below -87.3 is 0.
  void (*softmax)(const float* x, int64_t rows, int64_t cols, float* out);
  // out[i] = exp((x[i] - top) * scale) unless out is null; returns the sum, each 16 vectors in float32, those in float64.
  // exp below -87.3 is 0. x may hold -inf, top may not. out may alias x.
  double (*exp_sum)(const float* x, float top, float scale, int64_t n, float* out);

  // The sum of exp(x[i] - top) in double precision (kernels/log_sum.h); top: the largest. x may hold -inf.
  double (*exp_sum_double)(const float* x, float top, int64_t n);

  // Selection without sorting (kernels/select.h). `maxima` divides x into groups of at most `size` values, writes each
  // group's largest into out, which holds n / size + 2 max_lanes, and returns how many there are. largest: that of all;
  // NaN or infinity where a value is one of these (-inf is none).
  int64_t (*maxima)(const float* x, int64_t n, int64_t size, float* out, float* largest);
  // The sum of weights[i] over keys[i] >= limit (of ones where weights is null), summed like exp_sum; count: how many.
  double (*weight_from)(const float* keys, const float* weights, float limit, int64_t n, int64_t* count);
  // The positions with low <= x[i] < high in ascending order; returns how many. out holds n.
  int64_t (*positions)(const float* x, float low, float high, int64_t n, int32_t* out);

  // Element by element; out may alias x.
  void (*activate)(const float* x, Activation activation, int64_t size, float* out);

  // To measure the machine by (kernels/rates.h). The sum of x, read through the caches, or past them where they can be
  // passed by; n: a multiple of read_floats.
  float (*read_all)(const float* x, int64_t n);
  float (*read_past)(const float* x, int64_t n);
  // At least `count` multiply-adds, fewer than 2,048 more, with the instructions for weights of a Dtype: those of a matmul's
  // tile, whose sums begin with start, start + 1, ... and whose operands the innermost cache holds.
  float (*multiply_adds[dtypes])(float start, int64_t count);
};
