#include "simd/avx2_vnni.h"
#include "kernels/all.h"
extern const Kernels kernels_avx2_vnni;
const Kernels kernels_avx2_vnni = make_kernels<Avx2Vnni>("avx2_vnni");
