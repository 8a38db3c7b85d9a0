// Checked views of NumPy arrays: the only place that words array errors. Nothing is converted silently: an array of
// another dtype or layout is an error that says how to convert it.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "arithmetic/pool.h"
#include "instances.h"

namespace nextword::bindings {
namespace py = pybind11;

// A dimension as the contract names it: a fixed size, or a word where any size will do.
struct Dim {
  Dim(int64_t n) : size(n), word(nullptr) {}
  Dim(const char* w) : size(-1), word(w) {}
  int64_t size;
  const char* word;
};
using Dims = std::initializer_list<Dim>;

inline std::string expected(Dims dims) {
  std::string text = "[";
  for (const Dim& d : dims) text += (text.size() > 1 ? ", " : "") + (d.word ? std::string(d.word) : std::to_string(d.size));
  return text + "]";
}

inline std::string received(const py::handle& object) {
  if (!py::isinstance<py::array>(object)) return type_name(object);
  const auto a = py::reinterpret_borrow<py::array>(object);
  std::string text = shown(std::string(py::str(a.dtype()))) + " [";
  constexpr py::ssize_t most = 6;  // dimensions
  for (py::ssize_t i = 0; i < std::min(a.ndim(), most); ++i) text += (i ? ", " : "") + std::to_string(a.shape(i));
  return text + (a.ndim() > most ? ", ...]" : "]");
}

template <class T> struct TypeName;
template <> struct TypeName<double> { static constexpr const char* value = "float64"; };
template <> struct TypeName<float> { static constexpr const char* value = "float32"; };
template <> struct TypeName<uint16_t> { static constexpr const char* value = "uint16"; };
template <> struct TypeName<uint8_t> { static constexpr const char* value = "uint8"; };
template <> struct TypeName<int8_t> { static constexpr const char* value = "int8"; };
template <> struct TypeName<int64_t> { static constexpr const char* value = "int64"; };

template <class T>
[[noreturn]] void reject(const char* op, const char* name, const py::handle& object, Dims dims, const char* way_out) {
  throw std::invalid_argument(std::string(op) + ": " + name + " must be " + TypeName<T>::value + " " + expected(dims) +
                              ", got " + received(object) + "; pass " + way_out);
}

inline bool shape_is(const py::array& a, Dims dims) {
  if (a.ndim() != static_cast<py::ssize_t>(dims.size())) return false;
  py::ssize_t i = 0;
  for (const Dim& d : dims) {
    if (!d.word && a.shape(i) != d.size) return false;
    ++i;
  }
  return true;
}

template <class T>
std::string conversion(const char* name) {
  return std::string("np.ascontiguousarray(") + name + ", np." + TypeName<T>::value + ") of that shape";
}

// A C-contiguous array of exactly this dtype and shape.
template <class T>
py::array array(const char* op, const char* name, const py::handle& object, Dims dims) {
  if (py::isinstance<py::array>(object)) {
    auto a = py::reinterpret_borrow<py::array>(object);
    if (py::isinstance<py::array_t<T, py::array::c_style>>(a) && shape_is(a, dims)) return a;
  }
  reject<T>(op, name, object, dims, conversion<T>(name).c_str());
}

// The same, and writable: memory that the operation changes in place.
template <class T>
py::array writable(const char* op, const char* name, const py::handle& object, Dims dims) {
  auto a = array<T>(op, name, object, dims);
  if (!a.writeable()) reject<T>(op, name, object, dims, "an array that is not read-only");
  return a;
}

// A two-dimensional array whose rows are contiguous but may lie apart, like x[:, a:b].
template <class T>
py::array rows(const char* op, const char* name, const py::handle& object, Dims dims) {
  if (py::isinstance<py::array_t<T>>(object)) {
    auto a = py::reinterpret_borrow<py::array>(object);
    if (shape_is(a, dims)) {
      const auto item = static_cast<py::ssize_t>(sizeof(T));
      const bool close = a.shape(1) <= 1 || a.strides(1) == item;
      const bool apart = a.shape(0) <= 1 || (a.strides(0) >= a.shape(1) * item && a.strides(0) % item == 0);
      if ((close && apart) || !a.size()) return a;
    }
  }
  reject<T>(op, name, object, dims, conversion<T>(name).c_str());
}
inline int64_t row_stride(const py::array& a) {
  return a.shape(0) <= 1 || !a.size() ? a.shape(1) : a.strides(0) / static_cast<py::ssize_t>(a.itemsize());
}

// A new float32 array, contents undefined; large ones on memory that is used again.
inline py::array_t<float> empty(const std::vector<py::ssize_t>& shape) {
  int64_t count = 1;
  for (const auto n : shape) count *= n;
  if (count < pooled_from) return py::array_t<float>(shape);
  auto owner = std::make_unique<std::shared_ptr<float>>(pooled_floats(count));
  const float* const data = owner->get();
  const py::capsule base(owner.release(), [](void* p) { delete static_cast<std::shared_ptr<float>*>(p); });
  return py::array_t<float>(shape, data, base);
}

// A copy of an array of numbers that say where memory is read or written: what has been checked of it stays true, whatever
// other threads write to the array while the interpreter lock is given up.
inline std::vector<int64_t> indices(const char* op, const char* name, const py::handle& object, Dims dims) {
  const auto a = array<int64_t>(op, name, object, dims);
  const auto* const from = static_cast<const int64_t*>(a.data());
  return {from, from + a.size()};
}

// Raises IndexError unless each of `count` numbers is 0 .. size - 1. first: the place of the first of them.
inline void check_indices(const char* op, const char* name, const int64_t* x, int64_t count, int64_t size, int64_t first = 0) {
  for (int64_t i = 0; i < count; ++i)
    if (x[i] < 0 || x[i] >= size)
      throw std::out_of_range(std::string(op) + ": " + name + " must be 0 .. " + std::to_string(size - 1) + ", got " +
                              std::to_string(x[i]) + " at " + std::to_string(first + i));
}

template <class T> const T* data(const py::array& a) { return static_cast<const T*>(a.data()); }
template <class T> T* mutable_data(py::array& a) { return static_cast<T*>(a.mutable_data()); }

}  // namespace nextword::bindings
