// Reads vocabulary files into a VocabularySource. What the files say is checked by Vocabulary; here only their form is.
#pragma once
#include <string>
#include <string_view>

#include "bpe_vocabulary.h"

namespace nextword {

// All throw std::invalid_argument with file and line where a file is not of its form or not UTF-8, and
// std::runtime_error where it cannot be read. `path` is UTF-8; messages name the last part of it. A byte order mark at
// the beginning of a file is passed over.

// vocab.json (token -> id) with merges.txt (two parts a line): Hugging Face; encoder.json with vocab.bpe: OpenAI.
VocabularySource read_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path);

// tiktoken's rank file: base64 of the token, a space, its rank.
VocabularySource read_ranks(const std::string& path);

// Hugging Face's tokenizer.json with a BPE model; `settings` gets what else changes ids or text, as one JSON object:
// added_tokens, normalizer, pre_tokenizer, post_processor, decoder, and model.<key> for keys of the model.
VocabularySource read_tokenizer_json(const std::string& path);

// Throws std::invalid_argument with `file` and the line where the text is not UTF-8.
void check_utf8(std::string_view text, const std::string& file);

}  // namespace nextword
