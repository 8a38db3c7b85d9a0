#include "simd/neon.h"
#include "kernels/all.h"
extern const Kernels kernels_neon;
const Kernels kernels_neon = make_kernels<Neon>("neon");
