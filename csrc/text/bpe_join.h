// What several vocabulary files say together: the tokens of a VocabularySource by name and id, and two sources joined.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "bpe_vocabulary.h"

namespace nextword {

// For two descriptions of one vocabulary: throws std::invalid_argument, which names both files and the line, where `other`
// gives a token of `source` another id, an id another token, or has other merges. What only `other` has goes into `source`.
void join(VocabularySource& source, const VocabularySource& other);

// The id of each token that a file spells as `names` say, or no_token.
std::vector<uint32_t> ids_of(const VocabularySource& source, const std::vector<std::string>& names);

// How a file spells the token of each id, or "".
std::vector<std::string> names_of(const VocabularySource& source, const std::vector<uint32_t>& ids);

// Whether every byte has a token.
bool has_all_bytes(const VocabularySource& source);

}  // namespace nextword
