// What this machine allows: how fast memory is read, how many multiply-adds the cores do, what one copy of the
// weights costs. One thread on each CPU named; prints one JSON object. Linux, x86-64 or ARM64; stands alone.
//   c++ -O3 -march=native -std=c++17 -pthread limits.cpp -o limits && ./limits MEGABYTES CPU...
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, accumulators = 16;
#elif defined(__AVX__)
constexpr int vector_bytes = 32, accumulators = 12;  // 16 registers: 12 sums, 2 operands
#else
constexpr int vector_bytes = 16, accumulators = 12;
#endif
using Vector = float __attribute__((vector_size(vector_bytes)));

constexpr double seconds_per_test = 0.12;
constexpr long steps = 200000;  // of each peak loop: about 1 ms. Unrolled, for compilers that copy the sums in every step

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// All threads of the measurement wait here by spinning, so that they leave together.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait() {
    const int turn = turn_.load();
    if (arrived_.fetch_add(1) + 1 == threads_) {
      arrived_ = 0;
      turn_.fetch_add(1);
    } else {
      while (turn_.load() == turn) {
      }
    }
  }

 private:
  const int threads_;
  std::atomic<int> arrived_{0}, turn_{0};
};

// Seconds of the best repetition of `work(thread)`, from the first thread's start to the last one's end: a thread that
// is held off must not shorten it.
double best_seconds(const std::vector<int>& cpus, const std::function<void(int)>& work, int least = 5) {
  struct alignas(64) Span {
    double start, end;
  };
  const int threads = static_cast<int>(cpus.size());
  std::vector<Span> spans(threads);
  std::atomic<bool> stop{false};
  Barrier barrier(threads);
  auto timed = [&](int thread) {
    spans[thread].start = now();
    work(thread);
    spans[thread].end = now();
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; thread++)
    others.emplace_back([&, thread] {
      pin(cpus[thread]);
      for (;;) {
        barrier.wait();
        if (stop) return;
        timed(thread);
        barrier.wait();
      }
    });
  pin(cpus[0]);
  double best = 1e30;
  const double end = now() + seconds_per_test;
  for (int repetition = 0; repetition < least || now() < end; repetition++) {
    barrier.wait();
    timed(0);
    barrier.wait();
    double first = spans[0].start, last = spans[0].end;
    for (const Span& span : spans) {
      first = std::min(first, span.start);
      last = std::max(last, span.end);
    }
    best = std::min(best, last - first);
  }
  stop = true;
  barrier.wait();
  for (std::thread& thread : others) thread.join();
  return best;
}

// Makes a register's value unknown to the compiler and used: it can neither drop it nor merge it with an equal one.
template <class T>
void keep(T& value) {
#if defined(__x86_64__)
  asm volatile("" : "+v"(value));
#else
  asm volatile("" : "+w"(value));
#endif
}

