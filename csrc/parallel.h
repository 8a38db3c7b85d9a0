// Threads: the only file that knows OpenMP. Work is divided over output elements only, so no result depends on how.
//
// Threads are used only from the top level (a call inside a parallel region runs serially), and not in a process that
// was forked after the parent had started its threads: they do not exist there, and OpenMP would wait for them forever.
#pragma once
#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace nextword {

// Work below this many multiply-adds is done before a second thread has woken up (about 2 us).
constexpr int64_t worth_a_thread = 1 << 16;

bool has_openmp();
int processors();         // that this process may run on
int thread_count();       // at most; 1 without OpenMP
void set_thread_count(int count);  // 1 .. 1024; throws std::invalid_argument

// Threads for work of this many units when fewer than `grain` units are not worth a thread; notes that threads start.
int threads_for(int64_t units, int64_t grain);

// fn(begin, end) for contiguous ranges that cover [0, size), one a thread. fn must not throw.
template <class F>
void parallel_ranges(int64_t size, int64_t grain, const F& fn) {
  const int threads = threads_for(size, grain);
  if (threads <= 1) return fn(int64_t{0}, size);
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
  {
    const int64_t n = omp_get_num_threads(), i = omp_get_thread_num();
    fn(size * i / n, size * (i + 1) / n);
  }
#endif
}

// fn(item, worker) for each item, taken in order by whichever of `workers` threads is free. fn must not throw.
template <class F>
void parallel_items(int64_t items, int workers, const F& fn) {
  if (workers <= 1) {
    for (int64_t i = 0; i < items; ++i) fn(i, 0);
    return;
  }
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads(workers)
  for (int64_t i = 0; i < items; ++i) fn(i, omp_get_thread_num());
#endif
}

}  // namespace nextword
