// Byte-pair encoding: text to token ids and back. Vocabulary files are read elsewhere (bpe_files.h).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bpe_added.h"
#include "bpe_cache.h"
#include "bpe_known.h"
#include "bpe_lanes.h"
#include "bpe_vocabulary.h"
#include "pretokenize.h"
#include "raw_buffer.h"

namespace nextword {

// What encoding throws where a byte of the text has no token.
class UnknownByte : public std::invalid_argument {
 public:
  // text: what was being encoded, `before` bytes after the beginning of the whole text; offset: of the byte in it
  UnknownByte(std::string_view text, size_t offset, size_t before = 0);
  const size_t offset;
};

// One thread's working memory over a vocabulary.
class Encoder {
 public:
  Encoder(const Vocabulary& vocabulary, Pattern pattern)
      : vocabulary_(vocabulary), pattern_(pattern), narrow_((vocabulary.complete() || vocabulary.units() == Vocabulary::Units::words) && vocabulary.size() <= size_t{1} << 16), known_(known_pieces(narrow_)) {}

  void encode(std::string_view text, IdBuffer& ids);  // appends; throws UnknownByte
  size_t count(std::string_view text);                // without keeping the ids
  // Of a vocabulary of words: the same, and the bytes that each id stands for.
  void encode_words(std::string_view text, IdBuffer& ids);
  void encode_words(std::string_view text, IdBuffer& ids, std::vector<std::pair<size_t, size_t>>& ranges);

 private:
  struct Unknown {  // a short piece that no cache knows; its ids belong before ids[at]
    ShortKey key;
    std::string_view piece;
    size_t at;
    uint32_t count = 0;
  };
  struct LaneIds {
    uint32_t ids[lanes];
  };
  static constexpr size_t at_once = ~size_t{0};
  void check_known(std::string_view text, const uint32_t* ids, size_t count) const;
  template <class Settled>
  void encode_chunks(std::string_view text, IdBuffer& ids, const Settled& settled);
  uint32_t* encode_chunk(std::string_view text, size_t begin, const uint32_t* ends, size_t count, uint32_t* out, size_t at);
  uint32_t* encode_other(const Probe& probe, std::string_view piece, uint32_t* out, size_t at);
  uint32_t* kept(uint64_t position, uint32_t* out) const;
  uint32_t* known_short(ShortKey key, uint32_t* out);
  uint32_t* merge_short(ShortKey key, std::string_view piece, uint32_t* out);
  void remember_short(ShortKey key, const uint32_t* ids, uint32_t count);
  void merge_unknown(IdBuffer& buffer, size_t first);
  uint32_t* whole_piece(std::string_view piece, uint32_t* out) const;
  uint32_t* encode_long(std::string_view piece, uint32_t* out);
  uint32_t* encode_parts(std::string_view piece, uint32_t* out);
  uint32_t* encode_part(std::string_view part, uint32_t* out);
  uint32_t* encode_remembered(std::string_view part, uint32_t* out);
  uint32_t* encode_windows(std::string_view part, uint32_t* out);
  uint32_t* merge(std::string_view piece, uint32_t* out);
  template <class Use>
  void each_word(std::string_view text, IdBuffer& ids, const Use& use);
  uint32_t* encode_word(const ShortPieces::Own& own, std::string_view text, size_t begin, size_t end, uint32_t* out);

  const Vocabulary& vocabulary_;
  Pattern pattern_;
  bool narrow_;  // all ids are below 2^16, that of nothing too
  KnownPieces known_;
  ShortPieces short_pieces_;
  LongPieces long_pieces_;
  std::vector<Unknown> unknown_;
  std::vector<LaneIds> unknown_ids_;
  std::vector<uint32_t> waiting_;  // indices of unknown_ to be merged
  size_t unknown_bytes_ = 0;
};

// A vocabulary with a pattern and rules, and encoders for the threads that use it. Every function may be called from several
// threads at once; each call has an encoder of its own, and at most `max_idle` are kept for the next calls.
class Bpe {
 public:
  static constexpr size_t max_idle = 64;

