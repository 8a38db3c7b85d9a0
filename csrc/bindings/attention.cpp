// The key-value cache and attention for Python: shapes checked, views taken, the GIL released. nextword/ops.py documents
// them.
#include "attention.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "arrays.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

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
  py::array keys, values, scales, slots, past, fresh;
  Cache cache;
  Sequences sequences;
  int64_t tokens = 0;

  CacheArgs(const char* op, const py::object& keys_, const py::object& values_, const py::object& slots_,
            const py::object& past_, const py::object& fresh_, const py::object& scales_)
      : panels(keys_),
        keys(panels.writable(op, "keys", keys_, {"slots", "heads", "capacity / 32", "width", panel_cols})),
        values(panels.writable(op, "values", values_, {keys.shape(0), keys.shape(1), panels_of(keys.shape(3)),
                                                       keys.shape(2) * panel_cols, panel_cols})),
        slots(array<int64_t>(op, "slots", slots_, {"sequences"})),
        past(array<int64_t>(op, "past", past_, {slots.shape(0)})),
        fresh(array<int64_t>(op, "fresh", fresh_, {slots.shape(0)})) {
    cache = {panels.element, keys.mutable_data(), values.mutable_data(),
             nullptr,        keys.shape(1),       keys.shape(3),         keys.shape(2) * panel_cols};
    if (panels.checked(scales_))
      scales = writable<float>(op, "scales", scales_, {keys.shape(0), cache.heads, int64_t{2}, panels.scales(cache.capacity)});
    if (panels.scaled()) cache.scales = mutable_data<float>(scales);
    sequences = {data<int64_t>(slots), data<int64_t>(past), data<int64_t>(fresh), slots.shape(0)};
    for (int64_t i = 0; i < sequences.count; ++i) {
      const auto at = std::string(op) + ": sequence " + std::to_string(i);
      if (sequences.slots[i] < 0 || sequences.slots[i] >= keys.shape(0))
        throw std::out_of_range(at + ": slot must be 0 .. " + std::to_string(keys.shape(0) - 1) + ", got " +
                                std::to_string(sequences.slots[i]));
      if (sequences.past[i] < 0 || sequences.fresh[i] < 0 || sequences.past[i] > cache.capacity ||
          sequences.fresh[i] > cache.capacity - sequences.past[i])
        throw std::out_of_range(at + ": past + fresh must be 0 .. " + std::to_string(cache.capacity) + " (the capacity), got " +
                                std::to_string(sequences.past[i]) + " + " + std::to_string(sequences.fresh[i]));
      tokens += sequences.fresh[i];
    }
  }
};

py::array_t<float> attention_array(const char* op, const py::object& q, const CacheArgs& args, float scale, float* scores,
                                   float* weights) {
  const int64_t all = args.cache.heads * args.cache.width;
  const auto a = rows<float>(op, "q", q, {args.tokens, all});
  auto out = empty({args.tokens, all});
  const float* const from = data<float>(a);
  const int64_t stride = row_stride(a);
  float* const to = out.mutable_data();
  py::gil_scoped_release unlocked;  // below this line only views are used
  attention(from, stride, args.cache, args.sequences, scale, scores, weights, to);
  return out;
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def("append", [](const py::object& k, const py::object& v, const py::object& keys, const py::object& values,
                     const py::object& slots, const py::object& past, const py::object& fresh, const py::object& scales) {
    const CacheArgs args("append", keys, values, slots, past, fresh, scales);
    const int64_t all = args.cache.heads * args.cache.width;
    const auto a = rows<float>("append", "k", k, {args.tokens, all});
    const auto b = rows<float>("append", "v", v, {args.tokens, all});
    const float *const from_k = data<float>(a), *const from_v = data<float>(b);
    const int64_t k_stride = row_stride(a), v_stride = row_stride(b);
    py::gil_scoped_release unlocked;  // below this line only views are used
    append(from_k, k_stride, from_v, v_stride, args.sequences, args.cache);
  });
  m.def("attention", [](const py::object& q, const py::object& keys, const py::object& values, const py::object& slots,
                        const py::object& past, const py::object& fresh, float scale, const py::object& prefix_keys,
                        const py::object& prefix_values, const py::object& scales, const py::object& prefix_scales) {
    const char* const op = "attention";
    CacheArgs args(op, keys, values, slots, past, fresh, scales);
    if (prefix_keys.is_none() != prefix_values.is_none())
      throw std::invalid_argument("attention: prefix_keys and prefix_values must both be given or neither");
    py::array a, b, c;
    if (!prefix_keys.is_none()) {
      Cache& cache = args.cache;
      a = args.panels.readable(op, "prefix_keys", prefix_keys, {cache.heads, "prefix / 32", cache.width, panel_cols});
      cache.prefix = a.shape(1) * panel_cols;
      b = args.panels.readable(op, "prefix_values", prefix_values,
                               {cache.heads, panels_of(cache.width), cache.prefix, panel_cols});
      if (args.panels.checked(prefix_scales))
        c = array<float>(op, "prefix_scales", prefix_scales, {cache.heads, int64_t{2}, args.panels.scales(cache.prefix)});
      cache.prefix_keys = a.data();
      cache.prefix_values = b.data();
      if (args.panels.scaled()) cache.prefix_scales = data<float>(c);
    }
    return attention_array(op, q, args, scale, nullptr, nullptr);
  });
  m.def("attention_weights", [](const py::object& q, const py::object& keys, const py::object& values, int64_t slot,
                                int64_t past, float scale, const py::object& scales) {
    const char* const op = "attention_weights";
    const auto a = rows<float>(op, "q", q, {"tokens", "heads * width"});
    const auto one = [](int64_t n) { return py::array(py::array_t<int64_t>(1, &n)); };
    const CacheArgs args(op, keys, values, one(slot), one(past), one(a.shape(0)), scales);
    auto scores = empty({args.cache.heads, args.tokens, past + args.tokens});
    auto weights = empty({args.cache.heads, args.tokens, past + args.tokens});
    auto out = attention_array(op, q, args, scale, scores.mutable_data(), weights.mutable_data());
    return py::make_tuple(out, scores, weights);
  });
}
