// Added tokens in a text: where they stand, by their flags, and what is left to be split and merged. As Hugging Face's
// tokenizers find them.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bpe_finder.h"
#include "bpe_vocabulary.h"

namespace nextword {

// A text as a normaliser leaves it.
struct Normalized {
  struct Step {
    size_t normalized, original;  // up to here the two belong together, in bytes
    bool same;                    // byte by byte
  };
  std::string text;
  std::vector<Step> steps;  // ascending, the last one at both ends; empty where nobody asked
};
using Normalize = std::function<Normalized(std::string_view text, bool with_steps)>;

// What is done to a text beside splitting and merging it.
struct TextRules {
  bool prefix_space = false;  // text that follows an added token or nothing gets a blank, unless it begins with one
  bool prefix_first = false;  // of these, only text that follows nothing
  Normalize normalize;        // of what is no added token; may be empty
  bool normalizes_contents = true;  // of added tokens; else they are looked for as they stand, blanks for U+2581
  bool asks_python = false;   // normalize does
  bool parts_words = false;   // normalize does, by one blank in the place of white space
  bool cleans = false;        // when words are decoded: no blanks before signs
  uint32_t trimmed = 0;       // of its first token, so many blanks at most are no text when it is decoded
  std::vector<uint32_t> beginning, ending;  // ids around every text
};

// What a caller wants of a text.
struct Request {
  std::vector<bool> allowed;  // by place in Vocabulary::added(): the special tokens that may be found; empty: none
  bool whole = true;          // with beginning and ending
  bool bare = false;          // offsets without the blank that parted a word from the one before, or was put before a text
};

// A part of a text: an added token, or what is to be split and merged on its own.
class TextPart {
 public:
  uint32_t id;            // no_token: text is to be split and merged
  std::string_view text;  // valid until the next part
  // The bytes of the original text that text[begin, end) stands for; of an added token, all of them.
  std::pair<size_t, size_t> original(size_t begin, size_t end) const;
  std::pair<size_t, size_t> original() const { return original(0, text.size()); }
  bool prefixed() const { return prefix_ > 0; }  // by a blank that the text does not have

 private:
  friend class AddedTokens;
  size_t at_, prefix_;         // where in the segment it begins; blanks before it that the segment does not have
  size_t segment_;             // where in the text the segment begins
  const Normalized* changed_;  // the segment, where it was normalised
  size_t mapped(size_t place, bool end) const;
};

class AddedTokens {
 public:
  // normalize: maybe empty. Both outlive this.
  AddedTokens(const Vocabulary& vocabulary, const TextRules& rules);

  // Whether text is more than split and merged though no special token is allowed.
  bool always() const { return always_; }

  // use(part) for all parts from left to right. with_steps: whether part.original() will be asked.
  void split(std::string_view text, const Request& request, bool with_steps, const std::function<void(const TextPart&)>& use) const;

 private:
  struct Span {
    uint32_t id;
    size_t begin, end;
  };
  void find(const WordFinder& finder, std::string_view text, const Request& request, std::vector<Span>& spans) const;

  const std::vector<AddedToken>& tokens_;
  const TextRules& rules_;
  WordFinder raw_, normalized_;
  bool always_;
};

}  // namespace nextword
