// Learns the merges of byte-pair encoding from text (Sennrich et al. 2016, over bytes as in GPT-2).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pretokenize.h"

namespace nextword {

// How often each piece occurs in the text added so far.
class PieceCounts {
 public:
  explicit PieceCounts(Pattern pattern) : pattern_(pattern) {}

  // Adds texts (valid UTF-8, each below 4 GiB), divided over at most `threads` threads. The counts do not depend on how.
  // What interrupts it (interrupt.h) leaves counts that are good for nothing.
  void add(const std::vector<std::string_view>& texts, int threads);

  size_t size() const;
  // The pieces of two bytes and more with their counts, in no particular order.
  std::vector<std::pair<std::string_view, uint64_t>> pieces() const;

 private:
  class Table;
  Pattern pattern_;
  std::vector<std::shared_ptr<Table>> tables_;  // one a worker; the first holds everything between calls
};

// A merge of two symbols: below 256 a byte, in the order of GPT-2's printable alphabet (byte_alphabet.h); 256 + i is
// what merge i made.
using LearnedMerge = std::array<uint32_t, 2>;

// At most `wanted` merges, each of the pair that occurs most often by then; of equally frequent pairs the one with the
// smaller left, then the smaller right symbol. Stops at pairs that occur less than max(1, min_frequency) times.
// progress(merges so far) is called now and then; it may throw.
std::vector<LearnedMerge> learn_merges(const PieceCounts& counts, size_t wanted, uint64_t min_frequency,
                                       const std::function<void(size_t)>& progress);

// The byte of a symbol below 256.
uint8_t byte_of_symbol(uint32_t symbol);

}  // namespace nextword
