#include "interrupt.h"

#include <utility>

namespace nextword {

thread_local Interruptible* interruptible = nullptr;

Interruptible::Interruptible(std::function<void()> ask) : ask_(std::move(ask)), outer_(interruptible) { interruptible = this; }
Interruptible::~Interruptible() { interruptible = outer_; }

}  // namespace nextword
