// AVX-512 (F, BW, DQ, VL): 16 lanes, 32 registers.
#pragma once
// GCC 12 takes the deliberately undefined operands inside its own intrinsics for a defect (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {

struct Avx512 {
  using F = __m512;
  static constexpr int64_t lanes = 16;

  // 12 x 2 accumulators + 2 operands + broadcasts fit AVX-512's 32 registers; 14 loads feed 24 multiply-adds.
  static constexpr int tile_rows = 12, tile_vectors = 2;

  static __mmask16 mask(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
  static F set(float a) { return _mm512_set1_ps(a); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load(const uint16_t* p) {
    const __m512i half = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(half, 16));
  }
  static F load(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  static F load(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store(float* p, F a, int64_t n) { _mm512_mask_storeu_ps(p, mask(n), a); }
  static F first(F a, int64_t n) { return _mm512_maskz_mov_ps(mask(n), a); }

  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F mul_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static uint32_t at_least(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
  static F where_less(F a, F b, F yes, F no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
  }

  static F pow2(F shifted) {
    const __m512i bits = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32(0x3f800000)));
  }
  static __m256 upper(F a) { return _mm512_extractf32x8_ps(a, 1); }
  static float sum(F a) {
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), upper(a));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float max(F a) {
    const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a), upper(a));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  static void prefetch_once(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_NTA); }

  using I = __m512i;
  static I ints(int32_t a) { return _mm512_set1_epi32(a); }
  static I bytes(const void* p) { return _mm512_loadu_si512(p); }
  static I four(const void* p) { int32_t a; memcpy(&a, p, sizeof a); return ints(a); }
  static I low(I a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
  static I high(I a) { return low(_mm512_srli_epi16(a, 4)); }
  static I plus(I a, I b) { return _mm512_add_epi32(a, b); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
  static F widen(const uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  // Pairs of products of an unsigned and a signed byte saturate at 2^15: |w| <= 127 times x with w's sign does not reach
  // it.
  static constexpr int32_t byte_offset = 0;
  static I dot_bytes(I sum, I w, I x) {
    const I number = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
    const I signed_x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(number), _mm512_setzero_si512(), x);
    return dot_nibbles(sum, _mm512_abs_epi8(number), signed_x);
  }
  static I dot_nibbles(I sum, I w, I x) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(w, x), _mm512_set1_epi16(1)));
  }
  static F dot_pairs(F sum, I w, I x) {
    const I upper = ints(static_cast<int32_t>(0xffff0000u));
    const auto floats = [](I a) { return _mm512_castsi512_ps(a); };
    sum = mul_add(floats(_mm512_slli_epi32(w, 16)), floats(_mm512_slli_epi32(x, 16)), sum);
    return mul_add(floats(_mm512_and_si512(w, upper)), floats(_mm512_and_si512(x, upper)), sum);
  }
};

}  // namespace
