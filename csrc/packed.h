// Weight matrices in the order in which the products read them (formats.h), and the memory that holds them.
#pragma once
#include <cstdint>
#include <memory>

#include "formats.h"

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

// Bytes of all packed matrices alive in this process.
int64_t packed_bytes();

// The matrix [depth, cols], row-major.
void unpack(const Packed& matrix, float* out);

// out[i] = source[i] as float32, exactly.
void to_float32(const void* source, Source type, int64_t size, float* out);

// Writes to each page of [memory, memory + count), front to back, and changes nothing. The operating system clears a page
// when it is first written; work that would write to all of them at once could not be interrupted meanwhile.
void touch_pages(float* memory, int64_t count);

// Memory aligned to a cache line, on huge pages where the operating system grants them: a matrix is read from front to
// back every token, and 4 KiB pages cost a miss in the address translation each. Contents undefined.
std::shared_ptr<float> aligned_floats(int64_t count);

}  // namespace nextword
