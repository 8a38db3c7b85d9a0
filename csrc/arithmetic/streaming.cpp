#include "streaming.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "machine/cpu.h"
#include "machine/pages.h"

namespace nextword {
namespace {

// Pieces read alternately past the caches and through them, each once: what is tried is not in the caches yet, and a
// moment in which the machine is busy elsewhere concerns both.
constexpr int64_t pairs = 8, least_piece = int64_t{1} << 18, most_piece = int64_t{1} << 20;
constexpr int64_t least_bytes = 2 * pairs * least_piece;

std::atomic<Streaming> chosen{Streaming::tried};
std::atomic<bool> trying{false}, known{false};
Trial found;  // written before `known`, by the one who set `trying`

double rate(float (*read)(const float*, int64_t), const char* from, int64_t bytes) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  read(reinterpret_cast<const float*>(from), bytes / static_cast<int64_t>(sizeof(float)));
  return static_cast<double>(bytes) / std::max(1e-9, std::chrono::duration<double>(Clock::now() - start).count());
}

double median(double* rates) {
  std::sort(rates, rates + pairs);
  return (rates[pairs / 2 - 1] + rates[pairs / 2]) / 2;
}

Trial trial_on(const char* memory, int64_t bytes) {
  const auto& k = kernels();
  const int64_t piece = std::min(most_piece, bytes / (2 * pairs) / least_piece * least_piece);
  double past[pairs], through[pairs];
  for (int64_t i = 0; i < pairs; ++i) {
    past[i] = rate(k.read_past, memory + 2 * i * piece, piece);
    through[i] = rate(k.read_all, memory + (2 * i + 1) * piece, piece);
  }
  return {median(past), median(through)};
}

// Makes the trial unless another thread does or has; returns whether there is one now.
bool try_on(const char* memory, int64_t bytes) {
  if (known.load(std::memory_order_acquire)) return true;
  if (trying.exchange(true)) return false;
  found = trial_on(memory, bytes);
  known.store(true, std::memory_order_release);
  return true;
}

}  // namespace

bool streams(const Packed& weight) {
  if (packed_bytes() <= last_level_cache()) return false;
  const Streaming how = chosen.load(std::memory_order_relaxed);
  if (how != Streaming::tried) return how == Streaming::on;
  if (!known.load(std::memory_order_acquire) && (weight.bytes() < least_bytes || !try_on(weight.data.get(), weight.bytes())))
    return false;
  return found.allows();
}

void set_streaming(Streaming how) { chosen = how; }
Streaming streaming() { return chosen; }

Trial streaming_trial() {
  constexpr int64_t bytes = 2 * pairs * most_piece;
  if (known.load(std::memory_order_acquire)) return found;
  const auto memory = aligned_floats(bytes / static_cast<int64_t>(sizeof(float)));
  std::memset(memory.get(), 0, bytes);
  const char* const from = reinterpret_cast<const char*>(memory.get());
  return try_on(from, bytes) ? found : trial_on(from, bytes);  // another thread is at it, or was as the process forked
}

}  // namespace nextword
