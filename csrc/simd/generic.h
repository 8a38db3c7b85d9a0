// The vector interface, written for any compiler that knows vector_size. Every header in simd/ offers the same names;
// kernels/ is written on them alone. Includes only C headers: see "Instruction sets" in ARCHITECTURE.md.
#pragma once
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace {

struct Generic {
  typedef float F __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  typedef uint32_t U __attribute__((vector_size(16)));
  static constexpr int64_t lanes = 4;

  // Register tile of the matmul: 4 x 2 accumulators + 2 operands + 1 broadcast fit SSE2's 16 registers.
  static constexpr int tile_rows = 4, tile_vectors = 2;

  static F set(float a) { return F{a, a, a, a}; }
  static F load(const float* p) { F a; memcpy(&a, p, sizeof a); return a; }
  // bfloat16, as its bits, and int8, widened exactly. Compilers do not find the short way that SSE2 has.
  static F load(const uint16_t* p) {
#ifdef __SSE2__
    const __m128i upper = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), upper));
#else
    typedef uint16_t H __attribute__((vector_size(8)));
    H h; memcpy(&h, p, sizeof h);
    const I bits = __builtin_convertvector(h, I) << 16;
    F a; memcpy(&a, &bits, sizeof a); return a;
#endif
  }
  static F load(const int8_t* p) {
#ifdef __SSE2__
    int32_t four; memcpy(&four, p, sizeof four);
    __m128i a = _mm_cvtsi32_si128(four);
    a = _mm_unpacklo_epi8(a, a);
    return _mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(a, a), 24));
#else
    typedef int8_t B __attribute__((vector_size(4)));
    B b; memcpy(&b, p, sizeof b); return __builtin_convertvector(b, F);
#endif
  }
  static void store(float* p, F a) { memcpy(p, &a, sizeof a); }
  // The first n lanes, 0 < n < lanes; memory behind them is not touched, lanes behind them are 0.
  static F load(const float* p, int64_t n) { F a = set(0); for (int64_t i = 0; i < n; ++i) a[i] = p[i]; return a; }
  static void store(float* p, F a, int64_t n) { for (int64_t i = 0; i < n; ++i) p[i] = a[i]; }
  static F first(F a, int64_t n) { F b = set(0); for (int64_t i = 0; i < n; ++i) b[i] = a[i]; return b; }

  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F mul_add(F a, F b, F c) { return a * b + c; }
  static F max(F a, F b) { return a > b ? a : b; }  // b where either is NaN
  static F min(F a, F b) { return a < b ? a : b; }
  // Bit i is set where a[i] >= b[i].
  static uint32_t at_least(F a, F b) {
    const I bits = (a >= b) & I{1, 2, 4, 8};
    return static_cast<uint32_t>((bits[0] | bits[1]) | (bits[2] | bits[3]));
  }
  static F where_less(F a, F b, F yes, F no) { return a < b ? yes : no; }

  // 2^n for the integer n in the low bits of n + 1.5 * 2^23 (see exp in elementwise.h).
  static F pow2(F shifted) {
    U bits; memcpy(&bits, &shifted, sizeof bits);  // unsigned: NaN has any bits
    bits = (bits << 23) + 0x3f800000u;
    F a; memcpy(&a, &bits, sizeof a); return a;
  }
  // Fixed trees, so that the order of the sum is part of the definition.
  static float sum(F a) { return (a[0] + a[2]) + (a[1] + a[3]); }
  static float max(F a) { float x = a[0] > a[2] ? a[0] : a[2], y = a[1] > a[3] ? a[1] : a[3]; return x > y ? x : y; }
  static void prefetch(const void* p) { __builtin_prefetch(p); }
  static void prefetch_once(const void* p) { __builtin_prefetch(p, 0, 0); }

  // Compact weights: I holds as many int32 as F holds floats, or four bytes, or two bfloat16, in the place of each.
  static I ints(int32_t a) { return I{a, a, a, a}; }
  static I bytes(const void* p) { I a; memcpy(&a, p, sizeof a); return a; }
  static I four(const void* p) { int32_t a; memcpy(&a, p, sizeof a); return ints(a); }  // four bytes for every place
  static I low(I a) { return a & 0x0f0f0f0f; }
  static I high(I a) { return (a >> 4) & 0x0f0f0f0f; }
  static I plus(I a, I b) { return a + b; }
  static F to_float(I a) { return __builtin_convertvector(a, F); }
  static F widen(const uint16_t* p) {  // as many bfloat16
    I a;
    for (int i = 0; i < lanes; ++i) a[i] = static_cast<int32_t>(static_cast<uint32_t>(p[i]) << 16);
    F b; memcpy(&b, &a, sizeof b); return b;
  }
  // sum + w[0] x[0] + .. + w[3] x[3] in each place, exactly: w in 0 .. 15 and x int8; or w the codes 0 .. 255 of Int8,
  // and what is multiplied is w - 128 + byte_offset.
  static constexpr int32_t byte_offset = 128;
  static I dot_bytes(I sum, I w, I x) {
    for (int i = 0; i < 4; ++i) sum += ((w >> (8 * i)) & 0xff) * ((x << (24 - 8 * i)) >> 24);
    return sum;
  }
  static I dot_nibbles(I sum, I w, I x) { return dot_bytes(sum, w, x); }
  // sum + w[0] x[0] + w[1] x[1] in each place, bfloat16.
  static F dot_pairs(F sum, I w, I x) {
    const auto floats = [](I a) { F b; memcpy(&b, &a, sizeof b); return b; };
    constexpr int32_t upper = static_cast<int32_t>(0xffff0000u);
    sum = mul_add(floats(w << 16), floats(x << 16), sum);
    return mul_add(floats(w & upper), floats(x & upper), sum);
  }
};

}  // namespace
