// Reads SentencePiece's tokenizer.model: a message of protocol buffers (sentencepiece_model.proto), without that library.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "token_lists.h"

namespace nextword {

struct SentencePieceModel {
  TokenLists lists;      // of all pieces
  uint32_t model = 1;    // 1: unigram, 2: byte-pair encoding, 3: words, 4: characters
  uint32_t unknown = 0, begin = 1, end = 2;  // ids; 0xFFFFFFFF: there is none
  bool byte_fallback = false, suffix = false;
  bool prefix = true, collapses = true, escapes = true;  // normalizer_spec
  std::string rules;     // precompiled_charsmap
  bool denormalizes = false;
};

// Throws std::invalid_argument that begins with `file` where the bytes are no such message.
SentencePieceModel sentencepiece_model(std::string_view bytes, const std::string& file);

}  // namespace nextword
