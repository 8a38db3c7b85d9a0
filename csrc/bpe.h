// Byte-pair encoding: text to token ids and back. Vocabulary files are read elsewhere (bpe_files.h).
#pragma once
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bpe_cache.h"
#include "bpe_known.h"
#include "bpe_lanes.h"
#include "bpe_vocabulary.h"
#include "pretokenize.h"

namespace nextword {

// Asks the system to back memory with huge pages, where it does such a thing: new memory is then given out in some
// large steps instead of thousands of small ones. Changes nothing but speed.
void prefer_huge_pages(void* memory, size_t size);

// Ids as they are written: a vector that leaves new memory as it is.
class IdBuffer {
 public:
  IdBuffer() = default;
  ~IdBuffer() { std::free(data_); }
  IdBuffer(IdBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), capacity_(std::exchange(other.capacity_, 0)) {}
  IdBuffer& operator=(IdBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  IdBuffer(const IdBuffer&) = delete;

  const uint32_t* data() const { return data_; }
  uint32_t* data() { return data_; }
  size_t size() const { return size_; }
  void resize(size_t size) { size_ = size; }  // at most what reserve made room for
  void clear() { size_ = 0; }
  uint32_t* reserve(size_t more) {            // the end, with room for `more` ids
    if (size_ + more > capacity_) grow(size_ + more);
    return data_ + size_;
  }
  void push_back(uint32_t id) {
    *reserve(1) = id;
    ++size_;
  }

 private:
  void grow(size_t need);
  uint32_t* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

// One thread's working memory over a vocabulary.
class Encoder {
 public:
  Encoder(const Vocabulary& vocabulary, Pattern pattern)
      : vocabulary_(vocabulary), pattern_(pattern), narrow_(vocabulary.size() <= size_t{1} << 16), known_(known_pieces(narrow_)) {}

  void encode(std::string_view text, IdBuffer& ids);  // appends
  size_t count(std::string_view text);                // without keeping the ids

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

  const Vocabulary& vocabulary_;
  Pattern pattern_;
  bool narrow_;  // all ids are below 2^16
  KnownPieces known_;
  ShortPieces short_pieces_;
  LongPieces long_pieces_;
  std::vector<Unknown> unknown_;
  std::vector<LaneIds> unknown_ids_;
  std::vector<uint32_t> waiting_;  // indices of unknown_ to be merged
  size_t unknown_bytes_ = 0;
};

// A vocabulary with a pattern, and encoders for the threads that use it. Every function may be called from several
// threads at once; each call has an encoder of its own, and at most `max_idle` are kept for the next calls.
class Bpe {
 public:
  static constexpr size_t max_idle = 64;

  Bpe(VocabularySource source, Pattern pattern) : vocabulary_(std::move(source)), pattern_(pattern) {}

  const Vocabulary& vocabulary() const { return vocabulary_; }
  Pattern pattern() const { return pattern_; }

  // Appends the ids of `text` (valid UTF-8) to `ids`. Special tokens are plain text here.
  // Throws std::invalid_argument from 4 GiB on.
  void encode(std::string_view text, IdBuffer& ids) const;
  size_t count(std::string_view text) const;

  // The ids of some neighbouring texts, one after the other, and how many each has.
  struct Portion {
    size_t first = 0;
    IdBuffer ids;
    std::vector<uint32_t> counts;
  };
  // The ids of each text, divided over threads; the ids of a text do not depend on how. threads: at most so many.
  // hand_over: called on the calling thread with the portions in the order of their texts, some at a time, while the
  // other threads go on; returns whether to go on. Throws as encode does, then some portions have been handed over.
  void encode_batch(const std::vector<std::string_view>& texts, int threads,
                    const std::function<bool(const std::vector<Portion*>&)>& hand_over) const;

 private:
  class Borrowed;
  class Batch;
  Vocabulary vocabulary_;
  Pattern pattern_;
  mutable std::mutex mutex_;  // of idle_, held for an exchange only
  mutable std::vector<std::unique_ptr<Encoder>> idle_;
};

}  // namespace nextword
