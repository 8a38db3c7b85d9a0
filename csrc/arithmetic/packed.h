// Weight matrices in the order in which the products read them (formats.h).
#pragma once
#include <cstdint>
#include <memory>

#include "kernels/formats.h"

namespace nextword {

enum class Source { float32, float16, bfloat16 };  // how the numbers of a checkpoint are stored

// A matrix [depth, cols] in panels of a format. Immutable once made; copies share the memory.
struct Packed {
  Dtype dtype = Dtype::float32;
  int64_t depth = 0, cols = 0;
  std::shared_ptr<const char> data;

  int64_t panel_stride() const;  // bytes from panel to panel
  int64_t bytes() const;
  const char* panel(int64_t p) const { return data.get() + p * panel_stride(); }
};

// From row-major [depth, cols], as GPT-2 stores its linear layers, or from [cols, depth], as it stores embeddings.
// `source` needs no alignment beyond its element's. Throws std::bad_alloc; std::invalid_argument where a value is NaN
// or infinite, in bfloat16 too, or int8 has more depths than its sums hold.
Packed pack(const void* source, Source type, Dtype dtype, int64_t depth, int64_t cols);
Packed pack_transposed(const void* source, Source type, Dtype dtype, int64_t depth, int64_t cols);

// The matrix of panels as pack has written them, copied to huge pages. Whatever the bytes are, the products stay within
// them and cannot fail: codes and scales are numbers alone.
Packed packed_from(const void* bytes, Dtype dtype, int64_t depth, int64_t cols);

// A matrix whose bytes() the caller writes to `data` before anyone reads them.
struct Unwritten {
  Packed matrix;
  char* data;
};
Unwritten empty_matrix(Dtype dtype, int64_t depth, int64_t cols);

// Bytes of all packed matrices alive in this process.
int64_t packed_bytes();

// The matrix [depth, cols], row-major.
void unpack(const Packed& matrix, float* out);

// out[i] = source[i] as float32, exactly.
void to_float32(const void* source, Source type, int64_t size, float* out);

}  // namespace nextword
