// AVX-512 with VNNI and BF16: two products of bfloat16 in one instruction.
#pragma once
#include "avx512_vnni.h"

namespace {

struct Avx512Bf16 : Avx512Vnni {
  static F dot_pairs(F sum, I w, I x) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
  }
};

}  // namespace
