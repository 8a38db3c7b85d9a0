// AVX2 with FMA: 8 lanes, 16 registers.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {

struct Avx2 {
  using F = __m256;
  static constexpr int64_t lanes = 8;

  // 6 x 2 accumulators + 2 operands + 1 broadcast fit AVX2's 16 registers.
  static constexpr int tile_rows = 6, tile_vectors = 2;

  static __m256i mask(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F set(float a) { return _mm256_set1_ps(a); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load(const uint16_t* p) {
    const __m256i half = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(half, 16));
  }
  static F load(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  static F load(const float* p, int64_t n) { return _mm256_maskload_ps(p, mask(n)); }
  static void store(float* p, F a, int64_t n) { _mm256_maskstore_ps(p, mask(n), a); }
  static F first(F a, int64_t n) { return _mm256_and_ps(a, _mm256_castsi256_ps(mask(n))); }

  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F mul_add(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static uint32_t at_least(F a, F b) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
  }
  static F where_less(F a, F b, F yes, F no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }

  static F pow2(F shifted) {
    const __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(0x3f800000)));
  }
  static float sum(F a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float max(F a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  static void prefetch_once(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_NTA); }

  using I = __m256i;
  static I ints(int32_t a) { return _mm256_set1_epi32(a); }
  static I bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static I four(const void* p) { int32_t a; memcpy(&a, p, sizeof a); return ints(a); }
  static I low(I a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
  static I high(I a) { return low(_mm256_srli_epi16(a, 4)); }
  static I plus(I a, I b) { return _mm256_add_epi32(a, b); }
  static F to_float(I a) { return _mm256_cvtepi32_ps(a); }
  static F widen(const uint16_t* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
  // Pairs of products of an unsigned and a signed byte saturate at 2^15: |w| <= 127 times x with w's
  // sign does not reach it.
  static constexpr int32_t byte_offset = 0;
  static I dot_bytes(I sum, I w, I x) {
    const I number = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    return dot_nibbles(sum, _mm256_abs_epi8(number), _mm256_sign_epi8(x, number));
  }
  static I dot_nibbles(I sum, I w, I x) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
  }
  static F dot_pairs(F sum, I w, I x) {
    const I upper = ints(static_cast<int32_t>(0xffff0000u));
    const auto floats = [](I a) { return _mm256_castsi256_ps(a); };
    sum = mul_add(floats(_mm256_slli_epi32(w, 16)), floats(_mm256_slli_epi32(x, 16)), sum);
    return mul_add(floats(_mm256_and_si256(w, upper)), floats(_mm256_and_si256(x, upper)), sum);
  }
};

}  // namespace
