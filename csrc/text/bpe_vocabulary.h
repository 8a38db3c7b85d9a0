// What a byte-level BPE tokenizer knows: tokens, merges, added tokens. Built once, checked, then only read.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "piece_trie.h"

namespace nextword {

constexpr uint32_t no_token = 0xFFFFFFFFu;
constexpr uint32_t max_tokens = 1u << 24;  // ids stay below this; the largest published vocabulary has 2^18

// A token that is found in text as it stands, before anything is split or merged (Hugging Face's AddedToken).
struct AddedToken {
  std::string content;
  uint32_t id;
  bool special = true;                  // found only where the caller allows it
  bool lstrip = false, rstrip = false;  // takes the white space before it, after it along
  bool single_word = false;             // found only where no character of a word is next to it
  bool normalized = false;              // looked for in the normalised text, its content normalised too
};

// Vocabulary files as they are read, before anything is checked against anything else.
struct VocabularySource {
  // What text begins as before anything becomes a token: bytes (byte-level BPE), or characters, a blank for each U+2581
  // of a name (SentencePiece). unigram: tokens are chosen by their scores (Kudo 2018), words: from the front of each word
  // the longest (WordPiece); nothing is merged then.
  enum class Units : uint8_t { bytes, characters, unigram, words };
  enum class Kind : uint8_t {
    text,    // text may become it
    byte,    // one byte of a character that no other token has (<0x41>)
    hidden,  // no text becomes it
  };
  struct Token {
    uint32_t id, start, size;  // bytes [start, start + size) of `bytes`
    uint32_t line;             // where the file names it
    bool spelled;              // false: the name holds characters that spell no byte and stands in UTF-8
    Kind kind = Kind::text;
  };
  struct Merge {
    uint32_t left_start, left_size, right_size, line;  // the two parts stand next to each other in `bytes`
  };
  std::string bytes;
  std::vector<Token> tokens;
  std::vector<Merge> merges;  // lowest rank first
  std::vector<AddedToken> added;
  bool has_merges = false;   // false: any two neighbours whose bytes make a token may merge, lowest id first (tiktoken)
  bool whole_pieces = true;  // a piece that is a token becomes it, merges or not
  bool unmade_are_special = false;  // a token of several pieces that no merge makes is a special token (vocab.json)
  std::string unknown;               // the token of bytes that have none of their own; empty: they are errors
  Units units = Units::bytes;
  std::vector<double> scores;        // by place in `tokens`: the highest merges first, where there are no merges
  bool byte_fallback = false;        // a character without a token becomes those of its bytes, not `unknown`
  bool fuse_unknown = false;         // neighbours that are unknown become one token
  std::string word_prefix;           // of the names of tokens that go on a word ("##")
  uint32_t longest_word = 100;       // in characters: longer words are unknown
  std::string tokens_file, merges_file;  // for messages
  std::string settings;                  // tokenizer.json without its vocabulary and merges
};

class Vocabulary {
 public:
  struct Pair {
    uint32_t rank, token;  // no_token, no_token where the two do not merge
  };

  // Throws std::invalid_argument with file and line for: an id given twice, a token given twice, ids with holes that
  // no added token fills, an id of 2^24 or more, an empty token, a merge of unknown parts, a merge into an unknown
  // token, a merge given twice, an unknown token that is none.
  explicit Vocabulary(VocabularySource source);

  VocabularySource source() const;  // of which the same vocabulary is made again

  size_t size() const { return tokens_.size(); }  // highest id + 1; ids of holes are counted
  bool has(uint32_t id) const { return id < size() && tokens_[id].size != 0; }
  std::string_view bytes(uint32_t id) const { return {data(id), token_size(id)}; }       // has(id)
  const char* data(uint32_t id) const { return arena_.data() + tokens_[id].start; }      // 16 bytes may be read from here
  uint32_t token_size(uint32_t id) const { return tokens_[id].size; }
  uint32_t longest() const { return longest_; }

  // The id of a token that text can become by itself, or no_token.
  uint32_t find(std::string_view token) const;
  uint32_t find_added(std::string_view content) const;
  const std::vector<AddedToken>& added() const { return added_; }

  // A piece that is a token becomes it, whatever the merges would make of it.
  bool whole_pieces() const { return whole_pieces_; }

  using Units = VocabularySource::Units;
  Units units() const { return units_; }
  // What the characters of `piece` are before anything merges; no_symbol() where one has no token. symbols [piece.size()];
  // returns how many. Of bytes: byte_token().
  size_t symbols(std::string_view piece, uint32_t* symbols) const;
  uint32_t no_symbol() const { return max_orderly - 1; }  // merges with nothing
  // The ids of symbols that are left of `piece`, to `ids` [piece.size()]; returns how many.
  size_t ids_of_symbols(std::string_view piece, const uint32_t* symbols, size_t count, uint32_t* ids) const;
  uint32_t* unknown_ids(std::string_view character, uint32_t* ids) const;  // of one that has no token; returns their end
  bool fuses_unknown() const { return fuses_unknown_; }
  // What `id` takes of the text that begins at `at`, in bytes.
  size_t taken(uint32_t id, const char* at) const { return id == substitute_ ? unknown_size(at) : token_size(id); }
  size_t taken_before(uint32_t id, const char* end) const;  // the same of the text that ends there
  bool falls_back_to_bytes() const { return byte_fallback_; }
  const std::vector<double>& scores() const { return scores_; }  // by id, or empty
  double score(uint32_t id) const { return scores_[id]; }
  double unknown_score() const { return unknown_score_; }
  const PieceTrie& trie() const { return trie_; }  // of a unigram vocabulary, or of words

