// Stop as an argument, and the Python exception of work that it has ended.
#pragma once
#include "instances.h"
#include "unlocked.h"

namespace nextword::bindings {

void raise_stopped();  // sets Python's error

}  // namespace nextword::bindings

namespace pybind11::detail {
template <>
class type_caster<nextword::bindings::Stop> : public nextword::bindings::initialised_caster<nextword::bindings::Stop> {};
}  // namespace pybind11::detail
