// NEON on AArch64: 4 lanes, 32 registers, fused multiply-add.
#pragma once
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

namespace {

struct Neon {
  using F = float32x4_t;
  static constexpr int64_t lanes = 4;

  // 6 x 4 accumulators + 4 operands + broadcasts fit NEON's 32 registers.
  static constexpr int tile_rows = 6, tile_vectors = 4;

  static F set(float a) { return vdupq_n_f32(a); }
  static F load(const float* p) { return vld1q_f32(p); }
  static F load(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
  static F load(const int8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
  }
  static void store(float* p, F a) { vst1q_f32(p, a); }
  static F load(const float* p, int64_t n) {
    float t[lanes] = {0, 0, 0, 0};
    for (int64_t i = 0; i < n; ++i) t[i] = p[i];
    return vld1q_f32(t);
  }
  static void store(float* p, F a, int64_t n) {
    float t[lanes];
    vst1q_f32(t, a);
    for (int64_t i = 0; i < n; ++i) p[i] = t[i];
  }
  static F first(F a, int64_t n) {
    const int32_t at[lanes] = {0, 1, 2, 3};
    const uint32x4_t keep = vcltq_s32(vld1q_s32(at), vdupq_n_s32(static_cast<int32_t>(n)));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), keep));
  }

  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F div(F a, F b) { return vdivq_f32(a, b); }
  static F mul_add(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static uint32_t at_least(F a, F b) {
    const uint32_t bits[lanes] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(bits)));
  }
  static F where_less(F a, F b, F yes, F no) { return vbslq_f32(vcltq_f32(a, b), yes, no); }

  static F pow2(F shifted) {
    const int32x4_t bits = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
    return vreinterpretq_f32_s32(vaddq_s32(bits, vdupq_n_s32(0x3f800000)));
  }
  static float sum(F a) {
    const float32x2_t s = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
  }
  static float max(F a) {
    const float x = vgetq_lane_f32(a, 0), y = vgetq_lane_f32(a, 1), z = vgetq_lane_f32(a, 2), w = vgetq_lane_f32(a, 3);
    const float p = x > z ? x : z, q = y > w ? y : w;
    return p > q ? p : q;
  }
  static void prefetch(const void* p) { __builtin_prefetch(p); }
  static void prefetch_once(const void* p) { __builtin_prefetch(p, 0, 0); }

  using I = int32x4_t;
  static I ints(int32_t a) { return vdupq_n_s32(a); }
  static I bytes(const void* p) { return vreinterpretq_s32_u8(vld1q_u8(static_cast<const uint8_t*>(p))); }
  static I four(const void* p) { int32_t a; memcpy(&a, p, sizeof a); return ints(a); }
  static I low(I a) { return vandq_s32(a, ints(0x0f0f0f0f)); }
  static I high(I a) { return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(a), 4)); }
  static I plus(I a, I b) { return vaddq_s32(a, b); }
  static F to_float(I a) { return vcvtq_f32_s32(a); }
  static F widen(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
  static constexpr int32_t byte_offset = 0;
  static I dot_bytes(I sum, I w, I x) { return dot_nibbles(sum, veorq_s32(w, ints(static_cast<int32_t>(0x80808080u))), x); }
  static I dot_nibbles(I sum, I w, I x) {  // both signed; two products of bytes fit an int16, four an int32
    const int8x16_t a = vreinterpretq_s8_s32(w), b = vreinterpretq_s8_s32(x);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b))), high = vpaddlq_s16(vmull_high_s8(a, b));
    return vaddq_s32(sum, vpaddq_s32(low, high));
  }
  static F dot_pairs(F sum, I w, I x) {
    const I upper = ints(static_cast<int32_t>(0xffff0000u));
    const auto floats = [](I a) { return vreinterpretq_f32_s32(a); };
    sum = mul_add(floats(vshlq_n_s32(w, 16)), floats(vshlq_n_s32(x, 16)), sum);
    return mul_add(floats(vandq_s32(w, upper)), floats(vandq_s32(x, upper)), sum);
  }
};

}  // namespace
