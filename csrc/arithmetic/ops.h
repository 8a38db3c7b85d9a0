// The operations: contracts, rows divided over threads, the chosen table of kernels called. Arguments are checked by
// the bindings. Scratch memory is allocated here (std::bad_alloc), before any thread starts.
#pragma once
#include <cstdint>

#include "kernels/kernels.h"
#include "packed.h"

namespace nextword {

// What a product is taken through before it is written: bias [cols], an activation, then one of residual and factor
// [rows, cols], which is added or multiplied by. All may be null; residual has the stride of out.
struct Epilogue {
  const float* bias = nullptr;
  Activation activation = Activation::none;
  const float* residual = nullptr;
  const float* factor = nullptr;
  int64_t factor_stride = 0;
};

// out[rows, cols] = (activation(x[rows, depth] weight + bias) + residual) * factor. Rows of x and out lie x_stride and
// out_stride floats apart; out may not alias x, residual or factor. The bits of a row depend on that row alone. next:
// null, or the weights of the matmul that follows: their first lines are asked for. room: matmul_room floats that all
// threads of a team share; null: memory of the calling thread.
void matmul(const float* x, int64_t x_stride, const Packed& weight, const Epilogue& epilogue, int64_t rows, float* out,
            int64_t out_stride, const Packed* next = nullptr, float* room = nullptr);
int64_t matmul_room(const Packed& weight, int64_t rows);

// The row stride to give a matrix that a matmul will read: rows whose starts lie a multiple of 2 KiB apart share cache
// sets and push each other out, so such rows get a pad.
int64_t spread_stride(int64_t rows, int64_t cols);

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t cols, float* out);
// Each run of `width` columns of a row on its own: cols is a multiple of it. x: rows x_stride floats apart.
void rms_norm(const float* x, int64_t x_stride, const float* weight, float eps, int64_t rows, int64_t cols, int64_t width,
              float* out);
// Row r turned by turns[places[r]], turns [positions, pairs, 2]. x: [rows, heads * 2 * pairs], rows x_stride floats apart.
void rotate(const float* x, int64_t x_stride, const int64_t* places, const float* turns, Pairing pairing, int64_t rows,
            int64_t heads, int64_t pairs, float* out);
void softmax(const float* x, int64_t rows, int64_t cols, float* out);
// x: [rows, cols], rows x_stride floats apart.
void activate(const float* x, int64_t x_stride, Activation activation, int64_t rows, int64_t cols, float* out);

// out = x + y and out = x * y, number by number. x, y: [rows, cols], their rows x_stride and y_stride floats apart.
void add(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t rows, int64_t cols, float* out);
void multiply(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t rows, int64_t cols, float* out);

// out[t] = column ids[t] of tokens [width, vocabulary] + row places[t] of positions [.., width]; null positions add nothing.
void embedding(const int64_t* ids, const int64_t* places, const Packed& tokens, const float* positions, int64_t count,
               float* out);

// out[r] = x[r] + table[ids[r]]; x: rows x_stride floats apart.
void add_rows(const float* x, int64_t x_stride, const int64_t* ids, const float* table, int64_t rows, int64_t cols, float* out);

// One row of each text: text i has the next fresh[i] >= 1 rows of x. mean: their sum over ascending rows / how many.
enum class Pooling { mean, first, last, max };
void pool(const float* x, int64_t x_stride, const int64_t* fresh, int64_t texts, int64_t cols, Pooling how, float* out);

// Rows divided by their length, which is taken as 1e-12 if it is less; squares are summed in float64 over ascending columns.
void normalise(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* out);

}  // namespace nextword
