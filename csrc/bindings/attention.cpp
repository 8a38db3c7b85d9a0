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

// The cache and sequence arguments that append and attention share.
struct CacheArgs {
  py::array keys, values, slots, past, fresh;
  Cache cache;
  Sequences sequences;
  int64_t tokens = 0;

  CacheArgs(const char* op, const py::object& keys_, const py::object& values_, const py::object& slots_,
            const py::object& past_, const py::object& fresh_)
      : keys(writable<float>(op, "keys", keys_, {"slots", "heads", "capacity / 32", "width", panel_cols})),
        values(writable<float>(op, "values", values_,
                               {keys.shape(0), keys.shape(1), panels_of(keys.shape(3)), keys.shape(2) * panel_cols, panel_cols})),
        slots(array<int64_t>(op, "slots", slots_, {"sequences"})),
        past(array<int64_t>(op, "past", past_, {slots.shape(0)})),
        fresh(array<int64_t>(op, "fresh", fresh_, {slots.shape(0)})) {
    cache = {mutable_data<float>(keys), mutable_data<float>(values), keys.shape(1), keys.shape(3), keys.shape(2) * panel_cols};
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
                     const py::object& slots, const py::object& past, const py::object& fresh) {
    const CacheArgs args("append", keys, values, slots, past, fresh);
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
                        const py::object& prefix_values) {
    const char* const op = "attention";
    CacheArgs args(op, keys, values, slots, past, fresh);
    if (prefix_keys.is_none() != prefix_values.is_none())
      throw std::invalid_argument("attention: prefix_keys and prefix_values must both be given or neither");
    py::array a, b;
    if (!prefix_keys.is_none()) {
      const Cache& c = args.cache;
      a = array<float>(op, "prefix_keys", prefix_keys, {c.heads, "prefix / 32", c.width, panel_cols});
      args.cache.prefix = a.shape(1) * panel_cols;
      b = array<float>(op, "prefix_values", prefix_values, {c.heads, panels_of(c.width), args.cache.prefix, panel_cols});
      args.cache.prefix_keys = data<float>(a);
      args.cache.prefix_values = data<float>(b);
    }
    return attention_array(op, q, args, scale, nullptr, nullptr);
  });
  m.def("attention_weights", [](const py::object& q, const py::object& keys, const py::object& values, int64_t slot,
                                int64_t past, float scale) {
    const char* const op = "attention_weights";
    const auto a = rows<float>(op, "q", q, {"tokens", "heads * width"});
    const auto one = [](int64_t n) { return py::array(py::array_t<int64_t>(1, &n)); };
    const CacheArgs args(op, keys, values, one(slot), one(past), one(a.shape(0)));
    auto scores = empty({args.cache.heads, args.tokens, past + args.tokens});
    auto weights = empty({args.cache.heads, args.tokens, past + args.tokens});
    auto out = attention_array(op, q, args, scale, scores.mutable_data(), weights.mutable_data());
    return py::make_tuple(out, scores, weights);
  });
}
