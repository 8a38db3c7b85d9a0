// What a byte-level BPE tokenizer knows: tokens, merges, special tokens. Built once, checked, then only read.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nextword {

constexpr uint32_t no_token = 0xFFFFFFFFu;
constexpr uint32_t max_tokens = 1u << 24;  // ids stay below this; the largest published vocabulary has 2^18

// Vocabulary files as they are read, before anything is checked against anything else.
struct VocabularySource {
  struct Token {
    uint32_t id, start, size;  // bytes [start, start + size) of `bytes`
    uint32_t line;             // where the file names it
    bool spelled;              // false: the name holds characters that spell no byte and stands in UTF-8
  };
  struct Merge {
    uint32_t left_start, left_size, right_size, line;  // the two parts stand next to each other in `bytes`
  };
  std::string bytes;
  std::vector<Token> tokens;
  std::vector<Merge> merges;  // lowest rank first
  std::vector<std::pair<std::string, uint32_t>> specials;
  bool has_merges = false;   // false: any two neighbours whose bytes make a token may merge, lowest id first (tiktoken)
  bool whole_pieces = true;  // a piece that is a token becomes it, merges or not
  bool unmade_are_special = false;  // a token of several bytes that no merge makes is a special token (vocab.json)
  std::string tokens_file, merges_file;  // for messages
  std::string settings;                  // tokenizer.json without its vocabulary and merges
};

class Vocabulary {
 public:
  struct Pair {
    uint32_t rank, token;  // no_token, no_token where the two do not merge
  };

  // Throws std::invalid_argument with file and line for: an id given twice, a token given twice, ids with holes that
  // no special token fills, an id of 2^24 or more, an empty token, a byte without a token, a merge of unknown parts,
  // a merge into an unknown token, a merge given twice.
  explicit Vocabulary(VocabularySource source);

  size_t size() const { return starts_.size(); }  // highest id + 1; ids of holes are counted
  bool has(uint32_t id) const { return id < size() && sizes_[id] != 0; }
  std::string_view bytes(uint32_t id) const { return {arena_.data() + starts_[id], sizes_[id]}; }  // has(id)
  const char* data(uint32_t id) const { return arena_.data() + starts_[id]; }  // 16 bytes may be read from here
  uint32_t token_size(uint32_t id) const { return sizes_[id]; }
  uint32_t longest() const { return longest_; }

  // The id of a token that text can become (no special token), or no_token.
  uint32_t find(std::string_view token) const;
  uint32_t find_special(std::string_view name) const;
  const std::vector<std::pair<std::string, uint32_t>>& specials() const { return specials_; }

  bool whole_pieces() const { return whole_pieces_; }
  uint32_t byte_token(uint8_t byte) const { return byte_tokens_[byte]; }
  Pair byte_pair(uint8_t left, uint8_t right) const { return byte_pairs_[left << 8 | right]; }
  Pair pair(uint32_t left, uint32_t right) const;

 private:
  struct Slot {
    uint32_t left, right;
    Pair value;
  };
  void add_tokens(VocabularySource& source);
  void make_special(uint32_t id, std::string name);
  void add_specials(const VocabularySource& source);
  void add_merges(const VocabularySource& source);
  void add_merges_from_ranks(const VocabularySource& source);
  void reserve_pairs(size_t count);
  bool add_pair(uint32_t left, uint32_t right, Pair value);

  std::string arena_;
  std::vector<uint32_t> starts_, sizes_;
  std::vector<uint32_t> index_;  // open addressing: id + 1; 0 free; no_token erased
  uint32_t longest_ = 0;
  bool whole_pieces_ = true;
  std::vector<std::pair<std::string, uint32_t>> specials_;
  uint32_t byte_tokens_[256];
  std::vector<Pair> byte_pairs_;  // [256 * 256]
  std::vector<Slot> pairs_;       // open addressing; left is no_token where free
  size_t pair_count_ = 0;
};

}  // namespace nextword
