#include "attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "machine/cpu.h"
#include "machine/parallel.h"
#include "pool.h"

namespace nextword {
namespace {

// What a value costs, in multiply-adds, that comes from memory for one use (a cached key), or goes to a line of its own
// there (a key of one token).
constexpr int64_t read_once = 4, written_apart = 256;

// Asks for the first lines of memory that is read soon: where a stream begins, the processor does not foresee it.
void fetch_first(const void* from, int64_t bytes) {
  constexpr int64_t line = 64, most = 4096;
  for (int64_t at = 0; at < std::min(bytes, most); at += line) __builtin_prefetch(static_cast<const char*>(from) + at);
}

int64_t size_of(Element element) {
  return element == Element::float32 ? sizeof(float) : element == Element::bfloat16 ? sizeof(bfloat16) : sizeof(int8_t);
}
const void* panels_at(const void* panels, int64_t elements, Element element) {
  return static_cast<const char*>(panels) + elements * size_of(element);
}

// How the elements of formats.h are made: the scale of a row, which int8 alone has, and what is stored of one number.
uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
constexpr uint32_t sign_bit = 0x80000000, infinity_bits = 0x7f800000;

template <class T>
float row_scale(const float*, int64_t) {
  return 0;
}
template <>
float row_scale<int8_t>(const float* row, int64_t width) {
  uint32_t top = 0;  // as integers, absolute values have the order of the numbers, infinity and NaN above all
  for (int64_t d = 0; d < width; ++d) top = std::max(top, bits_of(row[d]) & ~sign_bit);
  if (top >= infinity_bits) return std::numeric_limits<float>::quiet_NaN();
  float largest;
  std::memcpy(&largest, &top, sizeof largest);
  const float s = largest / 127;
  return s < std::numeric_limits<float>::min() ? 0 : s;
}

template <class T>
T stored(float x, float scale);
template <>
inline float stored<float>(float x, float) {
  return x;
}
template <>
inline bfloat16 stored<bfloat16>(float x, float) {
  const uint32_t bits = bits_of(x);
  if ((bits & ~sign_bit) > infinity_bits) return static_cast<bfloat16>(bits >> 16 | 0x40);  // NaN, made quiet
  return static_cast<bfloat16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
template <>
inline int8_t stored<int8_t>(float x, float scale) {
  if (!(scale > 0)) return 0;
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer, ties to even
  return static_cast<int8_t>((x / scale + magic) - magic);
}

template <class T>
void append_as(const float* k, int64_t k_stride, const float* v, int64_t v_stride, const Sequences& s,
               const Cache& cache) {
  const int64_t width = cache.width, key_head = cache.capacity * width;
  const int64_t value_head = panels_of(width) * cache.capacity * panel_cols;
  int64_t tokens = 0;
  for (int64_t i = 0; i < s.count; ++i) tokens += s.fresh[i];
  const int64_t grain = worth_a_thread / std::max<int64_t>(1, written_apart * tokens * width) + 1;
  parallel_ranges(cache.heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      int64_t row = 0;
      for (int64_t i = 0; i < s.count; ++i) {
        const int64_t slot_head = s.slots[i] * cache.heads + head;
        T* const keys = static_cast<T*>(cache.keys) + slot_head * key_head;
        T* const values = static_cast<T*>(cache.values) + slot_head * value_head;
        float* const scales = cache.scales ? cache.scales + slot_head * 2 * cache.capacity : nullptr;
        const int64_t end = s.past[i] + s.fresh[i];
        if (s.fresh[i] == 1)  // each feature of a key goes to a line of its own: ask for all before the first is written
          for (int64_t d = 0; d < width; ++d)
            __builtin_prefetch(keys + (s.past[i] / panel_cols * width + d) * panel_cols + s.past[i] % panel_cols, 1);
        for (int64_t at = s.past[i]; at < end;) {  // as many tokens at once as share a panel of keys
          const int64_t n = std::min(end, (at / panel_cols + 1) * panel_cols) - at;
          const float* const from_k = k + row * k_stride + head * width;
          T* const to_k = keys + at / panel_cols * width * panel_cols + at % panel_cols;
          float key_scales[panel_cols];
          for (int64_t t = 0; t < n; ++t) {
            key_scales[t] = row_scale<T>(from_k + t * k_stride, width);
            if (scales) scales[at + t] = key_scales[t];
          }
          for (int64_t d = 0; d < width; ++d)
            for (int64_t t = 0; t < n; ++t)
              to_k[d * panel_cols + t] = stored<T>(from_k[t * k_stride + d], key_scales[t]);
          for (const int64_t stop = at + n; at < stop; ++at, ++row) {
            const float* const from_v = v + row * v_stride + head * width;
            const float value_scale = row_scale<T>(from_v, width);
            if (scales) scales[cache.capacity + at] = value_scale;
            for (int64_t d = 0; d < width; d += panel_cols) {
              T* const to_v = values + (d / panel_cols * cache.capacity + at) * panel_cols;
              const int64_t cols = std::min(panel_cols, width - d);
              for (int64_t c = 0; c < cols; ++c) to_v[c] = stored<T>(from_v[d + c], value_scale);
            }
          }
        }
      }
    }
  });
}

}  // namespace

