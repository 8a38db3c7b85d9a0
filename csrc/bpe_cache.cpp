// The caches of bpe_cache.h.
#include "bpe_cache.h"

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nextword {
namespace {

constexpr uint64_t all = ~uint64_t{0};
constexpr uint64_t low_bytes(int count) { return count <= 0 ? 0 : count >= 8 ? all : all >> (64 - 8 * count); }

}  // namespace

const uint64_t ShortKey::masks[32] = {
    low_bytes(0),  low_bytes(1),  low_bytes(2),  low_bytes(3),  low_bytes(4),  low_bytes(5),  low_bytes(6),  low_bytes(7),
    low_bytes(8),  low_bytes(9),  low_bytes(10), low_bytes(11), low_bytes(12), low_bytes(13), low_bytes(14), low_bytes(15),
    low_bytes(-8), low_bytes(-7), low_bytes(-6), low_bytes(-5), low_bytes(-4), low_bytes(-3), low_bytes(-2), low_bytes(-1),
    low_bytes(0),  low_bytes(1),  low_bytes(2),  low_bytes(3),  low_bytes(4),  low_bytes(5),  low_bytes(6),  low_bytes(7)};

ShortPieces::ShortPieces() { allocate(first_bits); }

void ShortPieces::allocate(int bits) {
  constexpr size_t huge_page = size_t{2} << 20;
  const size_t size = sizeof(Slot) * 2 << bits;
  const size_t alignment = size >= huge_page ? huge_page : 64;
  void* memory = std::aligned_alloc(alignment, size);
  if (!memory) throw std::bad_alloc();
#if defined(__linux__)
  if (size >= huge_page) madvise(memory, size, MADV_HUGEPAGE);  // a probe then seldom misses the TLB; only a wish
#endif
  std::memset(memory, 0, size);
  memory_ = memory;
  memory_size_ = size;
  slots_ = static_cast<Slot*>(memory);
  bits_ = bits;
  shift_ = 64 - bits;
  used_ = 0;
}

void ShortPieces::release() { std::free(memory_); }

void ShortPieces::add(ShortKey key, const uint32_t* ids, int32_t count) {
  Slot* slot = slots_ + place(key);
  if (slot[0].high == key.high && slot[0].low == key.low) {
    // known, but what LongPieces had of it is overwritten
  } else if (slot[0].high != 0) {
    used_ += slot[1].high == 0;
    slot[1] = slot[0];
  } else {
    ++used_;
  }
  slot[0] = {key.low, key.high, {ids[0], ids[1], ids[2]}, count};
}

void ShortPieces::grow_if_crowded() {
  const size_t slots = size_t{2} << bits_;
  if (used_ * 2 < slots || bits_ >= last_bits) return;
  const Slot* old = slots_;
  void* old_memory = memory_;
  allocate(bits_ + 2 < last_bits ? bits_ + 2 : last_bits);
  for (size_t i = slots; i-- > 0;) {  // the older one of each bucket first
    if (old[i].high) add({old[i].low, old[i].high}, old[i].ids, old[i].count);
  }
  std::free(old_memory);
}

LongPieces::LongPieces() : ring_(first_ring), buckets_(first_buckets) {}

uint64_t LongPieces::hash(std::string_view piece) {
  uint64_t h = piece.size() * 0x9E3779B97F4A7C15ull;
  const char* p = piece.data();
  size_t n = piece.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = (h ^ word) * 0xD6E8FEB86659FD93ull;
    h ^= h >> 32;
  }
  uint64_t word = 0;
  if (n) std::memcpy(&word, p, n);
  h = (h ^ word) * 0xD6E8FEB86659FD93ull;
  return h ^ h >> 32;
}

LongPieces::Ids LongPieces::at(uint64_t position) const {
  if (!valid(position)) return {nullptr, 0};
  const Record* r = record(position);
  return {reinterpret_cast<const uint32_t*>(r + 1), r->count};
}

LongPieces::Ids LongPieces::find(uint64_t hash, std::string_view piece) const {
  for (const Entry& entry : buckets_[hash & (buckets_.size() - 1)].entries) {
    if (entry.hash != hash || entry.position == 0 || !valid(entry.position - 1)) continue;
    const Record* r = record(entry.position - 1);
    const auto* ids = reinterpret_cast<const uint32_t*>(r + 1);
    if (r->size == piece.size() && std::memcmp(ids + r->count, piece.data(), piece.size()) == 0) return {ids, r->count};
  }
  return {nullptr, 0};
}

uint64_t LongPieces::write(std::string_view piece, const uint32_t* ids, uint32_t count) {
  const size_t need = (sizeof(Record) + 4 * size_t{count} + piece.size() + 7) / 8 * 8;
  if (head_ + need > ring_.size() && ring_.size() < last_ring) ring_.resize(ring_.size() * 4);  // not yet a ring
  const size_t capacity = ring_.size();
  if (head_ % capacity + need > capacity) head_ += capacity - head_ % capacity;  // a record lies in one piece
  const uint64_t position = head_;
  head_ += need;
  auto* r = reinterpret_cast<Record*>(ring_.data() + (position & (capacity - 1)));
  *r = {static_cast<uint32_t>(piece.size()), count};
  std::memcpy(r + 1, ids, 4 * size_t{count});
  if (!piece.empty()) std::memcpy(reinterpret_cast<char*>(r + 1) + 4 * size_t{count}, piece.data(), piece.size());
  return position;
}

void LongPieces::add(uint64_t hash, std::string_view piece, const uint32_t* ids, uint32_t count) {
  if (++entries_ > buckets_.size() * 2 && buckets_.size() < last_buckets) {
    std::vector<Bucket> old(buckets_.size() * 4);
    old.swap(buckets_);
    for (const Bucket& bucket : old) {
      for (const Entry& entry : bucket.entries) {
        if (entry.position) insert(entry);
      }
    }
  }
  insert({hash, write(piece, ids, count) + 1});
}

void LongPieces::insert(Entry entry) {
  Entry* oldest = nullptr;
  for (Entry& e : buckets_[entry.hash & (buckets_.size() - 1)].entries) {
    if (!oldest || e.position < oldest->position) oldest = &e;
  }
  *oldest = entry;
}

}  // namespace nextword
