// The variants of byte_blocks.h; each function names its own target.
#include "byte_blocks.h"

#include <atomic>
#include <stdexcept>

#include "machine/shown.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nextword {
namespace {

void portable_masks(const uint8_t* text, size_t blocks, CharMasks* out) {
  for (size_t block = 0; block < blocks; ++block, text += 64) {
    CharMasks m{};
    for (unsigned i = 0; i < 64; ++i) {
      const unsigned c = text[i];
      const uint64_t bit = 1;
      m.letter |= (bit & ((c | 0x20) - 'a' < 26u)) << i;
      m.number |= (bit & (c - '0' < 10u)) << i;
      m.blank |= (bit & (c == ' ')) << i;
      m.white |= (bit & (c == ' ' || c - '\t' < 5u)) << i;
      m.quote |= (bit & (c == '\'')) << i;
      m.high |= (bit & (c >= 0x80)) << i;
    }
    out[block] = m;
  }
}

// Several bits at a time, wanted or not: a loop that ends with the last bit would end unforeseen.
constexpr int bits_at_a_time = 12;
static_assert(bits_at_a_time <= positions_slack);

size_t portable_positions(const uint64_t* words, size_t count, uint32_t base, uint32_t* out) {
  const uint32_t* const begin = out;
  for (size_t i = 0; i < count; ++i, base += 64) {
    uint64_t left = words[i];
    const int found = __builtin_popcountll(left);
    for (int done = 0; done < found; done += bits_at_a_time) {
      for (int j = done; j < done + bits_at_a_time; ++j, left &= left - 1) {
        out[j] = base + static_cast<uint32_t>(__builtin_ctzll(left | uint64_t{1} << 63));
      }
    }
    out += found;
  }
  return static_cast<size_t>(out - begin);
}

#if defined(__x86_64__)

// SSE2 is part of every x86-64.
inline uint64_t sse2_mask(__m128i a, __m128i b, __m128i c, __m128i d) {
  const auto bits = [](__m128i v) { return static_cast<uint64_t>(static_cast<uint16_t>(_mm_movemask_epi8(v))); };
  return bits(a) | bits(b) << 16 | bits(c) << 32 | bits(d) << 48;
}
inline __m128i sse2_within(__m128i v, char first, char span) {  // first <= byte <= first + span
  const __m128i distance = _mm_sub_epi8(v, _mm_set1_epi8(first));
  return _mm_cmpeq_epi8(_mm_min_epu8(distance, _mm_set1_epi8(span)), distance);
}

void sse2_masks(const uint8_t* text, size_t blocks, CharMasks* out) {
  const __m128i blank = _mm_set1_epi8(' '), quote = _mm_set1_epi8('\'');
  for (size_t block = 0; block < blocks; ++block, text += 64) {
    __m128i v[4], letter[4], number[4], is_blank[4], white[4], is_quote[4];
    for (int i = 0; i < 4; ++i) {
      v[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text) + i);
      letter[i] = sse2_within(_mm_or_si128(v[i], blank), 'a', 25);
      number[i] = sse2_within(v[i], '0', 9);
      is_blank[i] = _mm_cmpeq_epi8(v[i], blank);
      white[i] = _mm_or_si128(is_blank[i], sse2_within(v[i], '\t', 4));
      is_quote[i] = _mm_cmpeq_epi8(v[i], quote);
    }
    const auto mask = [](const __m128i* m) { return sse2_mask(m[0], m[1], m[2], m[3]); };
    out[block] = {mask(letter), mask(number), mask(is_blank), mask(white), mask(is_quote), mask(v)};
  }
}

__attribute__((target("avx2"))) void avx2_masks(const uint8_t* text, size_t blocks, CharMasks* out) {
  const __m256i blank = _mm256_set1_epi8(' '), quote = _mm256_set1_epi8('\'');
  const __m256i a = _mm256_set1_epi8('a'), letters = _mm256_set1_epi8(25), zero = _mm256_set1_epi8('0');
  const __m256i nine = _mm256_set1_epi8(9), tab = _mm256_set1_epi8('\t'), four = _mm256_set1_epi8(4);
  for (size_t block = 0; block < blocks; ++block, text += 64) {
    CharMasks m{};
    for (int half = 0; half < 2; ++half) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text) + half);
      const __m256i from_a = _mm256_sub_epi8(_mm256_or_si256(v, blank), a), from_0 = _mm256_sub_epi8(v, zero);
      const __m256i from_tab = _mm256_sub_epi8(v, tab), is_blank = _mm256_cmpeq_epi8(v, blank);
      const __m256i is_letter = _mm256_cmpeq_epi8(_mm256_min_epu8(from_a, letters), from_a);
      const __m256i is_number = _mm256_cmpeq_epi8(_mm256_min_epu8(from_0, nine), from_0);
      const __m256i is_white = _mm256_or_si256(is_blank, _mm256_cmpeq_epi8(_mm256_min_epu8(from_tab, four), from_tab));
      const int shift = 32 * half;
      m.letter |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(is_letter))) << shift;
      m.number |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(is_number))) << shift;
      m.blank |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(is_blank))) << shift;
      m.white |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(is_white))) << shift;
      m.quote |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, quote)))) << shift;
      m.high |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(v))) << shift;
    }
    out[block] = m;
  }
}

