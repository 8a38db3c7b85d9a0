// bpe_lanes.h with AVX-512.
#include "bpe_lanes.h"

#include "bpe_cpu.h"

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC's own headers: the operands that a mask leaves out
#endif
#include <immintrin.h>
#endif

namespace nextword {
namespace {

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512cd,avx512vl")))

// Eight pairs in 64-bit lanes on their way through the table.
struct Search {
  __m512i key, at, found;
  __mmask8 wanted;
};

TARGET inline Search search(const Vocabulary& v, __mmask8 wanted, __m256i left, __m256i right) {
  const __m512i key = _mm512_or_si512(_mm512_slli_epi64(_mm512_cvtepu32_epi64(left), 21), _mm512_cvtepu32_epi64(right));
  const __m512i factor = _mm512_set1_epi64(static_cast<long long>(Vocabulary::merges_factor));
  const __m512i at = _mm512_srl_epi64(_mm512_mullo_epi64(key, factor), _mm_cvtsi32_si128(v.merges_shift()));
  return {key, at, _mm512_set1_epi64(-1), wanted};
}

TARGET inline void probe(const uint64_t* table, __m512i mask, Search& s) {
  const __m512i free = _mm512_set1_epi64(-1);
  const __m512i slot = _mm512_mask_i64gather_epi64(free, s.wanted, s.at, table, 8);
  const __mmask8 hit = _mm512_mask_cmpeq_epi64_mask(s.wanted, _mm512_srli_epi64(slot, 21), s.key);
  const __mmask8 miss = _mm512_mask_cmpeq_epi64_mask(s.wanted, slot, free);
  s.found = _mm512_mask_and_epi64(s.found, hit, slot, _mm512_set1_epi64(Vocabulary::max_orderly - 1));
  s.wanted = static_cast<__mmask8>(s.wanted & ~(hit | miss));
  s.at = _mm512_and_si512(_mm512_add_epi64(s.at, _mm512_set1_epi64(1)), mask);
}

TARGET inline __m256i low_half(__m512i v) { return _mm512_castsi512_si256(v); }
TARGET inline __m256i high_half(__m512i v) { return _mm512_extracti64x4_epi64(v, 1); }
TARGET inline __m512i joined(const Search& low, const Search& high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(low.found)), _mm512_cvtepi64_epi32(high.found), 1);
}

// What each token merges into with the one after it and with the one before it, or no_token. All probes of a round are
// under way at once.
TARGET inline void merged_both_ways(const Vocabulary& v, __m512i token, __mmask16 has_after, __m512i after, __mmask16 has_before,
                                    __m512i before, __m512i& with_after, __m512i& with_before) {
  Search a = search(v, static_cast<__mmask8>(has_after), low_half(token), low_half(after));
  Search b = search(v, static_cast<__mmask8>(has_after >> 8), high_half(token), high_half(after));
  Search c = search(v, static_cast<__mmask8>(has_before), low_half(before), low_half(token));
  Search d = search(v, static_cast<__mmask8>(has_before >> 8), high_half(before), high_half(token));
  const uint64_t* const table = v.merges_table();
  const __m512i mask = _mm512_set1_epi64(static_cast<long long>(v.merges_size() - 1));
  while (a.wanted | b.wanted | c.wanted | d.wanted) {
    probe(table, mask, a);
    probe(table, mask, b);
    probe(table, mask, c);
    probe(table, mask, d);
  }
  with_after = joined(a, b);
  with_before = joined(c, d);
}

TARGET inline __m512i highest_bit(__m512i bits) { return _mm512_sub_epi32(_mm512_set1_epi32(31), _mm512_lzcnt_epi32(bits)); }
TARGET inline __m512i lowest_only(__m512i bits) { return _mm512_and_si512(bits, _mm512_sub_epi32(_mm512_setzero_si512(), bits)); }

// A rank and a position as one key, as in merge_few: the smallest key of a lane is its next merge.
TARGET inline __m512i key_of(__m512i token, __m512i at) {
  const __m512i none = _mm512_set1_epi32(-1);
  return _mm512_mask_or_epi32(none, _mm512_cmpneq_epi32_mask(token, none), _mm512_slli_epi32(token, 4), at);
}