void append(const float* k, int64_t k_stride, const float* v, int64_t v_stride, const Sequences& s,
            const Cache& cache) {
  switch (cache.element) {
    case Element::float32: return append_as<float>(k, k_stride, v, v_stride, s, cache);
    case Element::bfloat16: return append_as<bfloat16>(k, k_stride, v, v_stride, s, cache);
    case Element::int8: return append_as<int8_t>(k, k_stride, v, v_stride, s, cache);
  }
}

Queries::Queries(const Sequences& s, int64_t prefix) {
  const int64_t step = kernels().tile_rows;
  int64_t row = 0, longest = 0;
  for (int64_t i = 0; i < s.count; ++i) {
    const int64_t seen = prefix + s.past[i] + s.fresh[i];
    longest = std::max(longest, seen);
    scored += s.fresh[i] * seen;
    for (int64_t offset = 0; offset < s.fresh[i]; offset += step) {
      const int64_t rows = std::min(step, s.fresh[i] - offset);
      (rows > 1 ? tiles : ones).push_back({i, row + offset, offset, rows});
    }
    row += s.fresh[i];
  }
  decode = row == s.count;
  room = attention_scratch(longest);
  threads = thread_count();
  scratch = pooled_floats(threads * room);
}

void attention(const float* q, int64_t q_stride, int64_t heads, const Cache& cache, const Sequences& s,
               const Queries& queries, int64_t window, float scale, float* scores, float* weights, float* out) {
  if (heads == 0) return;
  const auto& k = kernels();
  const int64_t width = cache.width, group = heads / cache.heads, work = queries.scored * width * heads;
  const auto tiles = static_cast<int64_t>(queries.tiles.size()), ones = static_cast<int64_t>(queries.ones.size());
  const int64_t parts = (group + k.tile_rows - 1) / k.tile_rows, at_once = (group + parts - 1) / parts;  // of a group's heads
  const int64_t items_of_head = tiles * group + ones * parts, items = cache.heads * items_of_head;

  const auto one = [&](int64_t item, int worker) {
    // One of the cache's heads after the other, so that its keys and values stay in the processor's cache; the longest
    // tiles first. A tile is several queries of one head, or several heads of one query.
    const int64_t kv_head = item / items_of_head, i = item % items_of_head, j = i - tiles * group;
    const bool alone = j >= 0;
    const Queries::Tile& tile = alone ? queries.ones[static_cast<size_t>(ones - 1 - j % ones)]
                                      : queries.tiles[static_cast<size_t>(tiles - 1 - i % tiles)];
    const int64_t member = alone ? j / ones * at_once : i / tiles, head = kv_head * group + member;
    const int64_t slot = s.slots[tile.sequence] * cache.heads + kv_head;
    const int64_t past = cache.prefix + s.past[tile.sequence], keys_seen = past + s.fresh[tile.sequence];
    AttentionTile t{};
    t.q = q + tile.row * q_stride + head * width;
    t.q_stride = alone ? width : q_stride;
    t.rows = alone ? std::min(at_once, group - member) : tile.rows;
    t.step = alone ? 0 : 1;
    t.width = width;
    t.window = window;
    t.scale = scale;
    t.element = cache.element;
    t.first = past + tile.offset;
    // Whole panels that lie before the first query's window are left out.
    const int64_t out_of_sight = window && t.first >= window ? (t.first + 1 - window) / panel_cols * panel_cols : 0;
    const int64_t of_prefix = std::min(out_of_sight, cache.prefix), of_slot = out_of_sight - of_prefix;
    t.first -= out_of_sight;
    t.keys = panels_at(cache.keys, (slot * cache.capacity + of_slot) * width, cache.element);
    t.value_stride = cache.capacity * panel_cols;
    t.values = panels_at(cache.values, slot * panels_of(width) * t.value_stride + of_slot * panel_cols, cache.element);
    t.prefix = cache.prefix - of_prefix;
    t.prefix_stride = cache.prefix * panel_cols;
    if (t.prefix > 0) {
      t.prefix_keys = panels_at(cache.prefix_keys, (kv_head * cache.prefix + of_prefix) * width, cache.element);
      t.prefix_values = panels_at(cache.prefix_values, kv_head * panels_of(width) * t.prefix_stride + of_prefix * panel_cols,
                                  cache.element);
    }
    if (cache.scales) {
      t.key_scales = cache.scales + slot * 2 * cache.capacity + of_slot;
      t.value_scales = t.key_scales + cache.capacity;
      if (t.prefix > 0) {
        t.prefix_key_scales = cache.prefix_scales + kv_head * 2 * cache.prefix + of_prefix;
        t.prefix_value_scales = t.prefix_key_scales + cache.prefix;
      }
    }
    t.scratch = queries.scratch.get() + worker * queries.room;
    const int64_t fresh = s.fresh[tile.sequence], traced = (head * fresh + tile.offset) * keys_seen + out_of_sight;
    t.weights_stride = alone ? fresh * keys_seen : keys_seen;
    t.scores = scores ? scores + traced : nullptr;
    t.weights = weights ? weights + traced : nullptr;
    t.out = out + tile.row * heads * width + head * width;
    t.out_stride = alone ? width : heads * width;
    if (queries.decode) {  // this head's values, the next one's keys
      for (int64_t p = 0; p < panels_of(width); ++p)
        fetch_first(panels_at(t.values, p * t.value_stride, cache.element), keys_seen * panel_cols * size_of(cache.element));
      const int64_t head_bytes = cache.capacity * width * size_of(cache.element);
      fetch_first(static_cast<const char*>(t.keys) + head_bytes, head_bytes);
    }
    k.attention(t);
    // What lies before the tile and behind its last key is masked for all of its rows.
    const auto mask = [&](float* row, float masked) {
      if (!row) return;
      std::fill(row - out_of_sight, row, masked);
      std::fill(row + t.first + (t.rows - 1) * t.step + 1, row + keys_seen - out_of_sight, masked);
    };
    for (int64_t r = 0; r < t.rows && (scores || weights); ++r) {
      mask(t.scores ? t.scores + r * t.weights_stride : nullptr, -__builtin_inff());
      mask(t.weights ? t.weights + r * t.weights_stride : nullptr, 0.0f);
    }
  };
  const int workers = threads_for(std::min(items, read_once * work / worth_a_thread), 1);
  parallel_items(items, std::min(workers, queries.threads), one);
}

}  // namespace nextword