__attribute__((target("avx512f,avx512bw"))) void avx512_masks(const uint8_t* text, size_t blocks, CharMasks* out) {
  const __m512i blank = _mm512_set1_epi8(' '), quote = _mm512_set1_epi8('\'');
  const __m512i a = _mm512_set1_epi8('a'), letters = _mm512_set1_epi8(25), zero = _mm512_set1_epi8('0');
  const __m512i nine = _mm512_set1_epi8(9), tab = _mm512_set1_epi8('\t'), four = _mm512_set1_epi8(4);
  for (size_t block = 0; block < blocks; ++block, text += 64) {
    const __m512i v = _mm512_loadu_si512(text);
    const uint64_t is_blank = _mm512_cmpeq_epi8_mask(v, blank);
    out[block] = {_mm512_cmple_epu8_mask(_mm512_sub_epi8(_mm512_or_si512(v, blank), a), letters),
                  _mm512_cmple_epu8_mask(_mm512_sub_epi8(v, zero), nine),
                  is_blank,
                  is_blank | _mm512_cmple_epu8_mask(_mm512_sub_epi8(v, tab), four),
                  _mm512_cmpeq_epi8_mask(v, quote),
                  _mm512_movepi8_mask(v)};
  }
}

__attribute__((target("bmi,popcnt"))) size_t bmi_positions(const uint64_t* words, size_t count, uint32_t base, uint32_t* out) {
  const uint32_t* const begin = out;
  for (size_t i = 0; i < count; ++i, base += 64) {
    uint64_t left = words[i];
    const int found = __builtin_popcountll(left);
    for (int done = 0; done < found; done += bits_at_a_time) {
      for (int j = done; j < done + bits_at_a_time; ++j, left &= left - 1) out[j] = base + static_cast<uint32_t>(_tzcnt_u64(left));
    }
    out += found;
  }
  return static_cast<size_t>(out - begin);
}

// The places of all bits at once: those of the numbers 0 to 63 whose bit is set.
__attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt"))) size_t vbmi2_positions(const uint64_t* words, size_t count,
                                                                                      uint32_t base, uint32_t* out) {
  static_assert(positions_slack >= 32);
  alignas(64) uint8_t all[64];
  for (uint8_t i = 0; i < 64; ++i) all[i] = i;
  const __m512i places = _mm512_load_si512(all);
  const uint32_t* const begin = out;
  for (size_t i = 0; i < count; ++i, base += 64) {
    const __m512i set = _mm512_maskz_compress_epi8(words[i], places), from = _mm512_set1_epi32(static_cast<int>(base));
    const int found = __builtin_popcountll(words[i]);
    _mm512_storeu_si512(out, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(set))));
    _mm512_storeu_si512(out + 16, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(set, 1))));
    if (__builtin_expect(found > 32, 0)) {
      _mm512_storeu_si512(out + 32, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(set, 2))));
      _mm512_storeu_si512(out + 48, _mm512_add_epi32(from, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(set, 3))));
    }
    out += found;
  }
  return static_cast<size_t>(out - begin);
}

#endif

std::atomic<const ByteBlocks*> chosen{nullptr};

}  // namespace

std::vector<std::pair<std::string, ByteBlocks>> byte_blocks_variants() {
  std::vector<std::pair<std::string, ByteBlocks>> out{{"portable", {portable_masks, portable_positions}}};
#if defined(__x86_64__)
  out.push_back({"sse2", {sse2_masks, portable_positions}});
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi")) return out;
  out.push_back({"avx2", {avx2_masks, bmi_positions}});
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return out;
  out.push_back({"avx512", {avx512_masks, bmi_positions}});
  if (__builtin_cpu_supports("avx512vbmi2")) out.push_back({"avx512_vbmi2", {avx512_masks, vbmi2_positions}});
#endif
  return out;
}

ByteBlocks byte_blocks() {
  static const ByteBlocks fastest = byte_blocks_variants().back().second;
  const ByteBlocks* set = chosen.load(std::memory_order_acquire);
  return set ? *set : fastest;
}

void set_byte_blocks(const std::string& variant) {
  static const auto& variants = *new auto(byte_blocks_variants());  // never destroyed: threads may encode while the process exits
  std::string names;
  for (const auto& [name, functions] : variants) {
    if (name == variant) return chosen.store(&functions, std::memory_order_release);
    names += (names.empty() ? "" : ", ") + name;
  }
  throw std::invalid_argument("set_byte_blocks: variant must be one of " + names + ", got '" + shown(variant) + "'");
}

}  // namespace nextword
