// WordPiece: words of a text, and the longest tokens from the front of each (Schuster and Nakajima 2012, as BERT has it).
// What is done to the text before is in bert_form.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bpe_vocabulary.h"
#include "pretokenize.h"

namespace nextword {

struct WordRange {
  size_t begin, end;  // bytes of the text; begin == end: there is none left
};

// The first word from `at` on. bert: words end at white space and signs of punctuation, each a word of its own; words: at
// white space alone.
WordRange next_word(Pattern pattern, std::string_view text, size_t at);

// The ids of one word, to `ids` [word.size()]; returns how many. The unknown token alone where a part has no token, or the
// word has more characters than the vocabulary's longest_word().
size_t wordpieces(const Vocabulary& vocabulary, std::string_view word, uint32_t* ids);

// The text of ids: blanks before tokens that go on no word. cleans: without those before signs and contractions, as the
// decoder of tokenizers with cleanup.
std::string text_of_words(const Vocabulary& vocabulary, const std::vector<uint32_t>& ids, bool cleans);

}  // namespace nextword
