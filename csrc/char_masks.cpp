// The variants of char_masks.h. The only file of the tokenizer with intrinsics; each function names its own target.
#include "char_masks.h"

#include <atomic>
#include <stdexcept>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nextword {
namespace {

void portable(const uint8_t* text, size_t blocks, CharMasks* out) {
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

void sse2(const uint8_t* text, size_t blocks, CharMasks* out) {
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

__attribute__((target("avx2"))) void avx2(const uint8_t* text, size_t blocks, CharMasks* out) {
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

__attribute__((target("avx512f,avx512bw"))) void avx512(const uint8_t* text, size_t blocks, CharMasks* out) {
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

#endif

std::atomic<CharMasksFunction> chosen{nullptr};

}  // namespace

std::vector<std::pair<std::string, CharMasksFunction>> char_masks_variants() {
  std::vector<std::pair<std::string, CharMasksFunction>> out{{"portable", portable}};
#if defined(__x86_64__)
  out.emplace_back("sse2", sse2);
  if (__builtin_cpu_supports("avx2")) out.emplace_back("avx2", avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) out.emplace_back("avx512", avx512);
#endif
  return out;
}

CharMasksFunction char_masks() {
  CharMasksFunction function = chosen.load(std::memory_order_relaxed);
  if (!function) {
    function = char_masks_variants().back().second;
    chosen.store(function, std::memory_order_relaxed);
  }
  return function;
}

void set_char_masks(const std::string& variant) {
  std::string names;
  for (const auto& [name, function] : char_masks_variants()) {
    if (name == variant) return chosen.store(function);
    names += (names.empty() ? "" : ", ") + name;
  }
  throw std::invalid_argument("set_char_masks: variant must be one of " + names + ", got '" + variant + "'");
}

}  // namespace nextword
