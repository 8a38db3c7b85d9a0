#include "parallel.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
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

std::atomic<int> requested{0};  // 0: all processors
std::atomic<int> limit{0};      // 0: none met
std::mutex starting;            // held while threads are started and while the process forks
thread_local int proven = 1;    // the largest team that the calling thread has had
std::atomic<bool> orphaned{false};  // forked within a team: its threads are lost, and no others can be started

#if defined(__unix__) || defined(__APPLE__)

// OpenMP ends the process where a thread cannot be started. So as many are started here first, and end at once.

// What OpenMP gives its threads, in bytes; 0: the system's size.
size_t stack_size() {
  for (const char* name : {"OMP_STACKSIZE", "GOMP_STACKSIZE"}) {
    const char* const value = std::getenv(name);
    if (!value) continue;
    char* unit = nullptr;
    const size_t size = std::strtoull(value, &unit, 10);
    while (*unit == ' ') ++unit;
    switch (*unit | 0x20) {
      case 'b': return size;
      case 'm': return size << 20;
      case 'g': return size << 30;
      default: return size << 10;
    }
  }
  return 0;
}

void* wait_at(void* gate) {
  auto* const open = static_cast<std::mutex*>(gate);
  open->lock();
  open->unlock();
  return nullptr;
}

int startable(int count) {
  static const size_t stack = stack_size();
  std::vector<pthread_t> threads(static_cast<size_t>(count));
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes)) return 0;
  if (stack) pthread_attr_setstacksize(&attributes, stack);
  int started = 0;
  {
    std::mutex gate;
    gate.lock();
    while (started < count && !pthread_create(&threads[static_cast<size_t>(started)], &attributes, wait_at, &gate)) ++started;
    gate.unlock();
    for (int i = 0; i < started; ++i) pthread_join(threads[static_cast<size_t>(i)], nullptr);
  }
  pthread_attr_destroy(&attributes);
  return started;
}

bool ended = true;  // whether the forking thread's team is

void before_fork() {
  starting.lock();
#if defined(_OPENMP) && defined(__clang__)
  ended = true;  // its OpenMP begins anew in the child by itself
#elif defined(_OPENMP) && __GNUC__ >= 9
  ended = proven == 1 || omp_pause_resource(omp_pause_hard, omp_get_initial_device()) == 0;
#else
  ended = proven == 1;
#endif
  if (ended) proven = 1;  // in both processes
}
void after_fork_in_parent() { starting.unlock(); }
void after_fork_in_child() {
  starting.unlock();
  if (!ended) orphaned = true;
}

void register_fork() {
  static const int registered = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  (void)registered;
}

#else
int startable(int count) { return count; }
void register_fork() {}
#endif

// Starts the threads of a larger team than the calling thread has had; returns how many it has now.
int start(int threads) {
  register_fork();
  const std::lock_guard<std::mutex> lock(starting);
  const int found = proven + startable(threads - proven);
  if (found < threads) limit = found;
#ifdef _OPENMP
  std::atomic<int> here{0};
#pragma omp parallel num_threads(found)
  ++here;
#endif
  proven = found;
  return found;
}

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
  const int n = requested ? requested.load() : available, most = limit;
  return most ? std::min(n, most) : n;
}

int thread_limit() { return limit; }

void set_thread_count(int count) {
  if (count < 1 || count > 1024)
    throw std::invalid_argument("set_threads: count must be 1 .. 1024, got " + std::to_string(count));
  requested = count;
  limit = 0;
}

int threads_for(int64_t units, int64_t grain) {
  const int64_t n = std::min<int64_t>(thread_count(), units / std::max<int64_t>(grain, 1));
  if (n <= 1 || orphaned) return 1;
#ifdef _OPENMP
  if (omp_in_parallel()) return 1;
#endif
  return n <= proven ? static_cast<int>(n) : start(static_cast<int>(n));
}

}  // namespace nextword
