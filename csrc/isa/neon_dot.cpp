#include "simd/neon_dot.h"
#include "kernels/all.h"
extern const Kernels kernels_neon_dot;
const Kernels kernels_neon_dot = make_kernels<NeonDot>("neon_dot");
