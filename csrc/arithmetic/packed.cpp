#include "packed.h"

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "encode.h"
#include "machine/interrupt.h"
#include "machine/pages.h"
#include "machine/parallel.h"

namespace nextword {
namespace {

constexpr int64_t line_floats = 16;

std::atomic<int64_t> alive{0};  // bytes of packed matrices

float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
uint32_t to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct Half { uint16_t bits; };
struct Brain { uint16_t bits; };

inline float number(float x) { return x; }
inline float number(Brain x) { return from_bits(static_cast<uint32_t>(x.bits) << 16); }
inline float number(Half x) {
  // Exponent and fraction move into place as a float32 2^112 times too small; the product is exact, subnormals too.
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16, rest = x.bits & 0x7fffu;
  const float size = from_bits(rest << 13) * 0x1p112f;
  return from_bits(sign | (rest >= 0x7c00u ? (0x7f800000u | (rest << 13)) : to_bits(size)));
}

// Collects whether all exponents seen are those of finite numbers.
struct Finite {
  uint32_t worst = 0;
  void see(float x) { worst = std::max(worst, to_bits(x) & 0x7f800000u); }
  bool all() const { return worst < 0x7f800000u; }
};

// Rows of 32 columns of the source, depths k0 .. k1 - 1 of panel p: to panel[k][c].
template <bool transposed, class T>
void gather(const T* source, int64_t depth, int64_t cols, int64_t p, int64_t k0, int64_t k1, float* panel, Finite& seen) {
  const int64_t c0 = p * panel_cols, n = std::min(panel_cols, cols - c0);
  const auto take = [&](int64_t k, int64_t c, T x) {
    panel[k * panel_cols + c] = number(x);
    seen.see(panel[k * panel_cols + c]);
  };
  if (transposed) {
    for (int64_t c = 0; c < n; ++c)
      for (int64_t k = k0; k < k1; ++k) take(k, c, source[(c0 + c) * depth + k]);
  } else {
    for (int64_t k = k0; k < k1; ++k)
      for (int64_t c = 0; c < n; ++c) take(k, c, source[k * cols + c0 + c]);
  }
  for (int64_t k = k0; k < k1; ++k)
    for (int64_t c = n; c < panel_cols; ++c) panel[k * panel_cols + c] = 0.0f;
}

// float32 goes one strip of 16 depths by 32 columns after the other: both the source's rows and the panel's rows are then
// taken in whole cache lines. The other formats are made of a whole panel.
template <class T, bool transposed>
Packed pack_as(const T* source, Dtype dtype, int64_t depth, int64_t cols) {
  if (dtype == Dtype::int8 && depth > Int8::most_depth)
    throw std::invalid_argument("pack: int8 takes matrices of at most " + std::to_string(Int8::most_depth) +
                                " rows, got " + std::to_string(depth) + "; use another dtype");
  const Unwritten made = empty_matrix(dtype, depth, cols);
  char* const data = made.data;
  const int64_t panels = panels_of(cols), stride = made.matrix.panel_stride();
  std::atomic<bool> finite{true};

  const int64_t floats = depth * panel_cols;
  const bool direct = dtype == Dtype::float32;
  const int64_t piece = std::max<int64_t>(1, 65536 / floats), pieces = (panels + piece - 1) / piece;
  const int workers = threads_for(pieces, 1);
  std::vector<float> rooms(direct ? 0 : static_cast<size_t>(workers * floats));
  parallel_items(pieces, workers, [&](int64_t item, int worker) {
    const int64_t begin = item * piece, end = std::min(panels, begin + piece);
    Finite seen;
    if (direct) {
      for (int64_t k = 0; k < depth; k += line_floats)
        for (int64_t p = begin; p < end; ++p)
          gather<transposed>(source, depth, cols, p, k, std::min(depth, k + line_floats),
                             reinterpret_cast<float*>(data + p * stride), seen);
    } else {
      float* const room = rooms.data() + worker * floats;
      for (int64_t p = begin; p < end; ++p) {
        gather<transposed>(source, depth, cols, p, 0, depth, room, seen);
        if (dtype == Dtype::bfloat16)
          for (int64_t i = 0; i < floats; ++i) seen.see(number(Brain{to_bfloat16(to_bits(room[i]))}));
        encode_panel(dtype, room, depth, data + p * stride);
      }
    }
    if (!seen.all()) finite = false;
  });
  if (!finite) throw std::invalid_argument("pack: weight must be finite, got NaN or infinity");
  return made.matrix;
}

template <bool transposed>
Packed pack_from(const void* source, Source type, Dtype dtype, int64_t depth, int64_t cols) {
  switch (type) {
    case Source::float16: return pack_as<Half, transposed>(static_cast<const Half*>(source), dtype, depth, cols);
    case Source::bfloat16: return pack_as<Brain, transposed>(static_cast<const Brain*>(source), dtype, depth, cols);
    default: return pack_as<float, transposed>(static_cast<const float*>(source), dtype, depth, cols);
  }
}

}  // namespace

int64_t packed_bytes() { return alive; }

int64_t Packed::panel_stride() const { return panel_bytes(dtype, depth); }
int64_t Packed::bytes() const { return panels_of(cols) * panel_stride(); }

Unwritten empty_matrix(Dtype dtype, int64_t depth, int64_t cols) {
  Packed out;
  out.dtype = dtype;
  out.depth = depth;
  out.cols = cols;
  const int64_t bytes = out.bytes();
  const auto memory = shared_pages(bytes);
  alive += bytes;
  out.data = {memory.get(), [memory, bytes](const char*) { alive -= bytes; }};
  return {out, memory.get()};
}

Packed packed_from(const void* bytes, Dtype dtype, int64_t depth, int64_t cols) {
  const Unwritten made = empty_matrix(dtype, depth, cols);
  const int64_t stride = made.matrix.panel_stride();
  const char* const from = static_cast<const char*>(bytes);
  char* const to = made.data;
  parallel_ranges(panels_of(cols), (int64_t{1} << 18) / stride + 1, [=](int64_t begin, int64_t end) {
    std::memcpy(to + begin * stride, from + begin * stride, static_cast<size_t>((end - begin) * stride));
  });
  return made.matrix;
}
Packed pack(const void* source, Source type, Dtype dtype, int64_t depth, int64_t cols) {
  return pack_from<false>(source, type, dtype, depth, cols);
}
Packed pack_transposed(const void* source, Source type, Dtype dtype, int64_t depth, int64_t cols) {
  return pack_from<true>(source, type, dtype, depth, cols);
}

void unpack(const Packed& matrix, float* out) {
  touch_pages(out, matrix.depth * matrix.cols);  // a column is on all of them
  for (int64_t c = 0; c < matrix.cols; ++c) {
    decode_column(matrix.dtype, matrix.panel(c / panel_cols), matrix.depth, c % panel_cols, out + c, matrix.cols);
    check_interrupt();
  }
}

void to_float32(const void* source, Source type, int64_t size, float* out) {
  if (type == Source::float16)
    for (int64_t i = 0; i < size; ++i) out[i] = number(static_cast<const Half*>(source)[i]);
  else if (type == Source::bfloat16)
    for (int64_t i = 0; i < size; ++i) out[i] = number(static_cast<const Brain*>(source)[i]);
  else if (size)
    std::memcpy(out, source, static_cast<size_t>(size) * sizeof(float));
}

}  // namespace nextword