Vector load(const char* address) {
  Vector value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

// Reads a range front to back with prefetch one page ahead: the pattern of a packed weight matrix.
__attribute__((noinline)) void read_one_stream(const char* begin, size_t bytes) {
  constexpr int lines = 8;
  Vector sums[lines] = {};
  for (const char* at = begin; at < begin + bytes; at += 64 * lines) {
    for (int line = 0; line < lines; line++) __builtin_prefetch(at + 4096 + 64 * line);
    for (int line = 0; line < lines; line++)
      for (int part = 0; part < 64; part += vector_bytes) sums[line] += load(at + 64 * line + part);
  }
  for (Vector& sum : sums) keep(sum);
}

// Reads four quarters side by side and leaves the prefetching to the hardware.
__attribute__((noinline)) void read_four_streams(const char* begin, size_t bytes) {
  const size_t quarter = bytes / 4;
  Vector sums[8] = {};
  for (size_t at = 0; at < quarter; at += 128)
    for (int stream = 0; stream < 4; stream++)
      for (int half = 0; half < 2; half++)
        for (int part = 0; part < 64; part += vector_bytes)
          sums[2 * stream + half] += load(begin + stream * quarter + at + 64 * half + part);
  for (Vector& sum : sums) keep(sum);
}

__attribute__((noinline)) void multiply_add_f32() {
  Vector sums[accumulators] = {}, factor = Vector{} + 0.5f, term = Vector{} + 0.25f;
  for (Vector& sum : sums) keep(sum);
  keep(factor), keep(term);
#pragma GCC unroll 16
  for (long step = 0; step < steps; step++)
    for (int i = 0; i < accumulators; i++) sums[i] = sums[i] * factor + term;
  for (Vector& sum : sums) keep(sum);
}

#if defined(__AVX512BF16__)
__attribute__((noinline)) void multiply_add_bf16() {
  __m512 sums[accumulators] = {};
  __m512bh pair = (__m512bh)_mm512_set1_epi32(0x3f003f00);
  for (__m512& sum : sums) keep(sum);
#pragma GCC unroll 16
  for (long step = 0; step < steps; step++)
    for (int i = 0; i < accumulators; i++) sums[i] = _mm512_dpbf16_ps(sums[i], pair, pair);
  for (__m512& sum : sums) keep(sum);
}
#endif

#if defined(__AVX512VNNI__)
__attribute__((noinline)) void multiply_add_int8() {
  __m512i sums[accumulators] = {}, four = _mm512_set1_epi32(0x03050203);
  for (__m512i& sum : sums) keep(sum);
#pragma GCC unroll 16
  for (long step = 0; step < steps; step++)
    for (int i = 0; i < accumulators; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], four, four);
  for (__m512i& sum : sums) keep(sum);
}
#endif

char* huge_pages(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("limits: mmap");
    std::exit(1);
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  return static_cast<char*>(memory);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: limits MEGABYTES CPU...\n");
    return 2;
  }
  std::vector<int> cpus;
  for (int i = 2; i < argc; i++) cpus.push_back(std::atoi(argv[i]));
  const int threads = static_cast<int>(cpus.size());
  const size_t bytes = static_cast<size_t>(std::atol(argv[1])) * 1000000, part = bytes / threads / 2048 * 2048;
  const size_t allocated = bytes + 8192;  // the prefetch runs a page ahead
  char* memory = huge_pages(allocated);
  pin(cpus[0]);
  std::memset(memory, 1, allocated);

  const double one = best_seconds(cpus, [&](int thread) { read_one_stream(memory + thread * part, part); });
  const double four = best_seconds(cpus, [&](int thread) { read_four_streams(memory + thread * part, part); });
  std::printf("{\"threads\": %d, \"read_gb_per_s\": %.2f", threads, part * threads / 1e9 / std::min(one, four));

  // into memory that the process has never touched: page faults included, as a load has them
  char* copy = nullptr;
  double copy_seconds = 1e30;
  for (int repetition = 0; repetition < 2; repetition++) {
    copy = huge_pages(allocated);
    std::atomic<int> left{threads};
    std::vector<std::thread> workers;
    const double start = now();
    for (int thread = 0; thread < threads; thread++)
      workers.emplace_back([&, thread] {
        pin(cpus[thread]);
        std::memcpy(copy + thread * part, memory + thread * part, part);
      });
    for (std::thread& worker : workers) worker.join();
    copy_seconds = std::min(copy_seconds, now() - start);
    munmap(copy, allocated);
  }
  std::printf(", \"copy_gb_per_s\": %.2f", part * threads / 1e9 / copy_seconds);

  const double done = 2e-9 * steps * accumulators * threads * vector_bytes;  // 10^9 operations on one-byte lanes
  std::printf(", \"f32_gflops\": %.1f", done / 4 / best_seconds(cpus, [](int) { multiply_add_f32(); }));
#if defined(__AVX512BF16__)
  std::printf(", \"bf16_gflops\": %.1f", done / 2 / best_seconds(cpus, [](int) { multiply_add_bf16(); }));
#endif
#if defined(__AVX512VNNI__)
  std::printf(", \"int8_gops\": %.1f", done / best_seconds(cpus, [](int) { multiply_add_int8(); }));
#endif
  std::printf("}\n");
}
