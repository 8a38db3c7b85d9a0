// A VocabularySource of lists: names in the order of their ids, kinds, scores, merges, as SentencePiece's and GGUF's files
// hold them. Reading those files is elsewhere.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "bpe_vocabulary.h"

namespace nextword {

// SentencePiece's kinds of pieces, by its numbers, which GGUF has, too.
enum class PieceKind : uint8_t { normal = 1, unknown, control, user_defined, unused, byte };

struct TokenLists {
  std::vector<std::string> names;   // UTF-8
  std::vector<uint8_t> kinds;       // a PieceKind each; empty: all are normal
  std::vector<double> scores;       // empty where merges say what merges
  std::vector<std::string> merges;  // "left right", lowest rank first
  std::string file;                 // for messages
};

// A vocabulary whose names spell bytes (byte_alphabet.h). Throws std::invalid_argument where lists differ in length, a kind
// is none, a merge is not of two parts.
VocabularySource spelled_source(const TokenLists& lists);

}  // namespace nextword
