// Whether long work is to go on: asked by what divides work and by long loops, answered by who has set a question.
// Kernels do not ask.
#pragma once
#include <chrono>
#include <functional>

namespace nextword {

// While it lives, the calling thread's work asks `ask` now and then, every `ask_every` at most. What `ask` throws ends the
// work: it leaves the call that the thread is in. One inside another takes over.
class Interruptible {
 public:
  explicit Interruptible(std::function<void()> ask);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;

  void check() {
    const auto now = Clock::now();
    if (now < next_) return;
    ask_();
    next_ = Clock::now() + ask_every;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds ask_every{10};  // what a thread does between two checks comes on top
  std::function<void()> ask_;
  Clock::time_point next_ = Clock::now() + ask_every;
  Interruptible* const outer_;
};
// The calling thread's innermost one, or null. __thread: thread_local of another file costs a call at each look.
extern __thread Interruptible* interruptible;

// To be called every millisecond or more often, where an exception may be thrown. Costs a look at the clock.
inline void check_interrupt() {
  if (interruptible) interruptible->check();
}

// While it lives, the calling thread asks nothing: what it does must not be left by an exception.
class Uninterrupted {
 public:
  Uninterrupted() : from_(interruptible) { interruptible = nullptr; }
  ~Uninterrupted() { interruptible = from_; }
  Uninterrupted(const Uninterrupted&) = delete;
  Interruptible* from() const { return from_; }

 private:
  Interruptible* const from_;
};

}  // namespace nextword
