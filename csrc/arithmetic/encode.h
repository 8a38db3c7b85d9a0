// A panel of 32 columns in a weight format (formats.h): made of its float32 values, and read back.
#pragma once
#include <cstdint>

#include "kernels/formats.h"

namespace nextword {

const char* name_of(Dtype dtype);
int64_t panel_bytes(Dtype dtype, int64_t depth);

// panel: float32 [depth, 32], finite; out: panel_bytes(dtype, depth) bytes.
void encode_panel(Dtype dtype, const float* panel, int64_t depth, void* out);

// out[k * stride] = column `column` of an encoded panel, k = 0 .. depth - 1.
void decode_column(Dtype dtype, const void* panel, int64_t depth, int64_t column, float* out, int64_t stride);

}  // namespace nextword
