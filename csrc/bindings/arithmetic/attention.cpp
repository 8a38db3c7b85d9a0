// The key-value cache and attention for Python: shapes checked, views taken, the GIL released. nextword/ops.py documents
// them.
#include "arithmetic/attention.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "bindings/unlocked.h"
#include "cache.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

py::array_t<float> attention_array(const char* op, const py::object& q, const CacheArgs& args, float scale, float* scores,
                                   float* weights) {
  const int64_t all = args.cache.heads * args.cache.width;
  const auto a = rows<float>(op, "q", q, {args.tokens, all});
  auto out = empty({args.tokens, all});
  const float* const from = data<float>(a);
  const int64_t stride = row_stride(a);
  float* const to = out.mutable_data();
  const Unlocked unlocked(2 * args.tokens * args.cache.capacity * all);  // below this line only views are used
  const Queries queries(args.sequences, args.cache.prefix);
  attention(from, stride, args.cache, args.sequences, queries, scale, scores, weights, to);
  return out;
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def("append", [](const py::object& k, const py::object& v, const py::object& keys, const py::object& values,
                     const py::object& slots, const py::object& past, const py::object& fresh, const py::object& scales) {
    CacheArgs args("append", keys, values, scales);
    args.take("append", slots, past, fresh);
    const int64_t all = args.cache.heads * args.cache.width;
    const auto a = rows<float>("append", "k", k, {args.tokens, all});
    const auto b = rows<float>("append", "v", v, {args.tokens, all});
    const float *const from_k = data<float>(a), *const from_v = data<float>(b);
    const int64_t k_stride = row_stride(a), v_stride = row_stride(b);
    const Unlocked unlocked;  // below this line only views are used
    append(from_k, k_stride, from_v, v_stride, args.sequences, args.cache);
  }, py::arg("k"), py::arg("v"), py::arg("keys"), py::arg("values"), py::arg("slots"), py::arg("past"), py::arg("fresh"),
     py::arg("scales"));
  m.def("attention", [](const py::object& q, const py::object& keys, const py::object& values, const py::object& slots,
                        const py::object& past, const py::object& fresh, float scale, const py::object& prefix_keys,
                        const py::object& prefix_values, const py::object& scales, const py::object& prefix_scales) {
    const char* const op = "attention";
    CacheArgs args(op, keys, values, scales);
    args.take(op, slots, past, fresh);
    args.set_prefix(op, prefix_keys, prefix_values, prefix_scales);
    return attention_array(op, q, args, scale, nullptr, nullptr);
  }, py::arg("q"), py::arg("keys"), py::arg("values"), py::arg("slots"), py::arg("past"), py::arg("fresh"), py::arg("scale"),
     py::arg("prefix_keys"), py::arg("prefix_values"), py::arg("scales"), py::arg("prefix_scales"));
  m.def("attention_weights", [](const py::object& q, const py::object& keys, const py::object& values, int64_t slot,
                                int64_t past, float scale, const py::object& scales) {
    const char* const op = "attention_weights";
    const auto a = rows<float>(op, "q", q, {"tokens", "heads * width"});
    const int64_t fresh = a.shape(0);
    CacheArgs args(op, keys, values, scales);
    args.take(op, {&slot, &past, &fresh, 1});
    auto scores = empty({args.cache.heads, args.tokens, past + args.tokens});
    auto weights = empty({args.cache.heads, args.tokens, past + args.tokens});
    auto out = attention_array(op, q, args, scale, scores.mutable_data(), weights.mutable_data());
    return py::make_tuple(out, scores, weights);
  }, py::arg("q"), py::arg("keys"), py::arg("values"), py::arg("slot"), py::arg("past"), py::arg("scale"), py::arg("scales"));
}
