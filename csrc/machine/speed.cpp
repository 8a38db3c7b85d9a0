#include "speed.h"

#include <chrono>
#include <limits>
#include <stdexcept>
#include <string>

#include "cpu.h"
#include "interrupt.h"
#include "pages.h"
#include "parallel.h"

namespace nextword {
namespace {

constexpr int64_t least_size = int64_t{1} << 20, most_size = int64_t{1} << 36;
constexpr int64_t piece_floats = int64_t{1} << 15;
constexpr double most_seconds = 60;
constexpr int least_passes = 3;
constexpr int64_t multiply_adds_a_pass = int64_t{1} << 26;  // of one thread: a millisecond on fast cores

void require_seconds(const char* op, double seconds) {
  if (!(seconds > 0 && seconds <= most_seconds))
    throw std::invalid_argument(std::string(op) + ": seconds must be above 0 and at most 60, got " + std::to_string(seconds));
}

template <class F>
double fastest(double seconds, const F& pass) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  double best = std::numeric_limits<double>::infinity();
  for (int passes = 0; passes < least_passes || Clock::now() < end; ++passes) {
    const auto start = Clock::now();
    pass();
    check_interrupt();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

double read_bandwidth(int64_t size, double seconds) {
  if (size < least_size || size > most_size)
    throw std::invalid_argument("read_bandwidth: size must be 2**20 .. 2**36 bytes, got " + std::to_string(size));
  require_seconds("read_bandwidth", seconds);
  const auto& k = kernels();
  const int64_t units = size / static_cast<int64_t>(read_floats * sizeof(float));
  const auto memory = aligned_floats(units * read_floats);
  const auto each_range = [&](const auto& work) {  // divided as the weights of a matmul of one row
    parallel_ranges(units, piece_floats / read_floats, [&](int64_t begin, int64_t end) {
      work(memory.get() + begin * read_floats, (end - begin) * read_floats);
    });
  };
  each_range([](float* x, int64_t n) { std::fill(x, x + n, 1.0f); });
  const double spent = fastest(seconds, [&] { each_range([&](const float* x, int64_t n) { k.read_all(x, n); }); });
  return static_cast<double>(units * read_floats) * sizeof(float) / spent;
}

double multiply_add_rate(double seconds, Dtype dtype) {
  require_seconds("multiply_add_rate", seconds);
  const auto work = kernels().multiply_adds[static_cast<int>(dtype)];
  const int workers = threads_for(thread_count(), 1);
  const double spent = fastest(seconds, [&] {
    parallel_ranges(workers, 1, [&](int64_t begin, int64_t end) {
      work(1.0f, (end - begin) * multiply_adds_a_pass);
    });
  });
  return static_cast<double>(workers) * static_cast<double>(multiply_adds_a_pass) / spent;
}

}  // namespace nextword
