// Memory for results, used again by the next one: fresh pages cost the operating system's zeroing and, at 4 KiB each, a
// fault for every page; a prefill of GPT-2 124M would spend a fifth of its time there.
#pragma once
#include <cstdint>
#include <memory>

namespace nextword {

// Results below this size come from the ordinary allocator, which reuses such blocks itself.
constexpr int64_t pooled_from = int64_t{1} << 16;  // floats: 256 KiB

// At least `count` floats, contents undefined; back in the pool when the last copy of the pointer goes. The pool keeps
// 128 MB unused at most, or as much as the weights alive take if that is more; what goes beyond, the longest unused
// first, is given back whenever a pointer goes. Any thread. Throws std::bad_alloc.
std::shared_ptr<float> pooled_floats(int64_t count);

// At least `count` floats that the calling thread keeps from call to call, aligned to a cache line; contents undefined,
// and the next call's the same memory. Throws std::bad_alloc.
float* scratch(int64_t count);

}  // namespace nextword
