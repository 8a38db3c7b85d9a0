// The names of activations.
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

#include "arithmetic/ops.h"

namespace nextword::bindings {

constexpr std::pair<const char*, Activation> activations[] = {
    {"gelu_tanh", Activation::gelu_tanh}, {"gelu_erf", Activation::gelu_erf}, {"quick_gelu", Activation::quick_gelu},
    {"relu", Activation::relu},           {"silu", Activation::silu},         {"tanh", Activation::tanh}};

inline Activation activation_of(const char* op, const std::string& name) {
  std::string known;
  for (const auto& [word, activation] : activations) {
    if (name == word) return activation;
    known += (known.empty() ? "" : ", ") + std::string(word);
  }
  throw std::invalid_argument(std::string(op) + ": activation must be one of " + known + ", got '" + name.substr(0, 40) + "'");
}

}  // namespace nextword::bindings
