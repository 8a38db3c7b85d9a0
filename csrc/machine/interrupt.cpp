#include "interrupt.h"

#include <utility>

namespace nextword {

__thread Interruptible* interruptible = nullptr;

Interruptible::Interruptible(std::function<void()> ask) : ask_(std::move(ask)), outer_(interruptible) { interruptible = this; }
Interruptible::~Interruptible() { interruptible = outer_; }

}  // namespace nextword
