// AVX-512 with VNNI: four products of bytes in one instruction.
#pragma once
#include "avx512.h"

namespace {

struct Avx512Vnni : Avx512 {
  static constexpr int32_t byte_offset = 128;
  // _mm512_dpbusd_epi32, spelt out: around the intrinsic GCC 12 moves half of a full tile's sums to memory and back.
  static I dot_bytes(I sum, I w, I x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
  }
  static I dot_nibbles(I sum, I w, I x) { return dot_bytes(sum, w, x); }
};

}  // namespace
