// The inner loop of encoding: short pieces and the ids that a cache has for them.
#pragma once
#include <string_view>

#include "bpe_cache.h"

namespace nextword {

// A piece on its way through the cache: its key, or ShortKey::none() if it is too long, and its slot.
struct Probe {
  ShortKey key;
  const ShortPieces::Slot* slot;
};

struct KnownPieces {
  // A probe for each of the pieces of `text` that end at ends[0 .. count - 1], the first of which begins at `begin`. The
  // memory of their slots is on its way then.
  void (*probe)(const ShortPieces& cache, std::string_view text, size_t begin, const uint32_t* ends, size_t count, Probe* probes);

  // Writes the ids of probes[at], probes[at + 1], ... up to the first one whose ids are not in its slot, or to the end;
  // `at` is that one then. Returns the end of the ids. What stands in the PackedIds::slack numbers after them is lost.
  uint32_t* (*write)(const Probe* probes, size_t& at, size_t count, uint32_t* out);
};

KnownPieces known_pieces(bool narrow);  // narrow: as PackedIds has it

}  // namespace nextword
