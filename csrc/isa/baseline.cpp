#include "simd/generic.h"
#include "kernels/all.h"
extern const Kernels kernels_baseline;
const Kernels kernels_baseline = make_kernels<Generic>("baseline");
