// What a code point is to BERT's normaliser and splitting (bert_tables.h, expanded).
#pragma once
#include "bert_tables.h"
#include "unicode_chars.h"

namespace nextword {

inline constexpr auto bert_blocks = expanded<expanded_size(bert_block_runs)>(bert_block_runs);
inline constexpr auto bert_kinds = expanded<expanded_size(bert_kind_runs)>(bert_kind_runs);
static_assert(bert_blocks.size() == 0x110000 / 128 && bert_kinds.size() % 128 == 0);

// BertBits of a code point.
inline unsigned bert_kind(uint32_t code) { return bert_kinds[bert_blocks[code >> 7] * 128u + (code & 127)]; }

}  // namespace nextword
