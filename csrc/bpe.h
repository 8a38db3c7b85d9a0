// Byte-pair encoding: text to token ids and back. Vocabulary files are read elsewhere (bpe_files.h).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bpe_vocabulary.h"
#include "pretokenize.h"

namespace nextword {

class Bpe {
 public:
  Bpe(VocabularySource source, Pattern pattern) : vocabulary_(std::move(source)), pattern_(pattern) {}

  const Vocabulary& vocabulary() const { return vocabulary_; }
  Pattern pattern() const { return pattern_; }

  // Appends the ids of `text` (valid UTF-8) to `ids`. Special tokens are plain text here.
  // Throws std::invalid_argument from 4 GiB on. Safe to call from several threads at once.
  void encode(std::string_view text, std::vector<uint32_t>& ids) const;

  // Appends the ids of one piece, as the splitting pattern cuts them, to `ids`: O(n log n) in its bytes.
  void encode_piece(std::string_view piece, std::vector<uint32_t>& ids) const;

  // Appends the bytes of `ids` to `bytes`. Throws std::out_of_range for an id that is no token.
  void decode(const uint32_t* ids, size_t count, std::string& bytes) const;

 private:
  void merge_short(std::string_view piece, std::vector<uint32_t>& ids) const;
  void merge_long(std::string_view piece, std::vector<uint32_t>& ids) const;

  Vocabulary vocabulary_;
  Pattern pattern_;
};

}  // namespace nextword
