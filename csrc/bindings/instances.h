// Instances of compiled classes as arguments. One that was made by __new__ alone has nothing in it: pybind11 would hand out
// memory that nobody has written.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "arithmetic/packed.h"
#include "machine/shown.h"

namespace nextword::bindings {

// The name of an object's type as messages show it, without its module.
inline std::string type_name(pybind11::handle object) {
  if (object.is_none()) return "None";
  std::string_view name(Py_TYPE(object.ptr())->tp_name);
  if (const auto dot = name.rfind('.'); dot != name.npos) name.remove_prefix(dot + 1);
  return shown(name);
}

[[noreturn]] inline void not_initialised(pybind11::handle object) {
  throw pybind11::type_error(type_name(object) + ": the object is not initialised; make it by a call of its class, not by __new__");
}

// For a class bound to Python: template <> class type_caster<T> : public initialised_caster<T> {};
template <class T>
class initialised_caster : public pybind11::detail::type_caster_base<T> {
 public:
  bool load(pybind11::handle source, bool convert) {
    const auto* const type = this->typeinfo;
    if (source && type && PyObject_TypeCheck(source.ptr(), type->type)) {
      auto* const instance = reinterpret_cast<pybind11::detail::instance*>(source.ptr());
      if (!instance->get_value_and_holder(type).value_ptr()) not_initialised(source);
    }
    return pybind11::detail::type_caster_base<T>::load(source, convert);
  }
};

}  // namespace nextword::bindings

namespace pybind11::detail {
template <>
class type_caster<nextword::Packed> : public nextword::bindings::initialised_caster<nextword::Packed> {};
}  // namespace pybind11::detail
