// Pieces seen before and their ids: what makes encoding faster than merging. One cache serves one thread at a time.
// Bounded: both parts start small and grow to at most 8 MiB (short pieces) and 5 MiB (the rest), then forget.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace nextword {

// The ids of pieces of up to some hundred bytes, in a ring of memory: the oldest are overwritten.
class LongPieces {
 public:
  struct Ids {
    const uint32_t* data;  // an even number may be read
    uint32_t count;        // 0: not known
  };

  LongPieces();
  Ids find(uint64_t hash, std::string_view piece) const;
  void add(uint64_t hash, std::string_view piece, const uint32_t* ids, uint32_t count);

  // Ids alone, for a caller that knows where they are. Positions only grow; at() fails once they are overwritten.
  uint64_t keep(const uint32_t* ids, uint32_t count) { return write({}, ids, count); }
  Ids at(uint64_t position) const;

  static uint64_t hash(std::string_view piece);

 private:
  static constexpr size_t first_ring = size_t{1} << 16, last_ring = size_t{1} << 22;      // bytes
  static constexpr size_t first_buckets = size_t{1} << 8, last_buckets = size_t{1} << 14;
  struct Record {
    uint32_t size, count;  // then ids [count], then bytes [size]
  };
  struct Entry {
    uint64_t hash, position;  // position + 1; 0 free
  };
  struct Bucket {
    Entry entries[4];
  };
  bool valid(uint64_t position) const { return position + ring_.size() >= head_; }
  uint64_t write(std::string_view piece, const uint32_t* ids, uint32_t count);
  void insert(Entry entry);
  const Record* record(uint64_t position) const {
    return reinterpret_cast<const Record*>(ring_.data() + (position & (ring_.size() - 1)));
  }

  std::vector<unsigned char> ring_;  // a power of two; records begin at multiples of 8
  uint64_t head_ = 0;           // bytes ever written
  std::vector<Bucket> buckets_;
  size_t entries_ = 0;
};

// A piece of at most 15 bytes as two words.
struct ShortKey {
  uint64_t low, high;  // the bytes, zeros after them, the size in the topmost byte

  static constexpr size_t max_size = 15;

  // 16 bytes may be read at p
  static ShortKey readable(const char* p, size_t size) {
    uint64_t words[2];
    std::memcpy(words, p, 16);
    return {words[0] & masks[size], (words[1] & masks[size + 16]) | static_cast<uint64_t>(size) << 56};
  }
  static ShortKey any(const char* p, size_t size) {
    uint64_t words[2] = {0, 0};
    std::memcpy(words, p, size);
    return {words[0], words[1] | static_cast<uint64_t>(size) << 56};
  }
  static ShortKey none() { return {~uint64_t{0}, ~uint64_t{0}}; }  // of a longer piece: equal to no key that is kept

 private:
  static const uint64_t masks[32];  // [size]: bytes of the first word; [16 + size]: of the second
};

// The ids of a short piece as a slot has them: up to 7 where all ids of the vocabulary are below 2^16 (narrow), up to 3
// else. More are in LongPieces.
class PackedIds {
 public:
  static constexpr uint32_t most(bool narrow) { return narrow ? 7 : 3; }
  static constexpr uint32_t slack = 8;

  PackedIds(const uint32_t* ids, uint32_t count, bool narrow) {  // count <= most(narrow)
    if (narrow) {
      for (uint32_t i = 0; i < count; ++i) words_[i] = static_cast<uint16_t>(ids[i]);
    } else {
      std::memcpy(words_, ids, sizeof *ids * count);
    }
    words_[7] = static_cast<uint16_t>(count);
  }
  explicit PackedIds(uint64_t position) { std::memcpy(words_, &position, sizeof position); }

  uint32_t count() const { return words_[7]; }  // 0: the ids are in LongPieces, at position()
  uint64_t position() const {
    uint64_t position;
    std::memcpy(&position, words_, sizeof position);
    return position;
  }
  // Writes the ids. What stands in the `slack` numbers from `out` on is lost.
  template <bool narrow>
  void write(uint32_t* out) const {
    if (!narrow) {
      std::memcpy(out, words_, sizeof words_);
      return;
    }
    for (int i = 0; i < 8; ++i) out[i] = words_[i];
  }

 private:
  uint16_t words_[8] = {};
};

// Short pieces with their ids. Each piece has one slot of its own, found by its hash, and lives there or, until it is
// asked for again, in one of the three slots beside it: four make a group of two cache lines.
class ShortPieces {
 public:
  struct alignas(32) Slot {
    uint64_t low, high;  // of the key; high is 0 where the slot is free, and has its topmost bit set where `ids` has a position
    PackedIds ids;

    bool holds(ShortKey key) const { return ((low ^ key.low) | (high ^ key.high) << 1) == 0; }
  };

  ShortPieces();
  ~ShortPieces() { release(memory_, mapped_); }
  ShortPieces(const ShortPieces&) = delete;

  // The slot of a piece. It holds the piece, or another one, or nothing.
  struct Own {
    const Slot* slots;
    int shift;
    const Slot* operator()(ShortKey key) const { return slots + ((key.low + key.high * 8) * 0x9E3779B97F4A7C15ull >> shift); }
  };
  Own own() const { return {slots_, shift_}; }
  // The slot of a piece, which holds it now, or nullptr where none of the group does.
  const Slot* find(ShortKey key);
  void prefetch_group(const Slot* own) const { __builtin_prefetch(slots_ + (static_cast<size_t>(own - slots_) ^ 2)); }

  // A piece that find() does not know, or whose ids LongPieces has lost. Drives out the oldest of a full group.
  void add(ShortKey key, PackedIds ids);
  void grow_if_crowded();  // makes every Own of before invalid

 private:
  static constexpr int first_bits = 11, last_bits = 18;  // slots: 2^bits
  void allocate(int bits);
  static void release(void* memory, size_t mapped);

  Slot* slots_ = nullptr;
  void* memory_ = nullptr;
  size_t mapped_ = 0;  // bytes of memory_ if it came from mmap
  int bits_ = 0, shift_ = 0;
  size_t used_ = 0;
};

}  // namespace nextword
