// The cache of one layer and the sequences in it, as Python passes them: checked views.
#pragma once
#include <string>

#include "arithmetic/attention.h"
#include "bindings/arrays.h"

namespace nextword::bindings {

// How a cache's panels are checked, told by the dtype of its keys.
struct Panels {
  Element element;
  decltype(&array<float>) readable, writable;

  explicit Panels(const py::object& keys) : element(Element::float32), readable(array<float>), writable(bindings::writable<float>) {
    if (py::isinstance<py::array_t<bfloat16>>(keys))
      element = Element::bfloat16, readable = array<bfloat16>, writable = bindings::writable<bfloat16>;
    if (py::isinstance<py::array_t<int8_t>>(keys))
      element = Element::int8, readable = array<int8_t>, writable = bindings::writable<int8_t>;
  }

  // Elements without scales go with no array of them or an empty one.
  bool scaled() const { return element == Element::int8; }
  bool checked(const py::object& scales) const { return scaled() || !scales.is_none(); }
  int64_t scales(int64_t tokens) const { return scaled() ? tokens : 0; }
};

// The cache and sequence arguments that append and attention share.
struct CacheArgs {
  Panels panels;
  py::array keys, values;
  py::object scales, prefix_keys, prefix_values, prefix_scales;  // null: none; an empty py::array would be a new array
  std::vector<int64_t> slots, past, fresh;
  Cache cache;
  Sequences sequences;
  int64_t tokens = 0;

  CacheArgs(const char* op, const py::object& keys_, const py::object& values_, const py::object& scales_)
      : panels(keys_),
        keys(panels.writable(op, "keys", keys_, {"slots", "heads", "capacity / 32", "width", panel_cols})),
        values(panels.writable(op, "values", values_, {keys.shape(0), keys.shape(1), panels_of(keys.shape(3)),
                                                       keys.shape(2) * panel_cols, panel_cols})) {
    cache = {panels.element, keys.mutable_data(), values.mutable_data(),
             nullptr,        keys.shape(1),       keys.shape(3),         keys.shape(2) * panel_cols};
    if (panels.checked(scales_)) {
      auto checked = writable<float>(op, "scales", scales_, {keys.shape(0), cache.heads, int64_t{2}, panels.scales(cache.capacity)});
      if (panels.scaled()) cache.scales = mutable_data<float>(checked);
      scales = std::move(checked);
    }
  }

  // The sequences, given as arrays or as numbers that live as long as this.
  void take(const char* op, const py::object& slots_, const py::object& past_, const py::object& fresh_) {
    slots = indices(op, "slots", slots_, {"sequences"});
    const auto count = static_cast<int64_t>(slots.size());
    past = indices(op, "past", past_, {count});
    fresh = indices(op, "fresh", fresh_, {count});
    take(op, {slots.data(), past.data(), fresh.data(), count});
  }
  void take(const char* op, const Sequences& given) {
    sequences = given;
    for (int64_t i = 0; i < sequences.count; ++i) {
      const auto at = [&] { return std::string(op) + ": sequence " + std::to_string(i); };
      if (sequences.slots[i] < 0 || sequences.slots[i] >= keys.shape(0))
        throw std::out_of_range(at() + ": slot must be 0 .. " + std::to_string(keys.shape(0) - 1) + ", got " +
                                std::to_string(sequences.slots[i]));
      if (sequences.past[i] < 0 || sequences.fresh[i] < 0 || sequences.past[i] > cache.capacity ||
          sequences.fresh[i] > cache.capacity - sequences.past[i])
        throw std::out_of_range(at() + ": past + fresh must be 0 .. " + std::to_string(cache.capacity) + " (the capacity), got " +
                                std::to_string(sequences.past[i]) + " + " + std::to_string(sequences.fresh[i]));
      tokens += sequences.fresh[i];
    }
  }

  // What all sequences begin with, or None for each.
  void set_prefix(const char* op, const py::object& keys_, const py::object& values_, const py::object& scales_) {
    if (keys_.is_none() != values_.is_none())
      throw std::invalid_argument(std::string(op) + ": prefix_keys and prefix_values must both be given or neither");
    if (keys_.is_none()) return;
    auto first = panels.readable(op, "prefix_keys", keys_, {cache.heads, "prefix / 32", cache.width, panel_cols});
    cache.prefix = first.shape(1) * panel_cols;
    auto second = panels.readable(op, "prefix_values", values_, {cache.heads, panels_of(cache.width), cache.prefix, panel_cols});
    if (panels.checked(scales_)) {
      auto third = array<float>(op, "prefix_scales", scales_, {cache.heads, int64_t{2}, panels.scales(cache.prefix)});
      if (panels.scaled()) cache.prefix_scales = data<float>(third);
      prefix_scales = std::move(third);
    }
    cache.prefix_keys = first.data();
    cache.prefix_values = second.data();
    prefix_keys = std::move(first);
    prefix_values = std::move(second);
  }
};

}  // namespace nextword::bindings
