// NEON with the dot products of bytes that AArch64 has since version 8.2.
#pragma once
#include "neon.h"

namespace {

struct NeonDot : Neon {
  static I dot_bytes(I sum, I w, I x) { return dot_nibbles(sum, veorq_s32(w, ints(static_cast<int32_t>(0x80808080u))), x); }
  static I dot_nibbles(I sum, I w, I x) { return vdotq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x)); }
};

}  // namespace
