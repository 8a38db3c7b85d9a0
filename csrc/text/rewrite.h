// What is done to a text before it is split, but for Unicode's own forms: literal steps and SentencePiece's table of rules.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bpe_added.h"
#include "piece_trie.h"

namespace nextword {

// A text that grows, and which bytes of it belong to which of the original.
class Rewritten {
 public:
  Rewritten(size_t size, bool with_steps) : with_steps_(with_steps) { out_.text.reserve(size + size / 8 + 16); }
  void keep(std::string_view same) {
    out_.text += same;
    step(same.size(), true);
  }
  void put(std::string_view changed, size_t original) {
    out_.text += changed;
    step(original, false);
  }
  std::string& text() { return out_.text; }
  Normalized done();  // the text may have been cut at its end

 private:
  void step(size_t original, bool same);
  Normalized out_;
  size_t original_ = 0;
  bool with_steps_;
};

// SentencePiece's rules (precompiled_charsmap): each longest key that a text goes on with becomes another text.
class CharsMap {
 public:
  // blob: bytes of the table, the table, a double array of Darts-clone, then the texts, each with a zero behind.
  // Throws std::invalid_argument where it is not that.
  explicit CharsMap(std::string_view blob);
  struct Match {
    size_t size = 0;  // of the key; 0: none
    std::string_view text;
  };
  Match longest(std::string_view text) const { return find(text, false); }
  Match shortest(std::string_view text) const { return find(text, true); }
  bool begins(std::string_view character) const;  // whether any key may begin with it

 private:
  Match find(std::string_view text, bool first) const;
  std::vector<uint32_t> units_;
  std::string texts_;
};

using Rule = std::shared_ptr<const CharsMap>;

// All of these are linear in the text and ask no interpreter.
Normalize prepended(std::string text);                     // before a text that is not empty
Normalize replaced(std::string from, std::string to);      // from is not empty
Normalize blanks();                                        // U+2581 becomes the blank that it stands for
Normalize collapsed(std::string to);                       // each run of two or more blanks becomes `to`
Normalize spaced();                                        // white space in a row, \n, \r and \t become a blank
Normalize words();                                         // each run of white space becomes a blank, none at the ends
Normalize stripped(bool left, bool right);                 // white space at the ends
Normalize mapped(Rule rules);                              // as Hugging Face applies them, by grapheme
Normalize in_turn(std::vector<Normalize> steps);

// The steps of two changes, one after the other.
std::vector<Normalized::Step> composed(const std::vector<Normalized::Step>& first, const std::vector<Normalized::Step>& second);

// SentencePiece's own (normalizer_spec): rules (maybe none), blanks collapsed and stripped, one put before the text.
struct SentencePieceForm {
  Rule rules;
  PieceTrie kept;  // user-defined pieces, which no rule changes
  bool prefix = true, collapses = true;
};
Normalize sentencepiece_form(SentencePieceForm form);

}  // namespace nextword
