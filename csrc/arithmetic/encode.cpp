#include "encode.h"

#include <cmath>
#include <cstring>

namespace nextword {
namespace {

constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer, ties to even

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
float from_bfloat16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The largest |w| of each column over some depths.
void largest(const float* panel, int64_t depth, float* top) {
  for (int64_t c = 0; c < panel_cols; ++c) top[c] = 0.0f;
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t c = 0; c < panel_cols; ++c) {
      const float size = std::fabs(panel[k * panel_cols + c]);
      top[c] = size > top[c] ? size : top[c];
    }
}

void encode(Bfloat16, const float* panel, int64_t depth, char* out) {
  auto* const to = reinterpret_cast<uint16_t*>(out);
  for (int64_t k = 0; k < steps_of<Bfloat16>(depth) * Bfloat16::step; ++k)
    for (int64_t c = 0; c < panel_cols; ++c)
      to[(k / 2 * panel_cols + c) * 2 + k % 2] = k < depth ? to_bfloat16(bits_of(panel[k * panel_cols + c])) : uint16_t{0};
}

void encode(Int8, const float* panel, int64_t depth, char* out) {
  const int64_t steps = steps_of<Int8>(depth);
  auto* const codes = reinterpret_cast<uint8_t*>(out);
  auto* const scales = reinterpret_cast<float*>(out + steps * Int8::step_bytes);
  float top[panel_cols], inverse[panel_cols];
  largest(panel, depth, top);
  for (int64_t c = 0; c < panel_cols; ++c) {
    const bool zero = top[c] < smallest_row;
    scales[c] = zero ? 0.0f : top[c] / 127.0f;
    inverse[c] = zero ? 0.0f : 127.0f / top[c];
  }
  for (int64_t k = 0; k < steps * Int8::step; ++k)
    for (int64_t c = 0; c < panel_cols; ++c) {
      const float code = k < depth ? (panel[k * panel_cols + c] * inverse[c] + magic) - magic : 0.0f;
      codes[(k / 4 * panel_cols + c) * 4 + k % 4] = static_cast<uint8_t>(static_cast<int>(code) + 128);
    }
}

// w / scale as a code of int4.
inline float int4_code(float w, float inverse) {
  const float code = (w * inverse + magic) - magic;
  return code < -8.0f ? -8.0f : code > 7.0f ? 7.0f : code;
}

void encode_group(const float* panel, int64_t depth, char* out) {
  float top[panel_cols], scale[panel_cols], inverse[panel_cols], least[panel_cols];
  largest(panel, depth, top);
  for (int candidate = 0; candidate < 18; ++candidate) {
    const float d = (candidate % 2 ? -1.0f : 1.0f) * (7.0f + 0.5f * static_cast<float>(candidate / 2));
    float s[panel_cols], i[panel_cols], error[panel_cols];
    for (int64_t c = 0; c < panel_cols; ++c) {
      s[c] = from_bfloat16(to_bfloat16(bits_of(top[c] < smallest_row ? 0.0f : top[c] / d)));
      i[c] = top[c] < smallest_row ? 0.0f : 1.0f / s[c];
      error[c] = 0.0f;
    }
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t c = 0; c < panel_cols; ++c) {
        const float w = panel[k * panel_cols + c], off = w - int4_code(w, i[c]) * s[c];
        error[c] += off * off;
      }
    for (int64_t c = 0; c < panel_cols; ++c) {
      const bool better = candidate == 0 || error[c] < least[c];
      least[c] = better ? error[c] : least[c];
      scale[c] = better ? s[c] : scale[c];
      inverse[c] = better ? i[c] : inverse[c];
    }
  }
  constexpr int64_t half = panel_cols / 2;
  const auto code = [&](int64_t k, int64_t c) {
    return k < depth ? static_cast<int>(int4_code(panel[k * panel_cols + c], inverse[c])) + 8 : 8;
  };
  for (int64_t k = 0; k < Int4::step; ++k)
    for (int64_t c = 0; c < half; ++c)
      out[k / 4 * 64 + 4 * c + k % 4] = static_cast<char>(code(k, c) | code(k, c + half) << 4);
  auto* const scales = reinterpret_cast<uint16_t*>(out + Int4::step / 4 * 64);
  for (int64_t c = 0; c < panel_cols; ++c) scales[c] = to_bfloat16(bits_of(scale[c]));
}

