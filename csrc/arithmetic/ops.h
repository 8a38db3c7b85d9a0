// The operations: contracts, rows divided over threads, the chosen table of kernels called. Arguments are checked by
// the bindings. Scratch memory is allocated here (std::bad_alloc), before any thread starts.
#pragma once
#include <cstdint>

#include "kernels/kernels.h"
#include "packed.h"

namespace nextword {

// out[rows, cols] = activation(x[rows, depth] weight + bias) + residual. Rows of x, and those of residual and out, lie
// x_stride and out_stride floats apart. bias [cols] and residual may be null; out may not alias x or residual. The bits
// of a row depend on that row alone. next: null, or the weights of the matmul that follows: their first lines are asked
// for. room: matmul_room floats that all threads of a team share; null: memory of the calling thread.
void matmul(const float* x, int64_t x_stride, const Packed& weight, const float* bias, const float* residual,
            Activation activation, int64_t rows, float* out, int64_t out_stride, const Packed* next = nullptr,
            float* room = nullptr);
int64_t matmul_room(const Packed& weight, int64_t rows);

// The row stride to give a matrix that a matmul will read: rows whose starts lie a multiple of 2 KiB apart share cache
// sets and push each other out, so such rows get a pad.
int64_t spread_stride(int64_t rows, int64_t cols);

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t cols, float* out);
void softmax(const float* x, int64_t rows, int64_t cols, float* out);
void activate(const float* x, Activation activation, int64_t size, float* out);

// out = x + y and out = x * y, number by number. x, y: [rows, cols], their rows x_stride and y_stride floats apart.
void add(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t rows, int64_t cols, float* out);
void multiply(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t rows, int64_t cols, float* out);

// out[t] = column ids[t] of tokens [width, vocabulary] + row places[t] of positions [.., width]; null positions add nothing.
void embedding(const int64_t* ids, const int64_t* places, const Packed& tokens, const float* positions, int64_t count,
               float* out);

}  // namespace nextword
