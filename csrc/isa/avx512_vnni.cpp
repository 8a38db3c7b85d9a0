#include "simd/avx512_vnni.h"
#include "kernels/all.h"
extern const Kernels kernels_avx512_vnni;
const Kernels kernels_avx512_vnni = make_kernels<Avx512Vnni>("avx512_vnni");
