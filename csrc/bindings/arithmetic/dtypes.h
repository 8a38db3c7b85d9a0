// The names of the weights' formats, as Python gives them.
#pragma once
#include <stdexcept>
#include <string>

#include "arithmetic/encode.h"
#include "kernels/formats.h"
#include "machine/shown.h"

namespace nextword::bindings {

constexpr Dtype all_dtypes[] = {Dtype::float32, Dtype::bfloat16, Dtype::int8, Dtype::int4};

inline Dtype dtype_of(const char* op, const std::string& name) {
  std::string known;
  for (const Dtype d : all_dtypes) {
    if (name == name_of(d)) return d;
    known += (known.empty() ? "" : ", ") + std::string(name_of(d));
  }
  throw std::invalid_argument(std::string(op) + ": dtype must be one of " + known + ", got '" + shown(name) + "'");
}

}  // namespace nextword::bindings
