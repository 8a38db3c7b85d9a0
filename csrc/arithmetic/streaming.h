// Whether weights that a step reads once pass the caches by, which leaves those to the activations, the key-value cache
// and the program around. On some processors such (non-temporal) reads are as fast as others and a step gains some
// hundredths; on some they are several times slower. So it is tried, once, before it is done.
#pragma once
#include <cstdint>
#include <string>

#include "packed.h"

namespace nextword {

// For a step's product with these weights: true where all packed matrices are more than the last-level cache holds, and
// the trial or set_streaming allows it. The first call that needs the trial makes it, on the weights' own memory if they
// are 4 MiB or more: 16 MiB are read at most, 1 to 5 ms. Meanwhile, and before, weights go through the caches.
bool streams(const Packed& weight);

enum class Streaming { tried, on, off };
void set_streaming(Streaming how);  // for the process; tried: as the trial finds
Streaming streaming();

// What the trial found, in bytes a second; where none was made yet, it is made on memory of its own.
struct Trial {
  double past, through;  // the caches
  // Where it hurts, past the caches is 0.2 to 0.45 as fast (Intel Xeons); where not, 0.9 to 1.1 beside other programs.
  bool allows() const { return past >= 0.75 * through; }
};
Trial streaming_trial();  // throws std::bad_alloc

}  // namespace nextword
