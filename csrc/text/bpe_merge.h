// What becomes of the bytes of one piece: the merges of lowest rank first, of equal rank the leftmost first. No caches.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "bpe_vocabulary.h"

namespace nextword {

constexpr size_t merge_few_limit = 64;  // one bit for each byte in a word

// All write the ids of `piece`, which is not empty, to `ids` [piece.size()] and return how many there are.

// An orderly vocabulary and at most merge_few_limit bytes: by search for the lowest rank.
size_t merge_few(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids);

// An orderly vocabulary: by a heap, O(n log n).
size_t merge_many(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids);

// Any vocabulary, below 4 GiB: by a heap, O(n log n).
size_t merge_any(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids);

// A unigram vocabulary, where nothing merges: the tokens whose scores have the highest sum (Viterbi); of equal sums the one
// whose last token is the longest. Sums are taken in float64 from the beginning of the piece.
size_t best_path(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids);

}  // namespace nextword
