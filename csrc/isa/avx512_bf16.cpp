#include "simd/avx512_bf16.h"
#include "kernels/all.h"
extern const Kernels kernels_avx512_bf16;
const Kernels kernels_avx512_bf16 = make_kernels<Avx512Bf16>("avx512_bf16");
