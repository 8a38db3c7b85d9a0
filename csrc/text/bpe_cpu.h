// Whether encoding uses instructions that not every CPU of its kind has. Off in tests alone, which compare the two ways.
#pragma once
#include <atomic>

namespace nextword {

inline std::atomic<bool> special_instructions{true};

}  // namespace nextword
