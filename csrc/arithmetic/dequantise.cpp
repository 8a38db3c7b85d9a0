#include "dequantise.h"

#include <algorithm>
#include <cstring>

#include "machine/parallel.h"
#include "packed.h"

namespace nextword {
namespace {

float half_at(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  float value;
  to_float32(&bits, Source::float16, 1, &value);
  return value;
}

template <Source type, class Bits>
void numbers(const uint8_t* from, int64_t count, float* out) {
  constexpr int64_t piece = 1024;
  Bits aligned[piece];
  for (int64_t at = 0; at < count; at += piece) {
    const int64_t n = std::min(piece, count - at);
    std::memcpy(aligned, from + at * static_cast<int64_t>(sizeof(Bits)), static_cast<size_t>(n) * sizeof(Bits));
    to_float32(aligned, type, n, out + at);
  }
}

void q8_0(const uint8_t* block, int64_t count, float* out) {
  for (int64_t b = 0; b < count; ++b, block += 34, out += 32) {
    const float d = half_at(block);
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  }
}

// 32 numbers of 4 or 5 bits behind `head` bytes of scales: the lower half of each byte, then the upper; fifth bits stand
// before them as one integer.
template <int head, bool fifth, class Number>
void nibbles(const uint8_t* block, float* out, const Number& number) {
  uint32_t high = 0;
  if (fifth)
    for (int i = 0; i < 4; ++i) high |= static_cast<uint32_t>(block[head + i]) << (8 * i);
  const uint8_t* const q = block + head + (fifth ? 4 : 0);
  for (int i = 0; i < 16; ++i) {
    out[i] = number(static_cast<int>((q[i] & 15u) | ((high >> i & 1u) << 4)));
    out[i + 16] = number(static_cast<int>((q[i] >> 4) | ((high >> (i + 16) & 1u) << 4)));
  }
}

template <bool fifth>
void centred(const uint8_t* block, int64_t count, float* out) {  // Q4_0, Q5_0
  constexpr int bytes = fifth ? 22 : 18, centre = fifth ? 16 : 8;
  for (int64_t b = 0; b < count; ++b, block += bytes, out += 32) {
    const float d = half_at(block);
    nibbles<2, fifth>(block, out, [=](int q) { return d * static_cast<float>(q - centre); });
  }
}

template <bool fifth>
void shifted(const uint8_t* block, int64_t count, float* out) {  // Q4_1, Q5_1
  constexpr int bytes = fifth ? 24 : 20;
  for (int64_t b = 0; b < count; ++b, block += bytes, out += 32) {
    const float d = half_at(block), m = half_at(block + 2);
    nibbles<4, fifth>(block, out, [=](int q) { return d * static_cast<float>(q) + m; });
  }
}

// Two groups of 32 share 32 bytes: the lower halves are the first group's. s and t of the first four groups are the lower
// six bits of bytes 0..3 and 4..7; of the others, four bits lie in bytes 8..11 and two above those six.
template <bool fifth>
void grouped(const uint8_t* block, int64_t count, float* out) {  // Q4_K, Q5_K
  constexpr int bytes = fifth ? 176 : 144;
  for (int64_t b = 0; b < count; ++b, block += bytes) {
    const float d = half_at(block), m = half_at(block + 2);
    const uint8_t *const scales = block + 4, *const high = block + 16, *const q = high + (fifth ? 32 : 0);
    for (int g = 0; g < 8; ++g, out += 32) {
      const int s = g < 4 ? scales[g] & 63 : (scales[g + 4] & 15) | (scales[g - 4] >> 6) << 4;
      const int t = g < 4 ? scales[g + 4] & 63 : scales[g + 4] >> 4 | (scales[g] >> 6) << 4;
      const float ds = d * static_cast<float>(s), mt = m * static_cast<float>(t);
      const int shift = g % 2 * 4;
      for (int i = 0; i < 32; ++i) {
        const int code = (q[g / 2 * 32 + i] >> shift & 15) | (fifth ? (high[i] >> g & 1) << 4 : 0);
        out[i] = ds * static_cast<float>(code) - mt;
      }
    }
  }
}

// Of each 128 numbers, four runs of 32 take lower bits from 64 bytes and their upper two from the same 32.
void q6_k(const uint8_t* block, int64_t count, float* out) {
  for (int64_t b = 0; b < count; ++b, block += 210) {
    const float d = half_at(block + 208);
    for (int run = 0; run < 8; ++run, out += 32) {
      const int part = run / 4, in = run % 4;
      const uint8_t *const low = block + part * 64 + in % 2 * 32, *const high = block + 128 + part * 32;
      for (int i = 0; i < 32; ++i) {
        const float ds = d * static_cast<float>(static_cast<int8_t>(block[192 + run * 2 + i / 16]));
        const int q = (low[i] >> (in / 2 * 4) & 15) | (high[i] >> (in * 2) & 3) << 4;
        out[i] = ds * static_cast<float>(q - 32);
      }
    }
  }
}

}  // namespace

const BlockKind block_kinds[] = {
    {"F32", 1, 4, numbers<Source::float32, float>},
    {"F16", 1, 2, numbers<Source::float16, uint16_t>},
    {"BF16", 1, 2, numbers<Source::bfloat16, uint16_t>},
    {"Q8_0", 32, 34, q8_0},
    {"Q4_0", 32, 18, centred<false>},
    {"Q4_1", 32, 20, shifted<false>},
    {"Q5_0", 32, 22, centred<true>},
    {"Q5_1", 32, 24, shifted<true>},
    {"Q4_K", 256, 144, grouped<false>},
    {"Q5_K", 256, 176, grouped<true>},
    {"Q6_K", 256, 210, q6_k},
    {nullptr, 0, 0, nullptr},
};

void dequantise(const uint8_t* blocks, const BlockKind& kind, int64_t count, float* out) {
  const int64_t grain = worth_a_thread / kind.numbers;
  parallel_ranges(count, grain, [&](int64_t begin, int64_t end) {
    kind.dequantise(blocks + begin * kind.bytes, end - begin, out + begin * kind.numbers);
  });
}

}  // namespace nextword