  // Of words: the prefix of names, the node of trie() where tokens that go on a word begin, the longest word.
  const std::string& word_prefix() const { return word_prefix_; }
  uint32_t inside_words() const { return inside_words_; }
  uint32_t longest_word() const { return longest_word_; }

  // What a byte is before anything merges: its token, or substitute() where it has none.
  uint32_t byte_token(uint8_t byte) const { return byte_tokens_[byte]; }
  // Whether every byte has a token. Who encodes with a vocabulary that is not complete looks for substitute(): the unknown
  // token or, where there is none, max_tokens, which is the id of nothing.
  bool complete() const { return complete_; }
  uint32_t substitute() const { return substitute_; }
  bool within_a_token(uint8_t left, uint8_t right) const { return inside_[left << 2 | right >> 6] >> (right & 63) & 1; }

  // An orderly vocabulary, which every trained one is: the ids of the merged tokens grow with the rank of their merge and
  // are above those of the bytes, each is made by one merge, and of parts made before. Then the id is the rank, and
  // merged(), merged_bytes(), cut() may be asked. Of any other vocabulary only pair().
  bool orderly() const { return orderly_; }

  // What two neighbours merge into, or no_token.
  uint32_t merged(uint32_t left, uint32_t right) const {
    const uint64_t key = static_cast<uint64_t>(left) << 21 | right;
    for (size_t at = pair_slot(key);; at = (at + 1) & (merges_.size() - 1)) {
      if (merges_[at] >> 21 == key) return merges_[at] & (max_orderly - 1);
      if (merges_[at] == free_slot) return no_token;
    }
  }
  // The table behind merged(), for code that asks for many pairs at once: slots of left << 42 | right << 21 | token, all
  // ones where free, from (left << 21 | right) * merges_factor >> merges_shift on.
  static constexpr uint32_t max_orderly = 1u << 21;  // three ids fit 63 bits
  static constexpr uint64_t merges_factor = 0x9E3779B97F4A7C15ull;
  const uint64_t* merges_table() const { return merges_.data(); }
  size_t merges_size() const { return merges_.size(); }
  int merges_shift() const { return merges_shift_; }

  uint32_t merged_bytes(uint8_t left, uint8_t right) const { return merged_bytes_[left << 8 | right]; }

  // Whether text that ends with token `left` and text that begins with token `right` can be encoded apart: no merge
  // crosses the border. Both are the last and the first token of what their text becomes.
  bool cut(uint32_t left, uint32_t right) const;

  Pair pair(uint32_t left, uint32_t right) const;

  // All merges, lowest rank first: left part, right part, what they make.
  std::vector<std::array<uint32_t, 3>> merges() const;

 private:
  static constexpr uint64_t free_slot = ~uint64_t{0};
  struct Span {
    uint32_t start, size;  // in arena_; size 0 where no token has the id
  };
  struct Parts {
    uint32_t left, right;  // of a merged token; a byte is its own parts
  };
  struct Slot {
    uint32_t left, right;
    Pair value;
  };
  size_t pair_slot(uint64_t key) const { return key * merges_factor >> merges_shift_; }
  void add_tokens(VocabularySource& source);
  std::vector<bool> add_merges(const VocabularySource& source);
  void add_merges_from_ranks(const VocabularySource& source);
  void add(AddedToken token, bool made);
  void add_added_tokens(const VocabularySource& source, const std::vector<bool>& made);
  bool add_orderly_merges(const std::vector<uint32_t>& ids);
  void add_all_pairs(const std::vector<uint32_t>& ids, const std::vector<uint32_t>& ranks = {});  // by default the ids
  void reserve_merges(size_t count);
  void add_merge(uint32_t left, uint32_t right, uint32_t token);
  void reserve_pairs(size_t count);
  bool add_pair(uint32_t left, uint32_t right, Pair value);
  void add_characters(const VocabularySource& source);
  bool add_grouped_merges(const std::vector<std::array<uint32_t, 3>>& merges);
  void add_merges_from_scores();
  void build_trie();
  void add_words(const VocabularySource& source);
  uint32_t symbol_of(uint32_t code) const;
  size_t unknown_size(const char* at) const;

  std::string arena_;
  std::vector<Span> tokens_;     // by id
  std::vector<uint32_t> index_;  // open addressing: entry_of the tokens; 0 free
  uint32_t longest_ = 0;
  bool whole_pieces_ = true;
  bool ranked_;  // merges follow from the ranks of tokens
  bool orderly_ = false;
  bool complete_ = true;
  uint32_t substitute_ = no_token;
  std::vector<AddedToken> added_;
  std::unordered_map<std::string, uint32_t> added_ids_;  // by content
  uint32_t byte_tokens_[256];
  uint64_t inside_[1024] = {};  // bit left * 256 + right: some token holds the two bytes side by side

  std::vector<uint64_t> merges_;  // orderly
  int merges_shift_ = 63;
  std::vector<uint32_t> merged_bytes_;  // orderly: [256 * 256]
  std::vector<Parts> parts_;            // orderly: by id

  Units units_ = Units::bytes;
  bool byte_fallback_ = false, fuses_unknown_ = false;
  std::vector<double> scores_;  // by id, or empty
  double unknown_score_ = 0;
  std::vector<uint32_t> ascii_symbols_;  // [128]
  std::unordered_map<uint32_t, uint32_t> symbols_;  // by code point, beyond ASCII
  PieceTrie trie_;
  std::string word_prefix_;
  uint32_t inside_words_ = 0, longest_word_ = 0;

  std::vector<Slot> pairs_;  // not orderly: open addressing; left is no_token where free
};

}  // namespace nextword
