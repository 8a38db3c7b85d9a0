#include "parallel.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace nextword {
namespace {

std::atomic<bool> started{false};  // this process has had a team of threads
std::atomic<bool> orphaned{false};  // forked from one that had

void after_fork_in_child() { if (started) orphaned = true; }

std::atomic<int> requested{0};  // 0: all processors

}  // namespace

thread_local const Member* member = nullptr;

Share* shares_for(int threads) {
  thread_local std::vector<Share> kept;
  if (kept.size() < static_cast<size_t>(threads)) kept = std::vector<Share>(static_cast<size_t>(threads));
  return kept.data();
}

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

int thread_count() {
  if (!has_openmp()) return 1;
  static const int available = processors();
  const int n = requested;
  return n ? n : available;
}

void set_thread_count(int count) {
  if (count < 1 || count > 1024)
    throw std::invalid_argument("set_threads: count must be 1 .. 1024, got " + std::to_string(count));
  requested = count;
}

int threads_for(int64_t units, int64_t grain) {
  const int64_t n = std::min<int64_t>(thread_count(), units / std::max<int64_t>(grain, 1));
  if (n <= 1 || orphaned) return 1;
#ifdef _OPENMP
  if (omp_in_parallel()) return 1;
#endif
  if (!started) {
#if defined(__unix__) || defined(__APPLE__)
    static const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);
    (void)registered;
#endif
    started = true;
  }
  return static_cast<int>(n);
}

}  // namespace nextword
