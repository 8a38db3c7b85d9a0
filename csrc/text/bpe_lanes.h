// Merges sixteen short pieces at once, one in each lane of a vector: the waits for memory of one hide behind the others.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "bpe_vocabulary.h"

namespace nextword {

constexpr unsigned lanes = 16;

// The same as merge_few for each of `count` (1 .. lanes) pieces of 1 .. 15 bytes of an orderly vocabulary: the ids of
// pieces[i] go to ids[i], their number to counts[i].
using MergeLanes = void (*)(const Vocabulary& vocabulary, const std::string_view* pieces, unsigned count,
                            uint32_t (*ids)[lanes], uint32_t* counts);

MergeLanes merge_lanes();  // nullptr where this CPU has no fitting instructions, or without special_instructions

}  // namespace nextword
