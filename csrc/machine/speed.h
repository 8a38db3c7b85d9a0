// How fast this machine is, measured with the threads and the instruction set in use. What it offers is in cpu.h.
#pragma once
#include <cstdint>

#include "kernels/formats.h"

namespace nextword {

// Bytes a second at which a buffer of `size` bytes is read, and multiply-adds a second with the instructions for weights
// of a dtype: of the fastest of the passes that fit into `seconds`, three at least. Throw std::invalid_argument outside of 1 MiB .. 64 GiB or 0 .. 60 s,
// std::bad_alloc without memory for the buffer.
double read_bandwidth(int64_t size, double seconds);
double multiply_add_rate(double seconds, Dtype dtype);

}  // namespace nextword
