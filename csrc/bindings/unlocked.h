// The interpreter lock given up for the time of some work, and taken back: the one place that does either.
#pragma once
#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

#include "machine/interrupt.h"

namespace nextword::bindings {

// Thrown where a signal's handler has raised: Python's error is set, and the bindings return it as it is.
struct Interrupted {};

// What another thread says so that work ends. Python's `Stop`.
struct Stop {
  std::atomic<bool> on{false};
};
// Thrown where it has been said.
struct Stopped {};

// fn(), whose Python exception leaves it as Interrupted: an object of Python's must not pass where the lock is given up.
template <class F>
void raising(const F& fn) {
  try {
    fn();
  } catch (pybind11::error_already_set& error) {
    error.restore();
    throw Interrupted();
  }
}

// A thread that comes back to an interpreter which has ended waits for the process to end. Python before 3.14 ends such
// threads by pthread_exit where they ask for the lock, and glibc then unwinds their stack: through destructors that must
// not throw, and past Python objects without the lock.
[[noreturn]] inline void wait_for_the_end() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}
template <class F>
auto unless_ended(const F& fn) -> decltype(fn()) {  // fn() runs Python code, or asks for the lock
#if defined(__GLIBCXX__)
  try {
    return fn();
  } catch (abi::__forced_unwind&) {
    wait_for_the_end();
  }
#else
  return fn();
#endif
}

// Whether Python runs the handlers of signals on the calling thread.
inline bool handles_signals() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#elif defined(__APPLE__)
  return pthread_main_np() != 0;
#else
  return true;
#endif
}

// Without the interpreter lock as long as it lives; only views of Python's objects may be used then.
// work: multiply-adds or what takes as long, roughly. From `long_work` on, signals are looked for meanwhile: what a handler raises, such
// as Ctrl-C's KeyboardInterrupt, leaves the work as `Interrupted`. stop: null, or what then is looked at, too: `Stopped`.
class Unlocked {
 public:
  static constexpr int64_t long_work = int64_t{1} << 22;  // a millisecond or so
  static int64_t of_text(size_t bytes) { return static_cast<int64_t>(bytes) * 64; }  // encoding, at its slowest

  explicit Unlocked(int64_t work = 0, const Stop* stop = nullptr)
      : state_(Py_IsInitialized() ? PyEval_SaveThread() : nullptr) {  // else the lock is ours
    if (!state_ || work < long_work) return;
    const bool signals = handles_signals();
    if (!signals && !stop) return;
    asks_.emplace([this, stop, signals] {
      if (stop && stop->on.load(std::memory_order_relaxed)) throw Stopped();
      if (signals) locked([] { if (PyErr_CheckSignals()) throw Interrupted(); });
    });
  }
  ~Unlocked() { lock(); }
  Unlocked(const Unlocked&) = delete;

  // fn() with the lock.
  template <class F>
  auto locked(const F& fn) -> decltype(fn()) {
    struct Turn {
      Unlocked& from;
      explicit Turn(Unlocked& u) : from(u) { from.lock(); }
      ~Turn() {
        if (from.state_) from.state_ = PyEval_SaveThread();
      }
    };
    const Turn turn(*this);
    return unless_ended(fn);
  }

 private:
  void lock() {
    if (!state_) return;
    if (!Py_IsInitialized()) wait_for_the_end();
    unless_ended([this] { PyEval_RestoreThread(state_); });
  }

  PyThreadState* state_;
  std::optional<Interruptible> asks_;
};

}  // namespace nextword::bindings
