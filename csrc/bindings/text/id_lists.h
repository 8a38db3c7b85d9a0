// Lists of token ids for Python.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "text/raw_buffer.h"

namespace nextword {

// The Python ints of all ids, made when first needed: a list of ready-made ints is several times faster than one of new
// ints. Guarded by the interpreter lock.
class IdLists {
 public:
  explicit IdLists(size_t ids) : ints_(ids) {}
  ~IdLists() {
    for (PyObject* i : ints_) Py_XDECREF(i);
  }
  IdLists(const IdLists&) = delete;

  PyObject* make(const uint32_t* ids, size_t count) {  // a new reference, or nullptr with a Python error
    PyObject* out = empty(count);
    if (!out) return nullptr;
    PyObject** items = PySequence_Fast_ITEMS(out);
    constexpr size_t ahead = 16;
    for (size_t i = 0, checked = between_checks; i < count; ++i) {
      if (i == checked) {
        checked += between_checks;
        if (!go_on(out, i, count)) return nullptr;
      }
      if (i + ahead < count) __builtin_prefetch(ints_[ids[i + ahead]], 1);
      PyObject*& id = ints_[ids[i]];
      if (!id && !(id = PyLong_FromUnsignedLong(ids[i]))) {
        Py_SET_SIZE(out, static_cast<Py_ssize_t>(i));
        Py_DECREF(out);
        return nullptr;
      }
      Py_INCREF(id);
      items[i] = id;
    }
    return out;
  }

 private:
  static constexpr size_t between_checks = size_t{1} << 18;  // ints: a millisecond or so

  // Lets handlers of signals run while `made` of the list's `count` items are there; false with a Python error, without
  // the list, where one of them raises. The collector does not know the list meanwhile, so that nobody can reach it.
  static bool go_on(PyObject* list, size_t made, size_t count) {
    Py_SET_SIZE(list, static_cast<Py_ssize_t>(made));
    PyObject_GC_UnTrack(list);
    if (PyErr_CheckSignals()) {
      Py_DECREF(list);
      return false;
    }
    PyObject_GC_Track(list);
    Py_SET_SIZE(list, static_cast<Py_ssize_t>(count));
    return true;
  }

  // A list that has room for `count` items, which are to be written before anything else happens. PyList_New would write
  // zeros first.
  static PyObject* empty(size_t count) {
#if defined(Py_GIL_DISABLED)
    return PyList_New(static_cast<Py_ssize_t>(count));
#else
    PyObject* out = PyList_New(0);
    if (!out || count == 0) return out;
    expect_again(count * sizeof(PyObject*));
    auto* list = reinterpret_cast<PyListObject*>(out);
    list->ob_item = static_cast<PyObject**>(PyMem_Malloc(count * sizeof(PyObject*)));
    if (!list->ob_item) {
      Py_DECREF(out);
      return PyErr_NoMemory();
    }
    list->allocated = static_cast<Py_ssize_t>(count);
    Py_SET_SIZE(out, static_cast<Py_ssize_t>(count));
    return out;
#endif
  }

  std::vector<PyObject*> ints_;
};

}  // namespace nextword
