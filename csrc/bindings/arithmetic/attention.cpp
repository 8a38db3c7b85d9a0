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

// The queries of all heads, of which there are a multiple of those of the cache.
py::array queries_array(const char* op, const py::object& q, const CacheArgs& args, const Dim& tokens) {
  const int64_t all = args.cache.heads * args.cache.width;
  const std::string multiple = "n * " + std::to_string(all);
  auto a = rows<float>(op, "q", q, {tokens, multiple.c_str()});
  if (a.shape(1) % std::max<int64_t>(1, all) || (a.shape(1) == 0) != (all == 0))
    reject<float>(op, "q", q, {tokens, multiple.c_str()}, conversion<float>("q").c_str());
  return a;
}

void check_window(const char* op, int64_t window) {
  if (window < 0)
    throw std::invalid_argument(std::string(op) + ": window must be 0 (all tokens) or more, got " + std::to_string(window));
}

py::array_t<float> attention_array(const char* op, const py::object& q, const CacheArgs& args, int64_t window, float scale,
                                   float* scores, float* weights) {
  const auto a = queries_array(op, q, args, args.tokens);
  const int64_t all = a.shape(1), heads = args.cache.width ? all / args.cache.width : args.cache.heads;
  auto out = empty({args.tokens, all});
  const float* const from = data<float>(a);
  const int64_t stride = row_stride(a);
  float* const to = out.mutable_data();
  const Unlocked unlocked(2 * args.tokens * args.cache.capacity * all);  // below this line only views are used
  const Queries queries(args.sequences, args.cache.prefix);
  attention(from, stride, heads, args.cache, args.sequences, queries, window, scale, scores, weights, to);
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
                        const py::object& prefix_values, const py::object& scales, const py::object& prefix_scales,
                        int64_t window) {
    const char* const op = "attention";
    check_window(op, window);
    CacheArgs args(op, keys, values, scales);
    args.take(op, slots, past, fresh);
    args.set_prefix(op, prefix_keys, prefix_values, prefix_scales);
    return attention_array(op, q, args, window, scale, nullptr, nullptr);
  }, py::arg("q"), py::arg("keys"), py::arg("values"), py::arg("slots"), py::arg("past"), py::arg("fresh"), py::arg("scale"),
     py::arg("prefix_keys"), py::arg("prefix_values"), py::arg("scales"), py::arg("prefix_scales"),
     py::arg("window"));
  m.def("attention_weights", [](const py::object& q, const py::object& keys, const py::object& values, int64_t slot,
                                int64_t past, float scale, const py::object& scales, int64_t window) {
    const char* const op = "attention_weights";
    check_window(op, window);
    CacheArgs args(op, keys, values, scales);
    const auto a = queries_array(op, q, args, "tokens");
    const int64_t fresh = a.shape(0), heads = args.cache.width ? a.shape(1) / args.cache.width : args.cache.heads;
    args.take(op, {&slot, &past, &fresh, 1});
    auto scores = empty({heads, args.tokens, past + args.tokens});
    auto weights = empty({heads, args.tokens, past + args.tokens});
    auto out = attention_array(op, q, args, window, scale, scores.mutable_data(), weights.mutable_data());
    return py::make_tuple(out, scores, weights);
  }, py::arg("q"), py::arg("keys"), py::arg("values"), py::arg("slot"), py::arg("past"), py::arg("scale"), py::arg("scales"),
     py::arg("window"));
}
