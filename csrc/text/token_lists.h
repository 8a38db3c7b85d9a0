// A VocabularySource of lists: names in the order of their ids, kinds, scores, merges, as SentencePiece's and GGUF's files
// hold them. Reading those files is elsewhere.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
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

// A vocabulary of SentencePiece: names of which U+2581 stands for a blank. merges, if there are any, say what merges, else
// scores do; in a unigram vocabulary nothing. unknown: the name of the unknown token, or empty.
VocabularySource blank_source(const TokenLists& lists, VocabularySource::Units units, const std::string& unknown, bool byte_fallback,
                              bool fuse_unknown);

// A vocabulary of words (WordPiece). An unused one is not found by its name. unknown: the name of
// the token of words that have none; prefix: of the names of tokens that go on a word; longest: word, in characters.
VocabularySource word_source(const TokenLists& lists, const std::string& unknown, const std::string& prefix, uint32_t longest);

// A name with the blanks that it stands for, and back.
std::string with_blanks(std::string_view name);
std::string with_marks(std::string_view text);

// Whether no token has a blank behind another character: then text may be cut before each run of blanks.
bool begins_words(const VocabularySource& source);

}  // namespace nextword
