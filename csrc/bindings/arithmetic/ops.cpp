// The operations for Python: shapes checked, views taken, the GIL released. nextword/ops.py documents them.
#include "arithmetic/ops.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

#include "activations.h"
#include "arithmetic/digest.h"
#include "bindings/arrays.h"
#include "bindings/unlocked.h"
#include "dtypes.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

// A checkpoint's array: float32, float16, or bfloat16 as its uint16 bits. C-contiguous; any alignment.
Source source_type(const char* op, const char* name, const py::array& a) {
  if (py::isinstance<py::array_t<float>>(a)) return Source::float32;
  if (a.dtype().kind() == 'f' && a.itemsize() == 2 && a.dtype().byteorder() == '=') return Source::float16;
  if (py::isinstance<py::array_t<uint16_t>>(a)) return Source::bfloat16;
  throw std::invalid_argument(std::string(op) + ": " + name +
                              " must be float32, float16 or uint16 (the bits of bfloat16), got " + received(a) +
                              "; pass " + name + ".astype(np.float32)");
}

// [rows, cols] for a matmul to read, its rows possibly apart.
py::array_t<float> empty_spread(int64_t rows, int64_t cols) {
  const int64_t stride = spread_stride(rows, cols);
  if (stride == cols) return empty({rows, cols});
  const auto whole = empty({rows, stride});
  constexpr auto item = static_cast<py::ssize_t>(sizeof(float));
  return py::array_t<float>({rows, cols}, {stride * item, item}, whole.data(), whole);
}

py::array contiguous(const char* op, const char* name, const py::object& object, py::ssize_t ndim) {
  const char* const shape = ndim == 2 ? "[rows, cols]" : "of any shape";
  if (!py::isinstance<py::array>(object) || (ndim && py::reinterpret_borrow<py::array>(object).ndim() != ndim))
    throw std::invalid_argument(std::string(op) + ": " + name + " must be an array " + shape + ", got " + received(object));
  auto a = py::reinterpret_borrow<py::array>(object);
  if (!(a.flags() & py::array::c_style))
    throw std::invalid_argument(std::string(op) + ": " + name + " must be C-contiguous; pass np.ascontiguousarray(" + name + ")");
  return a;
}

template <Packed (*make)(const void*, Source, Dtype, int64_t, int64_t), bool transposed>
Packed pack_array(const char* op, const py::object& weight, const std::string& dtype) {
  const Dtype format = dtype_of(op, dtype);
  const auto a = contiguous(op, "weight", weight, 2);
  const auto type = source_type(op, "weight", a);
  const int64_t depth = a.shape(transposed ? 1 : 0), cols = a.shape(transposed ? 0 : 1);
  if (depth < 1 || cols < 1) throw std::invalid_argument(std::string(op) + ": weight must not be empty, got " + received(a));
  const void* const p = a.data();
  const Unlocked unlocked(depth * cols);  // below this line only views are used
  return make(p, type, format, depth, cols);
}

Packed packed_array(const py::object& data, const std::string& dtype, int64_t depth, int64_t cols) {
  const Dtype format = dtype_of("packed", dtype);
  constexpr int64_t largest = std::numeric_limits<int32_t>::max();
  const int64_t most = format == Dtype::int8 ? Int8::most_depth : largest;
  const auto shape = "[" + std::to_string(depth) + ", " + std::to_string(cols) + "]";
  if (depth < 1 || cols < 1 || depth > most || cols > largest)
    throw std::invalid_argument("packed: " + dtype + " takes 1 .. " + std::to_string(most) +
                                " rows and 1 .. 2^31 - 1 columns, got " + shape);
  const int64_t panels = panels_of(cols), size = panel_bytes(format, depth);
  const auto wrong = [&](const std::string& got) {
    return std::invalid_argument("packed: data of the " + dtype + " matrix " + shape + " must be " + std::to_string(panels) +
                                 " times " + std::to_string(size) + " bytes, got " + got);
  };
  if (PyIter_Check(data.ptr())) {  // parts, each gone before the next is made
    if (size > std::numeric_limits<int64_t>::max() / panels) throw std::bad_alloc();
    const Unwritten made = empty_matrix(format, depth, cols);
    const int64_t bytes = made.matrix.bytes();
    int64_t filled = 0;
    for (const py::handle part : py::reinterpret_borrow<py::iterator>(data)) {
      const auto a = array<uint8_t>("packed", "data", py::reinterpret_borrow<py::object>(part), {"bytes"});
      if (a.size() > bytes - filled) throw wrong("parts of " + std::to_string(filled + a.size()) + " or more");
      if (a.size()) std::memcpy(made.data + filled, a.data(), static_cast<size_t>(a.size()));
      filled += a.size();
    }
    if (filled != bytes) throw wrong("parts of " + std::to_string(filled));
    return made.matrix;
  }
  const auto a = array<uint8_t>("packed", "data", data, {"bytes"});
  if (a.size() % size || a.size() / size != panels) throw wrong(received(a));
  const void* const from = a.data();
  const Unlocked unlocked(a.size());  // below this line only views are used
  return packed_from(from, format, depth, cols);
}