TARGET void avx512(const Vocabulary& vocabulary, const std::string_view* pieces, unsigned count, uint32_t (*ids)[lanes], uint32_t* counts) {
  alignas(64) uint32_t tokens[lanes][lanes], keys[lanes][lanes], alive_of[lanes] = {};  // [position][lane]
  const __m512i none = _mm512_set1_epi32(-1), zero = _mm512_setzero_si512(), one = _mm512_set1_epi32(1);
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  size_t longest = 1;
  for (unsigned i = 0; i < count; ++i) longest = pieces[i].size() > longest ? pieces[i].size() : longest;
  for (size_t j = 0; j < longest; ++j) _mm512_store_si512(keys[j], none);
  for (unsigned i = 0; i < count; ++i) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(pieces[i].data());
    const size_t size = pieces[i].size();
    alive_of[i] = (1u << size) - 1;
    tokens[0][i] = vocabulary.byte_token(bytes[0]);
    for (size_t j = 1; j < size; ++j) {
      tokens[j][i] = vocabulary.byte_token(bytes[j]);
      const uint32_t token = vocabulary.merged_bytes(bytes[j - 1], bytes[j]);
      if (token != no_token) keys[j - 1][i] = token << 4 | static_cast<uint32_t>(j - 1);
    }
  }
  __m512i alive = _mm512_load_si512(alive_of);
  for (;;) {
    __m512i best = _mm512_load_si512(keys[0]);
    for (size_t j = 1; j + 1 < longest; ++j) best = _mm512_min_epu32(best, _mm512_load_si512(keys[j]));
    const __mmask16 active = _mm512_cmpneq_epi32_mask(best, none);
    if (!active) break;
    const __m512i token = _mm512_srli_epi32(best, 4), at = _mm512_and_si512(best, _mm512_set1_epi32(15));
    const __m512i bit = _mm512_sllv_epi32(one, at), below_bits = _mm512_sub_epi32(bit, one);
    const __m512i above = _mm512_andnot_si512(_mm512_or_si512(below_bits, bit), alive);
    const __m512i gone_bit = lowest_only(above), after_bit = lowest_only(_mm512_andnot_si512(gone_bit, above));
    const __m512i below = _mm512_and_si512(alive, below_bits);
    const __m512i gone = highest_bit(gone_bit), after = highest_bit(after_bit), before = highest_bit(below);
    const __mmask16 has_after = static_cast<__mmask16>(active & _mm512_test_epi32_mask(after_bit, after_bit));
    const __mmask16 has_before = static_cast<__mmask16>(active & _mm512_test_epi32_mask(below, below));
    alive = _mm512_mask_andnot_epi32(alive, active, gone_bit, alive);
    const __m512i cell = _mm512_add_epi32(_mm512_slli_epi32(at, 4), lane);
    const __m512i cell_before = _mm512_add_epi32(_mm512_slli_epi32(before, 4), lane);
    const __m512i cell_gone = _mm512_add_epi32(_mm512_slli_epi32(gone, 4), lane);
    const __m512i cell_after = _mm512_add_epi32(_mm512_slli_epi32(after, 4), lane);
    const __m512i next = _mm512_mask_i32gather_epi32(zero, has_after, cell_after, tokens, 4);
    const __m512i previous = _mm512_mask_i32gather_epi32(zero, has_before, cell_before, tokens, 4);
    __m512i with_next, with_previous;
    merged_both_ways(vocabulary, token, has_after, next, has_before, previous, with_next, with_previous);
    with_next = key_of(with_next, at);
    with_previous = key_of(with_previous, before);
    _mm512_mask_i32scatter_epi32(tokens, active, cell, token, 4);
    _mm512_mask_i32scatter_epi32(keys, active, cell_gone, none, 4);
    _mm512_mask_i32scatter_epi32(keys, active, cell, with_next, 4);
    _mm512_mask_i32scatter_epi32(keys, has_before, cell_before, with_previous, 4);
  }
  _mm512_store_si512(alive_of, alive);
  for (unsigned i = 0; i < count; ++i) {
    uint32_t written = 0;
    for (uint32_t left = alive_of[i]; left; left &= left - 1) ids[i][written++] = tokens[__builtin_ctz(left)][i];
    counts[i] = written;
  }
}

#undef TARGET

MergeLanes detect() {
  const bool fits = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vl");
  return fits ? avx512 : nullptr;
}

#else

MergeLanes detect() { return nullptr; }

#endif

}  // namespace

MergeLanes merge_lanes() {
  static const MergeLanes found = detect();
  return special_instructions ? found : nullptr;
}

}  // namespace nextword
