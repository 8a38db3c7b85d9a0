// The functions of bpe_known.h: written once, compiled for every x86-64 (or whatever the CPU is) and for AVX2.
#include "bpe_known.h"

#include "bpe_cpu.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace nextword {
namespace {

INLINE void probe_all(const ShortPieces& cache, std::string_view text, size_t begin, const uint32_t* ends, size_t count, Probe* probes) {
  const ShortPieces::Own own = cache.own();
  const char* const data = text.data();
  size_t near = count;  // pieces from here on begin too near to the end of the text to read 16 bytes
  while (near > 0 && (near > 1 ? ends[near - 2] : begin) + 16 > text.size()) --near;
  size_t from = begin;
  const auto probe = [&](size_t i, ShortKey key) {
    probes[i] = {key, own(key)};
    __builtin_prefetch(probes[i].slot);
    from = ends[i];
  };
  for (size_t i = 0; i < near; ++i) {
    const size_t size = ends[i] - from;
    probe(i, size > ShortKey::max_size ? ShortKey::none() : ShortKey::readable(data + from, size));
  }
  for (size_t i = near; i < count; ++i) {
    const size_t size = ends[i] - from;
    probe(i, size > ShortKey::max_size ? ShortKey::none() : ShortKey::any(data + from, size));
  }
}

INLINE bool equal(const ShortPieces::Slot& slot, const ShortKey& key) {
#if defined(__x86_64__)
  const __m128i a = _mm_load_si128(reinterpret_cast<const __m128i*>(&slot));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&key));
  return _mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) == 0xFFFF;
#else
  return ((slot.low ^ key.low) | (slot.high ^ key.high)) == 0;
#endif
}

template <bool narrow>
INLINE uint32_t* write_all(const Probe* probes, size_t& at, size_t count, uint32_t* out) {
  size_t i = at;
  for (; i < count; ++i) {
    const ShortPieces::Slot* slot = probes[i].slot;
    if (__builtin_expect(!equal(*slot, probes[i].key), 0)) break;
    slot->ids.write<narrow>(out);
    __asm__("" : "+r"(slot));  // else the number is taken out of the vector that was written, which takes longer
    out += slot->ids.count();
  }
  at = i;
  return out;
}

void probe(const ShortPieces& cache, std::string_view text, size_t begin, const uint32_t* ends, size_t count, Probe* probes) {
  probe_all(cache, text, begin, ends, count, probes);
}
template <bool narrow>
uint32_t* write(const Probe* probes, size_t& at, size_t count, uint32_t* out) {
  return write_all<narrow>(probes, at, count, out);
}

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx2,bmi,bmi2")))

TARGET void probe_avx2(const ShortPieces& cache, std::string_view text, size_t begin, const uint32_t* ends, size_t count, Probe* probes) {
  probe_all(cache, text, begin, ends, count, probes);
}
template <bool narrow>
TARGET uint32_t* write_avx2(const Probe* probes, size_t& at, size_t count, uint32_t* out) {
  return write_all<narrow>(probes, at, count, out);
}

#undef TARGET

#endif

}  // namespace

KnownPieces known_pieces(bool narrow) {
#if defined(__x86_64__)
  static const bool fits = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
  if (fits && special_instructions) return {probe_avx2, narrow ? write_avx2<true> : write_avx2<false>};
#endif
  return {probe, narrow ? write<true> : write<false>};
}

}  // namespace nextword