// residual, factor: null where the operation has none.
py::array_t<float> matmul_array(const char* op, const py::object& x, const Packed& weight, const py::object& bias,
                                Activation activation, const py::object* residual = nullptr, const py::object* factor = nullptr) {
  const auto a = rows<float>(op, "x", x, {"rows", weight.depth});
  const int64_t n = a.shape(0), stride = row_stride(a);
  Epilogue e;
  e.activation = activation;
  if (!bias.is_none()) e.bias = data<float>(array<float>(op, "bias", bias, {weight.cols}));
  if (residual) e.residual = data<float>(array<float>(op, "residual", *residual, {n, weight.cols}));
  if (factor) {
    const auto f = rows<float>(op, "factor", *factor, {n, weight.cols});
    e.factor = data<float>(f), e.factor_stride = row_stride(f);
  }
  auto out = activation == Activation::none && !factor ? empty({n, weight.cols}) : empty_spread(n, weight.cols);
  const int64_t out_stride = row_stride(out);
  const float* const from = data<float>(a);
  float* const to = out.mutable_data();
  const Unlocked unlocked(n * weight.depth * weight.cols);  // below this line only views are used
  matmul(from, stride, weight, e, n, to, out_stride);
  return out;
}

py::array_t<float> activate_array(const char* op, const py::object& x, Activation activation) {
  const auto a = rows<float>(op, "x", x, {"rows", "cols"});
  auto out = empty({a.shape(0), a.shape(1)});
  const float* const from = data<float>(a);
  float* const to = out.mutable_data();
  const int64_t n = a.shape(0), cols = a.shape(1), stride = row_stride(a);
  const Unlocked unlocked(16 * n * cols);  // below this line only views are used
  activate(from, stride, activation, n, cols, to);
  return out;
}

}  // namespace

