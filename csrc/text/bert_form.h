// BERT's normaliser: a text cleaned, ideographs apart, accents stripped, in lower case.
#pragma once
#include "bpe_added.h"

namespace nextword {

struct BertForm {
  bool cleans = true;      // controls go, white space becomes blanks
  bool parts = true;       // ideographs get blanks around them
  bool strips = true;      // the canonical decomposition (NFD) without its nonspacing marks
  bool lowers = true;      // each character on its own
};

// As BertNormalizer of Hugging Face's tokenizers does it, by the same Unicode. Linear in the text but for the sorting of
// marks that stand in a row; asks no interpreter.
Normalize bert_form(BertForm form);

}  // namespace nextword
