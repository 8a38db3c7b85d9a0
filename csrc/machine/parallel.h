// Threads: the only file that knows OpenMP. Work is divided over output elements only, so no result depends on how.
//
// Threads are used only from the top level (a call inside a parallel region runs serially). Whoever forks ends his threads
// first: in the child they would not exist, and OpenMP would wait for them forever. Both then start new ones.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#include "interrupt.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace nextword {

// Work below this many multiply-adds is done before a second thread has woken up (about 2 us).
constexpr int64_t worth_a_thread = 1 << 16;

bool has_openmp();
int processors();         // that this process may run on
int thread_count();       // at most; 1 without OpenMP
int thread_limit();       // what the operating system started no more than; 0: as many as were asked for so far
void set_thread_count(int count);  // 1 .. 1024; throws std::invalid_argument

// Threads for work of this many units when fewer than `grain` units are not worth a thread, all of which can be started.
int threads_for(int64_t units, int64_t grain);

// What a thread of a team has not begun yet of the work that they share: pieces first .. last - 1. It takes them from
// the front itself; whoever has finished earlier takes them from the back.
class alignas(64) Share {
 public:
  void set(int64_t first, int64_t last) { left_.store(first << 32 | last, std::memory_order_release); }
  int64_t take(bool front) {  // a piece, or -1
    for (int64_t left = left_.load(std::memory_order_acquire);;) {
      const int64_t first = left >> 32, last = left & 0xffffffff;
      if (first >= last) return -1;
      const int64_t rest = front ? left + (int64_t{1} << 32) : left - 1;
      if (left_.compare_exchange_weak(left, rest, std::memory_order_acq_rel)) return front ? first : last - 1;
    }
  }

 private:
  std::atomic<int64_t> left_{0};
};

// What a team has in common. Where its calling thread is interrupted, the others begin no further piece, and together()
// throws.
struct Team {
  Share* shares;  // one a thread
  std::atomic<bool> given_up{false};
  std::exception_ptr error;
};

// One thread's place among those that run together(): it makes the calls that all make, and does its part of each.
struct Member {
  Team* team;
  int index, count;

  int64_t first(int64_t pieces) const { return pieces * index / count; }  // of the pieces that are its own at the start
};
extern thread_local const Member* member;  // the calling thread's; null outside of a team

Share* shares_for(int threads);  // kept by the calling thread; throws std::bad_alloc

// fn() on each thread of a team. Every parallel_ranges and parallel_items in it is shared out among them and ends when
// all of it is done: it costs a barrier instead of a start of threads. fn must not throw, and must make the same calls on
// each thread. Throws what interrupts the calling thread (interrupt.h); what the work was to write is undefined then.
template <class F>
void together(int threads, const F& fn) {
  if (threads <= 1) return fn();
#ifdef _OPENMP
  Team team{shares_for(threads), {}, {}};
#pragma omp parallel num_threads(threads)
  {
    const Member me{&team, omp_get_thread_num(), omp_get_num_threads()};
    member = &me;
    fn();
    member = nullptr;
  }
  if (team.error) {
    for (int i = 0; i < threads; ++i) team.shares[i].set(0, 0);  // the next team's work has other pieces
    std::rethrow_exception(team.error);
  }
#endif
}

struct Nothing {
  void operator()() const {}
};

// fn(piece, thread) for each of `pieces`, by the team that the calling thread is in. Each begins with a contiguous part,
// and helps the others when it has done its own: threads differ in speed, and other programs take their turns.
// before_waiting() is called on each thread after its last piece.
template <class F, class G = Nothing>
void share_out(int64_t pieces, const F& fn, const G& before_waiting = {}) {
#ifdef _OPENMP
  const Member* const me = member;
  Team& team = *me->team;
  team.shares[me->index].set(me->first(pieces), pieces * (me->index + 1) / me->count);
  member = nullptr;  // what a piece calls runs serially
  const Uninterrupted piece_by_piece;
  const auto given_up = [&] {
    if (piece_by_piece.from()) {  // on the calling thread
      try {
        piece_by_piece.from()->check();
      } catch (...) {
        if (!team.error) team.error = std::current_exception();
        team.given_up.store(true, std::memory_order_relaxed);
      }
    }
    return team.given_up.load(std::memory_order_relaxed);
  };
  for (int i = 0; i < me->count; ++i) {
    Share& share = team.shares[(me->index + i) % me->count];
    for (int64_t piece; !given_up() && (piece = share.take(i == 0)) >= 0;) fn(piece, me->index);
  }
  member = me;
  before_waiting();
#pragma omp barrier
#else
  (void)pieces, (void)fn, (void)before_waiting;
#endif
}

// fn(begin, end) for ranges that cover [0, size), of `grain` or some of them. fn must not throw; throws as together() does.
template <class F, class G = Nothing>
void parallel_ranges(int64_t size, int64_t grain, const F& fn, const G& before_waiting = {}) {
  const auto shared = [&] {
    share_out((size + grain - 1) / grain, [&](int64_t i, int) { fn(i * grain, std::min(size, (i + 1) * grain)); },
              before_waiting);
  };
  if (member) return shared();
  const int threads = threads_for(size, grain);
  if (threads > 1) return together(threads, shared);
  constexpr int64_t between_checks = 4;
  const int64_t some = interruptible ? between_checks * grain : size;
  for (int64_t begin = 0; begin < size; begin += some) {
    fn(begin, std::min(size, begin + some));
    check_interrupt();
  }
  before_waiting();
}

// fn(item, worker) for each item; worker: 0 .. workers - 1, or the number of a thread in its team. fn must not throw;
// throws as together() does.
template <class F>
void parallel_items(int64_t items, int workers, const F& fn) {
  const auto shared = [&] { share_out(items, fn); };
  if (member) return shared();
  if (workers > 1) return together(workers, shared);
  for (int64_t i = 0; i < items; ++i) {
    fn(i, 0);
    check_interrupt();
  }
}

}  // namespace nextword
