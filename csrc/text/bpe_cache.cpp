// The caches of bpe_cache.h.
#include "bpe_cache.h"

#include <cstdlib>
#include <new>
#include <utility>

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

// From 2 MiB on straight from the system: zero already, and where it has huge pages a probe seldom misses the TLB.
void ShortPieces::allocate(int bits) {
  constexpr size_t huge_page = size_t{2} << 20;
  const size_t size = sizeof(Slot) << bits;
#if defined(__linux__)
  if (size >= huge_page) {
    void* memory = mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mapped_ = size + huge_page;
    memory_ = memory;
    const auto aligned = (reinterpret_cast<uintptr_t>(memory) + huge_page - 1) & ~(huge_page - 1);
    slots_ = reinterpret_cast<Slot*>(aligned);
    madvise(slots_, size, MADV_HUGEPAGE);
  } else
#endif
  {
    memory_ = std::aligned_alloc(64, size);
    if (!memory_) throw std::bad_alloc();
    mapped_ = 0;
    slots_ = static_cast<Slot*>(memory_);
    std::memset(slots_, 0, size);
  }
  bits_ = bits;
  shift_ = 64 - bits;
  used_ = 0;
}

void ShortPieces::release(void* memory, size_t mapped) {
#if defined(__linux__)
  if (mapped) {
    munmap(memory, mapped);
    return;
  }
#endif
  (void)mapped;
  std::free(memory);
}

const ShortPieces::Slot* ShortPieces::find(ShortKey key) {
  const auto at = static_cast<size_t>(own()(key) - slots_);
  for (size_t i = 0; i < 4; ++i) {
    if (!slots_[at ^ i].holds(key)) continue;
    if (i > 0) std::swap(slots_[at], slots_[at ^ i]);
    return &slots_[at];
  }
  return nullptr;
}

void ShortPieces::add(ShortKey key, PackedIds ids) {
  const Slot added{key.low, key.high | static_cast<uint64_t>(ids.count() == 0) << 63, ids};
  const auto at = static_cast<size_t>(own()(key) - slots_);
  for (size_t i = 0; i < 4; ++i) {
    if (slots_[at ^ i].holds(key)) {
      slots_[at ^ i] = added;
      return;
    }
  }
  size_t free = 0;
  while (free < 3 && slots_[at ^ free].high) ++free;
  used_ += slots_[at ^ free].high == 0;
  for (; free > 0; --free) slots_[at ^ free] = slots_[at ^ (free - 1)];
  slots_[at] = added;
}

void ShortPieces::grow_if_crowded() {
  const size_t slots = size_t{1} << bits_;
  if (used_ * 4 < slots || bits_ >= last_bits) return;  // fuller, groups overflow
  const Slot* old = slots_;
  void* const old_memory = memory_;
  const size_t old_mapped = mapped_;
  allocate(bits_ + 3 < last_bits ? bits_ + 2 : last_bits);
  for (size_t i = 0; i < slots; ++i) {
    if (old[i].high) add({old[i].low, old[i].high << 1 >> 1}, old[i].ids);
  }
  release(old_memory, old_mapped);
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
