// AVX2 with AVX-VNNI: four products of bytes in one instruction, without AVX-512.
#pragma once
#include "avx2.h"

namespace {

struct Avx2Vnni : Avx2 {
  static constexpr int32_t byte_offset = 128;
  // Spelt out as in avx512_vnni.h; {vex}: the assembler would else take AVX-512's encoding, which such processors lack.
  static I dot_bytes(I sum, I w, I x) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(x));
    return sum;
  }
  static I dot_nibbles(I sum, I w, I x) { return dot_bytes(sum, w, x); }
};

}  // namespace
