// Attention within texts, and what else encoders need, for Python: shapes checked, views taken, the GIL released.
// nextword/arithmetic/within.py documents them.
#include "arithmetic/within.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "arithmetic/ops.h"
#include "bindings/arrays.h"
#include "bindings/unlocked.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

// How many rows of x each text has: they are all, and at least one each.
std::vector<int64_t> fresh_of(const char* op, const py::object& fresh, int64_t rows) {
  auto found = indices(op, "fresh", fresh, {"texts"});
  int64_t left = rows;
  for (const int64_t n : found) {
    if (n < 1 || n > left)
      throw std::invalid_argument(std::string(op) + ": fresh must be 1 or more and sum to the " + std::to_string(rows) + " rows, got " +
                                  std::to_string(n) + " where " + std::to_string(left) + " are left");
    left -= n;
  }
  if (left) throw std::invalid_argument(std::string(op) + ": fresh must sum to the " + std::to_string(rows) + " rows, got " + std::to_string(rows - left));
  return found;
}

// The operands of attention, checked.
struct Operands {
  py::array q, k, v, bias;
  TextRows rows{};
  const float* table = nullptr;
  int64_t reach = 0;

  Operands(const char* op, const py::object& q_, const py::object& k_, const py::object& v_, int64_t heads, int64_t window,
           const py::object& bias_)
      : q(nextword::bindings::rows<float>(op, "q", q_, {"tokens", "heads * width"})),
        k(nextword::bindings::rows<float>(op, "k", k_, {q.shape(0), q.shape(1)})),
        v(nextword::bindings::rows<float>(op, "v", v_, {q.shape(0), q.shape(1)})) {
    if (heads < 1 || q.shape(1) < 1 || q.shape(1) % heads)
      throw std::invalid_argument(std::string(op) + ": q must have columns, a multiple of the " + std::to_string(heads) + " heads, got " +
                                  received(q));
    if (window < 0)
      throw std::invalid_argument(std::string(op) + ": window must be 0 (all tokens) or more, got " + std::to_string(window));
    if (!bias_.is_none()) {
      bias = array<float>(op, "bias", bias_, {heads, "2 * reach + 1"});
      if (bias.shape(1) % 2 == 0) reject<float>(op, "bias", bias_, {heads, "2 * reach + 1"}, "an odd number of columns");
      table = data<float>(bias);
      reach = bias.shape(1) / 2;
    }
    rows = {data<float>(q), data<float>(k), data<float>(v), row_stride(q), row_stride(k), row_stride(v),
            nullptr, 0, heads, q.shape(1) / heads};
  }
};

Pooling pooling_of(const std::string& how) {
  if (how == "mean") return Pooling::mean;
  if (how == "first") return Pooling::first;
  if (how == "last") return Pooling::last;
  if (how == "max") return Pooling::max;
  throw std::invalid_argument("pool: how must be one of mean, first, last, max, got '" + shown(how) + "'");
}

}  // namespace

void bind_within(py::module_& m) {
  m.def("attention_within", [](const py::object& q, const py::object& k, const py::object& v, const py::object& fresh_, int64_t heads,
                               float scale, int64_t window, const py::object& bias) {
    const char* const op = "attention_within";
    Operands x(op, q, k, v, heads, window, bias);
    const auto fresh = fresh_of(op, fresh_, x.q.shape(0));
    x.rows.fresh = fresh.data();
    x.rows.count = static_cast<int64_t>(fresh.size());
    auto out = empty({x.q.shape(0), x.q.shape(1)});
    float* const to = out.mutable_data();
    const Unlocked unlocked(64 * x.q.size());  // below this line only views are used
    const TextRoom room(x.rows.fresh, x.rows.count, x.rows.width);
    attention_within(x.rows, room, window, scale, x.table, x.reach, nullptr, nullptr, to);
    return out;
  }, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("fresh"), py::arg("heads"), py::arg("scale"), py::arg("window"), py::arg("bias"));
  m.def("attention_within_weights", [](const py::object& q, const py::object& k, const py::object& v, int64_t heads, float scale,
                                       int64_t window, const py::object& bias) {
    Operands x("attention_within_weights", q, k, v, heads, window, bias);
    const int64_t tokens = x.q.shape(0);
    x.rows.fresh = &tokens;
    x.rows.count = tokens > 0;
    auto out = empty({tokens, x.q.shape(1)}), scores = empty({heads, tokens, tokens}), weights = empty({heads, tokens, tokens});
    float *const to = out.mutable_data(), *const to_scores = scores.mutable_data(), *const to_weights = weights.mutable_data();
    {
      const Unlocked unlocked(64 * x.q.size());  // in here only views are used
      const TextRoom room(x.rows.fresh, x.rows.count, x.rows.width);
      attention_within(x.rows, room, window, scale, x.table, x.reach, to_scores, to_weights, to);
    }
    return py::make_tuple(out, scores, weights);
  }, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("heads"), py::arg("scale"), py::arg("window"), py::arg("bias"));
  m.def("add_rows", [](const py::object& x, const py::object& ids, const py::object& table) {
    const auto a = rows<float>("add_rows", "x", x, {"rows", "cols"});
    const int64_t n = a.shape(0), cols = a.shape(1), stride = row_stride(a);
    const auto t = array<float>("add_rows", "table", table, {"table rows", cols});
    if (cols < 1) throw std::invalid_argument("add_rows: x must have at least one column, got " + received(a));
    const auto i = indices("add_rows", "ids", ids, {n});
    check_indices("add_rows", "ids", i.data(), n, t.shape(0));
    auto out = empty({n, cols});
    const float *const from = data<float>(a), *const by = data<float>(t);
    const int64_t* const at = i.data();
    float* const to = out.mutable_data();
    const Unlocked unlocked(n * cols);  // below this line only views are used
    add_rows(from, stride, at, by, n, cols, to);
    return out;
  }, py::arg("x"), py::arg("ids"), py::arg("table"));
  m.def("pool", [](const py::object& x, const py::object& fresh_, const std::string& how) {
    const auto a = rows<float>("pool", "x", x, {"tokens", "cols"});
    const Pooling kind = pooling_of(how);
    const auto fresh = fresh_of("pool", fresh_, a.shape(0));
    const auto texts = static_cast<int64_t>(fresh.size());
    const int64_t cols = a.shape(1), stride = row_stride(a);
    if (cols < 1) throw std::invalid_argument("pool: x must have at least one column, got " + received(a));
    auto out = empty({texts, cols});
    const float* const from = data<float>(a);
    const int64_t* const each = fresh.data();
    float* const to = out.mutable_data();
    const Unlocked unlocked(a.size());  // below this line only views are used
    pool(from, stride, each, texts, cols, kind, to);
    return out;
  }, py::arg("x"), py::arg("fresh"), py::arg("how"));
  m.def("normalise", [](const py::object& x) {
    const auto a = rows<float>("normalise", "x", x, {"rows", "cols"});
    const int64_t n = a.shape(0), cols = a.shape(1), stride = row_stride(a);
    if (cols < 1) throw std::invalid_argument("normalise: x must have at least one column, got " + received(a));
    auto out = empty({n, cols});
    const float* const from = data<float>(a);
    float* const to = out.mutable_data();
    const Unlocked unlocked(2 * n * cols);  // below this line only views are used
    normalise(from, stride, n, cols, to);
    return out;
  }, py::arg("x"));
}