void bind_ops(py::module_& m) {
  py::class_<Packed>(m, "Packed", "A weight matrix in the order in which the products read it; made by nextword.ops.pack.")
      .def_property_readonly("shape", [](const Packed& p) { return py::make_tuple(p.depth, p.cols); })
      .def_property_readonly("dtype", [](const Packed& p) { return name_of(p.dtype); })
      .def_property_readonly("nbytes", &Packed::bytes)
      .def("__copy__", [](const py::object& self) { return self; })  // it never changes
      .def("__deepcopy__", [](const py::object& self, const py::object&) { return self; }, py::arg("memo"))
      .def("__repr__", [](const Packed& p) {
        return "Packed(" + std::string(name_of(p.dtype)) + " [" + std::to_string(p.depth) + ", " + std::to_string(p.cols) + "])";
      });

  m.def("pack", [](const py::object& weight, const std::string& dtype) {
    return pack_array<pack, false>("pack", weight, dtype);
  }, py::arg("weight"), py::arg("dtype"));
  m.def("pack_transposed", [](const py::object& weight, const std::string& dtype) {
    return pack_array<pack_transposed, true>("pack_transposed", weight, dtype);
  }, py::arg("weight"), py::arg("dtype"));
  m.def("packed", packed_array, py::arg("data"), py::arg("dtype"), py::arg("depth"), py::arg("cols"));
  m.def("packed_bytes", [](const py::object& weight) {
    if (!py::isinstance<Packed>(weight))
      throw py::type_error("packed_bytes: weight must be Packed, got " + type_name(weight) + "; make it with nextword.ops.pack");
    const auto& w = weight.cast<const Packed&>();
    py::array_t<uint8_t> out(w.bytes(), reinterpret_cast<const uint8_t*>(w.data.get()), weight);  // a view that keeps it
    out.attr("setflags")(false);
    return out;
  }, py::arg("weight"));
  m.def("unpack", [](const Packed& weight) {
    auto out = empty({weight.depth, weight.cols});
    float* const to = out.mutable_data();
    {
      const Unlocked unlocked(weight.depth * weight.cols);  // in here only views are used
      unpack(weight, to);
    }
    return out;
  }, py::arg("weight"));
  m.def("to_float32", [](const py::object& x) {
    const auto a = contiguous("to_float32", "x", x, 0);
    auto out = empty(std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()));
    to_float32(a.data(), source_type("to_float32", "x", a), a.size(), out.mutable_data());
    return out;
  }, py::arg("x"));

  m.def("digest", [](const py::object& data) {
    const auto a = array<uint8_t>("digest", "data", data, {"bytes"});
    const void* const from = a.data();
    const int64_t size = a.size();
    const Digest sums = [&] {
      const Unlocked unlocked(size);  // only views are used
      return digest(from, size);
    }();
    char text[33];
    std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(sums.first),
                  static_cast<unsigned long long>(sums.second));
    return std::string(text);
  }, py::arg("data"));

  m.def("empty", [](const std::vector<py::ssize_t>& shape) {
    int64_t count = 1;
    for (const auto n : shape) {
      if (n < 0 || (n && count > (int64_t{1} << 60) / n))
        throw std::invalid_argument("empty: shape must hold sizes >= 0 whose product is below 2^60");
      count *= n;
    }
    return empty(shape);
  }, py::arg("shape"));
  m.def("matmul", [](const py::object& x, const Packed& w, const py::object& bias) {
    return matmul_array("matmul", x, w, bias, Activation::none);
  }, py::arg("x"), py::arg("weight"), py::arg("bias"));
  m.def("matmul_activated", [](const py::object& x, const Packed& w, const py::object& bias, const std::string& activation) {
    return matmul_array("matmul_activated", x, w, bias, activation_of("matmul_activated", activation));
  }, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("activation"));
  m.def("matmul_residual", [](const py::object& x, const Packed& w, const py::object& bias, const py::object& residual) {
    if (residual.is_none()) array<float>("matmul_residual", "residual", residual, {"rows", w.cols});
    return matmul_array("matmul_residual", x, w, bias, Activation::none, &residual);
  }, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("residual"));
  m.def("matmul_times", [](const py::object& x, const Packed& w, const py::object& bias, const py::object& factor) {
    return matmul_array("matmul_times", x, w, bias, Activation::none, nullptr, &factor);
  }, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("factor"));
  for (const auto& [name, activation] : activations)
    m.def(name, [op = name, kind = activation](const py::object& x) { return activate_array(op, x, kind); }, py::arg("x"));

  m.def("layer_norm", [](const py::object& x, const py::object& weight, const py::object& bias, float eps) {
    const auto a = array<float>("layer_norm", "x", x, {"rows", "cols"});
    const auto w = array<float>("layer_norm", "weight", weight, {a.shape(1)});
    const auto b = array<float>("layer_norm", "bias", bias, {a.shape(1)});
    if (a.shape(1) < 1) throw std::invalid_argument("layer_norm: x must have at least one column, got " + received(a));
    auto out = empty({a.shape(0), a.shape(1)});
    const float *const from = data<float>(a), *const by = data<float>(w), *const plus = data<float>(b);
    float* const to = out.mutable_data();
    const int64_t n = a.shape(0), cols = a.shape(1);
    const Unlocked unlocked(16 * n * cols);  // below this line only views are used
    layer_norm(from, by, plus, eps, n, cols, to);
    return out;
  }, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("eps"));
  m.def("rms_norm", [](const py::object& x, const py::object& weight, float eps) {
    const auto a = rows<float>("rms_norm", "x", x, {"rows", "cols"});
    const auto w = array<float>("rms_norm", "weight", weight, {"width"});
    const int64_t n = a.shape(0), cols = a.shape(1), width = w.shape(0), stride = row_stride(a);
    if (cols < 1 || width < 1 || cols % width)
      throw std::invalid_argument("rms_norm: x must have columns, a multiple of the " + std::to_string(width) + " of weight, got " +
                                  received(a));
    auto out = empty({n, cols});
    const float *const from = data<float>(a), *const by = data<float>(w);
    float* const to = out.mutable_data();
    const Unlocked unlocked(16 * n * cols);  // below this line only views are used
    rms_norm(from, stride, by, eps, n, cols, width, to);
    return out;
  }, py::arg("x"), py::arg("weight"), py::arg("eps"));
  m.def("rotate", [](const py::object& x, const py::object& places, const py::object& turns, bool interleaved) {
    const auto a = rows<float>("rotate", "x", x, {"rows", "heads * 2 * pairs"});
    const auto t = array<float>("rotate", "turns", turns, {"positions", "pairs", 2});
    const int64_t n = a.shape(0), cols = a.shape(1), pairs = t.shape(1), stride = row_stride(a);
    if (cols < 1 || pairs < 1 || cols % (2 * pairs))
      throw std::invalid_argument("rotate: x must have columns, a multiple of 2 * pairs = " + std::to_string(2 * pairs) + ", got " +
                                  received(a));
    const auto p = indices("rotate", "places", places, {n});
    check_indices("rotate", "places", p.data(), n, t.shape(0));
    auto out = empty({n, cols});
    const float *const from = data<float>(a), *const by = data<float>(t);
    const int64_t* const at = p.data();
    float* const to = out.mutable_data();
    const Pairing pairing = interleaved ? Pairing::neighbours : Pairing::halves;
    const Unlocked unlocked(16 * n * cols);  // below this line only views are used
    rotate(from, stride, at, by, pairing, n, cols / (2 * pairs), pairs, to);
    return out;
  }, py::arg("x"), py::arg("places"), py::arg("turns"), py::arg("interleaved"));
  m.def("softmax", [](const py::object& x) {
    const auto a = array<float>("softmax", "x", x, {"rows", "cols"});
    if (a.shape(1) < 1) throw std::invalid_argument("softmax: x must have at least one column, got " + received(a));
    auto out = empty({a.shape(0), a.shape(1)});
    const float* const from = data<float>(a);
    float* const to = out.mutable_data();
    const int64_t n = a.shape(0), cols = a.shape(1);
    const Unlocked unlocked(16 * n * cols);  // below this line only views are used
    softmax(from, n, cols, to);
    return out;
  }, py::arg("x"));
  m.def("embedding", [](const py::object& ids, const py::object& places, const Packed& tokens, const py::object& positions) {
    const auto i = indices("embedding", "ids", ids, {"tokens"});
    const auto n = static_cast<int64_t>(i.size());
    check_indices("embedding", "ids", i.data(), n, tokens.cols);
    std::vector<int64_t> p;
    const float* add = nullptr;
    if (!places.is_none()) p = indices("embedding", "places", places, {n});
    if (!positions.is_none()) {
      const auto table = array<float>("embedding", "positions", positions, {"places", tokens.depth});
      if (places.is_none()) throw std::invalid_argument("embedding: places must be given where positions are, got None");
      check_indices("embedding", "places", p.data(), n, table.shape(0));
      add = data<float>(table);
    }
    auto out = empty({n, tokens.depth});
    const int64_t *const from = i.data(), *const at = p.data();
    float* const to = out.mutable_data();
    const Unlocked unlocked(n * tokens.depth);  // below this line only views are used
    embedding(from, at, tokens, add, n, to);
    return out;
  }, py::arg("ids"), py::arg("places"), py::arg("tokens"), py::arg("positions"));
}