void encode(Int4, const float* panel, int64_t depth, char* out) {
  for (int64_t g = 0; g < steps_of<Int4>(depth); ++g) {
    const int64_t rest = depth - g * Int4::step;
    encode_group(panel + g * Int4::step * panel_cols, rest < Int4::step ? rest : Int4::step, out + g * Int4::step_bytes);
  }
}

float weight(Bfloat16, const char* panel, int64_t, int64_t k, int64_t c) {
  return from_bfloat16(reinterpret_cast<const uint16_t*>(panel)[(k / 2 * panel_cols + c) * 2 + k % 2]);
}
float weight(Int8, const char* panel, int64_t depth, int64_t k, int64_t c) {
  const auto code = static_cast<uint8_t>(panel[(k / 4 * panel_cols + c) * 4 + k % 4]);
  return static_cast<float>(code - 128) * reinterpret_cast<const float*>(panel + steps_of<Int8>(depth) * Int8::step_bytes)[c];
}
float weight(Int4, const char* panel, int64_t, int64_t k, int64_t c) {
  constexpr int64_t half = panel_cols / 2;
  const char* const group = panel + k / Int4::step * Int4::step_bytes;
  const auto both = static_cast<uint8_t>(group[k % Int4::step / 4 * 64 + 4 * (c % half) + k % 4]);
  const int code = c < half ? both & 15 : both >> 4;
  return static_cast<float>(code - 8) * from_bfloat16(reinterpret_cast<const uint16_t*>(group + Int4::step / 4 * 64)[c]);
}

template <class Format>
void decode(const void* panel, int64_t depth, int64_t column, float* out, int64_t stride) {
  for (int64_t k = 0; k < depth; ++k) out[k * stride] = weight(Format{}, static_cast<const char*>(panel), depth, k, column);
}

}  // namespace

const char* name_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::bfloat16: return "bfloat16";
    case Dtype::int8: return "int8";
    case Dtype::int4: return "int4";
    default: return "float32";
  }
}

int64_t panel_bytes(Dtype dtype, int64_t depth) {
  switch (dtype) {
    case Dtype::bfloat16: return ::panel_bytes<Bfloat16>(depth);
    case Dtype::int8: return ::panel_bytes<Int8>(depth);
    case Dtype::int4: return ::panel_bytes<Int4>(depth);
    default: return ::panel_bytes<Float32>(depth);
  }
}

void encode_panel(Dtype dtype, const float* panel, int64_t depth, void* out) {
  switch (dtype) {
    case Dtype::bfloat16: return encode(Bfloat16{}, panel, depth, static_cast<char*>(out));
    case Dtype::int8: return encode(Int8{}, panel, depth, static_cast<char*>(out));
    case Dtype::int4: return encode(Int4{}, panel, depth, static_cast<char*>(out));
    default: std::memcpy(out, panel, static_cast<size_t>(depth * panel_cols) * sizeof(float));
  }
}

void decode_column(Dtype dtype, const void* panel, int64_t depth, int64_t column, float* out, int64_t stride) {
  switch (dtype) {
    case Dtype::bfloat16: return decode<Bfloat16>(panel, depth, column, out, stride);
    case Dtype::int8: return decode<Int8>(panel, depth, column, out, stride);
    case Dtype::int4: return decode<Int4>(panel, depth, column, out, stride);
    default:
      for (int64_t k = 0; k < depth; ++k) out[k * stride] = static_cast<const float*>(panel)[k * panel_cols + column];
  }
}

}  // namespace nextword