  // Throws std::out_of_range where the rules name an id that the vocabulary does not have.
  Bpe(VocabularySource source, Pattern pattern, TextRules rules = {});

  const Vocabulary& vocabulary() const { return vocabulary_; }
  Pattern pattern() const { return pattern_; }
  const TextRules& rules() const { return rules_; }

  // Whether a text is split and merged and nothing else, while no special token is allowed. Then it may be encoded in
  // parts that end where a piece does.
  bool plain() const { return plain_; }

  // Appends the ids of `text` (valid UTF-8) to `ids`: of all of it as if plain(), or as the request says.
  // Throws std::invalid_argument from 4 GiB on, and UnknownByte.
  void encode(std::string_view text, IdBuffer& ids) const;
  void encode(std::string_view text, const Request& request, IdBuffer& ids) const;
  size_t count(std::string_view text) const;

  // The same, and for each id the bytes of `text` that it stands for, as a half-open range.
  using Offsets = std::vector<std::pair<size_t, size_t>>;
  void encode(std::string_view text, const Request& request, IdBuffer& ids, Offsets& offsets) const;

  // Ranges of bytes as ranges of the characters that hold any of them.
  static void in_characters(std::string_view text, Offsets& offsets);

  // What is encoded apart, one after the other: added tokens, and pieces that are merged.
  void pieces(std::string_view text, const Request& request, const std::function<void(std::string_view)>& use) const;

  // Texts for encode_batch, which asks for them from several threads at once.
  class Texts {
   public:
    virtual ~Texts() = default;
    virtual size_t count() const = 0;
    virtual size_t size(size_t i) const = 0;  // of text i, roughly: by this the work is divided
    virtual std::string_view utf8(size_t i, TextBuffer& buffer) const = 0;  // may stand in `buffer`, whose content is lost
  };
  // The ids of some neighbouring texts, one after the other, and how many each has.
  struct Portion {
    size_t first = 0;
    IdBuffer ids;
    std::vector<uint32_t> counts;
  };
  // The ids of each text as `request` has them, divided over threads; the ids of a text do not depend on how. threads: at most so many.
  // hand_over: called on the calling thread with the portions in the order of their texts, some at a time, while the
  // other threads go on; returns whether to go on. Throws as encode and Texts::utf8 do, the error of the first text that
  // has one; some portions have been handed over then.
  void encode_batch(const Texts& texts, const Request& request, int threads,
                    const std::function<bool(const std::vector<Portion*>&)>& hand_over) const;

 private:
  class Borrowed;
  class Batch;
  void encode(Encoder& encoder, std::string_view text, const Request& request, IdBuffer& ids) const;
  void fuse(IdBuffer& ids, size_t first) const;

  Vocabulary vocabulary_;
  Pattern pattern_;
  TextRules rules_;
  AddedTokens added_;
  bool plain_;
  mutable std::mutex mutex_;  // of idle_, held for an exchange only
  mutable std::vector<std::unique_ptr<Encoder>> idle_;
};

// An encoder for the time of one call.
class Bpe::Borrowed {
 public:
  explicit Borrowed(const Bpe& bpe) : bpe_(bpe) {
    {
      const std::lock_guard<std::mutex> lock(bpe.mutex_);
      bpe.idle_.reserve(max_idle);  // giving it back cannot fail then
      if (!bpe.idle_.empty()) {
        encoder_ = std::move(bpe.idle_.back());
        bpe.idle_.pop_back();
      }
    }
    if (!encoder_) encoder_ = std::make_unique<Encoder>(bpe.vocabulary_, bpe.pattern_);
  }
  ~Borrowed() {
    const std::lock_guard<std::mutex> lock(bpe_.mutex_);
    if (bpe_.idle_.size() < max_idle) bpe_.idle_.push_back(std::move(encoder_));
  }
  Borrowed(const Borrowed&) = delete;
  Encoder* operator->() const { return encoder_.get(); }
  Encoder* get() const { return encoder_.get(); }

 private:
  const Bpe& bpe_;
  std::unique_ptr<Encoder> encoder_;
};

}  // namespace nextword
