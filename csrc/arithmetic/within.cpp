#include "within.h"

#include <algorithm>
#include <vector>

#include "attention.h"
#include "machine/cpu.h"
#include "machine/parallel.h"
#include "pool.h"

namespace nextword {
namespace {

int64_t panel_floats(int64_t keys, int64_t width) { return keys * (width + panels_of(width) * panel_cols); }

}  // namespace

TextRoom::TextRoom(const int64_t* fresh, int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; ++i) {
    keys = std::max(keys, panels_of(fresh[i]) * panel_cols);
    pairs += fresh[i] * fresh[i];
  }
  threads = count ? thread_count() : 0;
  if (!threads) return;
  room = panel_floats(keys, width) + 2 * keys + attention_scratch(keys + max_tile_rows);
  scratch = pooled_floats(threads * room);
}

void attention_within(const TextRows& x, const TextRoom& room, int64_t window, float scale, const float* bias, int64_t reach,
                      float* scores, float* weights, float* out) {
  const auto& k = kernels();
  const int64_t width = x.width, cols = x.heads * width, items = x.count * x.heads;
  if (!items || !width) return;
  std::vector<int64_t> rows(static_cast<size_t>(x.count));  // where each text begins
  for (int64_t i = 1; i < x.count; ++i) rows[static_cast<size_t>(i)] = rows[static_cast<size_t>(i - 1)] + x.fresh[i - 1];

  const auto one = [&](int64_t item, int worker) {  // a head of a text: its keys and values are put into panels, then read
    const int64_t text = item / x.heads, head = item % x.heads, tokens = x.fresh[text];
    const int64_t row = rows[static_cast<size_t>(text)], capacity = panels_of(tokens) * panel_cols, none = 0;
    float* const keys = room.scratch.get() + worker * room.room;
    float* const values = keys + capacity * width;
    float* const by_distance = keys + panel_floats(room.keys, width);
    append(x.k + row * x.k_stride + head * width, x.k_stride, x.v + row * x.v_stride + head * width, x.v_stride,
           {&none, &none, &tokens, 1}, {Element::float32, keys, values, nullptr, 1, width, capacity});
    if (bias)
      for (int64_t d = 1 - tokens; d < tokens; ++d)
        by_distance[d + tokens - 1] = bias[head * (2 * reach + 1) + std::min(std::max(d, -reach), reach) + reach];
    AttentionTile t{};
    t.q_stride = x.q_stride;
    t.element = Element::float32;
    t.value_stride = capacity * panel_cols;
    t.scale = scale;
    t.width = width;
    t.scratch = by_distance + 2 * room.keys;
    t.out_stride = cols;
    t.weights_stride = tokens;
    for (int64_t begin = 0; begin < tokens; begin += k.tile_rows) {
      t.rows = std::min(k.tile_rows, tokens - begin);
      // Whole panels that lie before the first query's window are left out.
      const int64_t skipped = window && begin > window ? (begin - window) / panel_cols * panel_cols : 0;
      t.q = x.q + (row + begin) * x.q_stride + head * width;
      t.keys = keys + skipped * width;
      t.values = values + skipped * panel_cols;
      t.step = window ? 1 : 0;
      t.window = window ? 2 * window + 1 : 0;
      t.first = (window ? begin + window : tokens - 1) - skipped;
      t.limit = tokens - skipped;
      t.bias = bias ? by_distance + tokens - 1 - begin + skipped : nullptr;
      const int64_t traced = (head * tokens + begin) * tokens + skipped;
      t.scores = scores ? scores + traced : nullptr;
      t.weights = weights ? weights + traced : nullptr;
      t.out = out + (row + begin) * cols + head * width;
      k.attention(t);
      // What lies before the tile and behind its last key is masked for all of its rows.
      const int64_t seen = std::min(t.limit, t.first + (t.rows - 1) * t.step + 1);
      const auto mask = [&](float* of, float masked) {
        for (int64_t r = 0; of && r < t.rows; ++r) {
          std::fill(of + r * tokens - skipped, of + r * tokens, masked);
          std::fill(of + r * tokens + seen, of + r * tokens + tokens - skipped, masked);
        }
      };
      mask(t.scores, -__builtin_inff());
      mask(t.weights, 0.0f);
    }
  };
  const int workers = threads_for(std::min(items, 2 * room.pairs * cols / worth_a_thread), 1);
  parallel_items(items, std::min(workers, room.threads), one);
}

}  // namespace nextword
