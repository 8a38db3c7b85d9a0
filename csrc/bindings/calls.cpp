#include "calls.h"

#include <pybind11/detail/function_record_pyobject.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "instances.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;
using py::detail::function_record;

namespace {

// A parameter as pybind11 writes it in a signature: "name: type", or "name: type = default".
struct Parameter {
  std::string_view name, type;
  bool optional, keyword_only;
};

bool starts(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }
bool ends(std::string_view text, std::string_view with) {
  return text.size() >= with.size() && text.substr(text.size() - with.size()) == with;
}

std::vector<Parameter> parameters(std::string_view signature) {
  std::vector<Parameter> out;
  bool keyword_only = false;
  int depth = 0;
  size_t begin = 1;  // behind "("
  for (size_t at = 1; at < signature.size(); ++at) {
    const char c = signature[at];
    const bool end = depth == 0 && (c == ')' || c == ',');
    if (!end) {
      depth += (c == '[' || c == '(') - (c == ']' || c == ')');
      continue;
    }
    const std::string_view part = signature.substr(begin, at - begin);
    if (part == "*") keyword_only = true;
    if (const auto colon = part.find(": "); colon != part.npos) {
      const auto equals = part.find(" = ", colon);
      const auto type = part.substr(colon + 2, equals == part.npos ? part.npos : equals - colon - 2);
      out.push_back({part.substr(0, colon), type, equals != part.npos, keyword_only});
    }
    if (c == ')') break;
    begin = at + 2;
  }
  return out;
}

// Types as signatures spell them, as messages name them, and what fits.
struct Kind {
  std::string_view spelled, name;
  bool (*fits)(PyObject*);
};
bool is_text(PyObject* o) { return PyUnicode_Check(o) || PyBytes_Check(o); }
constexpr Kind kinds[] = {
    {"str", "str", [](PyObject* o) -> bool { return PyUnicode_Check(o); }},
    {"bytes", "bytes", [](PyObject* o) -> bool { return PyBytes_Check(o); }},
    {"bool", "bool", [](PyObject* o) -> bool { return PyBool_Check(o); }},
    {"typing.SupportsInt", "int", [](PyObject* o) -> bool { return PyIndex_Check(o); }},
    {"int", "int", [](PyObject* o) -> bool { return PyIndex_Check(o); }},
    {"typing.SupportsFloat", "a number", [](PyObject* o) -> bool { return PyNumber_Check(o) && !PyComplex_Check(o); }},
    {"float", "a number", [](PyObject* o) -> bool { return PyNumber_Check(o) && !PyComplex_Check(o); }},
    {"list", "a list", [](PyObject* o) -> bool { return PyList_Check(o); }},
    {"tuple", "a tuple", [](PyObject* o) -> bool { return PySequence_Check(o) && !is_text(o); }},
    {"collections.abc.Sequence", "a sequence", [](PyObject* o) -> bool { return PySequence_Check(o) && !is_text(o); }},
    {"collections.abc.Iterable", "iterable", [](PyObject* o) -> bool { return Py_TYPE(o)->tp_iter || PySequence_Check(o); }},
    {"collections.abc.Callable", "callable", [](PyObject* o) -> bool { return PyCallable_Check(o); }},
};

const Kind* kind_of(std::string_view type) {
  for (const Kind& kind : kinds) {
    if (!starts(type, kind.spelled)) continue;
    const auto rest = type.substr(kind.spelled.size());
    if (rest.empty() || rest[0] == '[' || rest[0] == ' ') return &kind;
  }
  return nullptr;
}

constexpr std::string_view own = "nextword._core.", or_none = " | None";

PyObject* core = nullptr;  // the module, as long as the process lives

// What a parameter takes, and whether an argument is of that type; of what is no type here, none is said to be wrong.
struct Expected {
  std::string name;
  bool fits = true, items_fit = true;

  Expected(std::string_view type, PyObject* argument) {
    const bool optional = ends(type, or_none);
    if (optional) type.remove_suffix(or_none.size());
    if (starts(type, own)) {
      name = type.substr(own.size());
      const auto known = py::getattr(core, name.c_str(), py::none());
      fits = known.is_none() || py::isinstance(argument, known);
    } else if (const Kind* kind = kind_of(type)) {
      name = kind->name;
      fits = kind->fits(argument);
      const auto open = type.find('[');
      const Kind* const items = open == type.npos ? nullptr : kind_of(type.substr(open + 1));
      if (items && items->name != kind->name) {
        name += " of " + std::string(items->name);
        if (fits && PyList_Check(argument))
          for (Py_ssize_t i = 0; items_fit && i < PyList_GET_SIZE(argument); ++i)
            items_fit = items->fits(PyList_GET_ITEM(argument, i));
      }
    }
    if (optional) {
      name += " or None";
      fits = fits || argument == Py_None;
    }
  }
};

std::string listed(const std::vector<Parameter>& all, size_t first) {
  std::string out = "(";
  bool marked = false;
  for (size_t i = first; i < all.size(); ++i) {
    if (out.size() > 1) out += ", ";
    if (all[i].keyword_only && !marked) out += "*, ", marked = true;
    out += std::string(all[i].name) + (all[i].optional ? "=..." : "");
  }
  return out + ")";
}

// A call as it came: the argument of each parameter, or null.
struct Given {
  std::vector<PyObject*> arguments;
  std::string problem;  // with their number or names

  Given(const std::vector<Parameter>& all, size_t hidden, PyObject* const* args, size_t count, PyObject* names)
      : arguments(all.size(), nullptr) {
    const auto positional = static_cast<size_t>(std::count_if(all.begin(), all.end(), [](const Parameter& p) { return !p.keyword_only; }));
    if (count > positional) problem = std::to_string(count - hidden) + " positional arguments";
    std::copy_n(args, std::min(count, positional), arguments.begin());
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
      const auto name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, i));
      if (!name) PyErr_Clear();
      const auto found = std::find_if(all.begin(), all.end(), [&](const Parameter& p) { return name && p.name == name; });
      if (found == all.end()) {
        problem = "the unknown argument '" + shown(name ? name : "?") + "'";
      } else if (PyObject*& place = arguments[static_cast<size_t>(found - all.begin())]; place) {
        problem = std::string(found->name) + " twice";
      } else {
        place = args[count + static_cast<size_t>(i)];
      }
    }
    for (size_t i = 0; i < all.size() && problem.empty(); ++i)
      if (!arguments[i] && !all[i].optional) problem = i < hidden ? "no object" : "no " + std::string(all[i].name);
  }
};

// Why pybind11 found that the arguments do not fit.
[[noreturn]] void reject(const function_record& function, PyObject* const* args, size_t count, PyObject* names) {
  const auto all = parameters(function.signature);
  const size_t hidden = function.is_method ? 1 : 0;  // self
  std::string operation = function.name;
  if (function.is_constructor) operation = std::string(py::str(function.scope.attr("__name__")));
  const auto what = [&](size_t i) {  // a property's parameters have no names: itself, and what it is set to
    return operation + (all[i].name == "arg1" ? "" : ": " + std::string(all[i].name == "arg0" ? "self" : all[i].name));
  };
  const Given given(all, hidden, args, count, names);
  if (!given.problem.empty()) throw py::type_error(operation + ": expected " + listed(all, hidden) + ", got " + given.problem);
  for (size_t i = 0; i < all.size(); ++i) {
    if (!given.arguments[i]) continue;
    const Expected expected(all[i].type, given.arguments[i]);
    if (expected.fits && expected.items_fit) continue;
    const std::string found = expected.fits ? "other items" : type_name(given.arguments[i]);
    throw py::type_error(what(i) + " must be " + expected.name + ", got " + found +
                         (expected.name == "Packed" ? "; make it with nextword.ops.pack" : ""));
  }
  for (size_t i = 0; i < all.size(); ++i) {  // of the right type: a number out of range, or text that is no UTF-8
    PyObject* const argument = given.arguments[i];
    if (!argument) continue;
    if (PyUnicode_Check(argument) && !PyUnicode_AsUTF8(argument)) {
      PyErr_Clear();
      throw std::invalid_argument(what(i) + " holds a lone surrogate, which has no UTF-8; replace it");
    }
    int over = 0;
    const long long value = PyLong_Check(argument) ? PyLong_AsLongLongAndOverflow(argument, &over) : 0;
    if (over || value < 0 || value >= 1LL << 31)
      throw std::invalid_argument(what(i) + " is out of range, got " + (over ? "more than 64 bits" : std::to_string(value)));
  }
  throw py::type_error(operation + ": expected " + listed(all, hidden) + ", got items of another type or out of range");
}

PyObject* rejected(PyObject* self, PyObject* const* args, size_t count, PyObject* names) {
  try {
    reject(*py::detail::function_record_ptr_from_PyObject(self), args, count, names);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

// pybind11's dispatcher, of either kind that its versions have; that of operators says NotImplemented where none fits.
PyCFunction dispatcher = nullptr;

PyObject* call_fast(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
  PyObject* const result = reinterpret_cast<Fast>(reinterpret_cast<void (*)()>(dispatcher))(self, args, count, names);
  if (result != Py_NotImplemented) return result;
  Py_DECREF(result);
  return rejected(self, args, static_cast<size_t>(count), names);
}

PyObject* call_tuple(PyObject* self, PyObject* args, PyObject* keywords) {
  PyObject* const result = reinterpret_cast<PyCFunctionWithKeywords>(reinterpret_cast<void (*)()>(dispatcher))(self, args, keywords);
  if (result != Py_NotImplemented) return result;
  Py_DECREF(result);
  std::vector<PyObject*> all(&PyTuple_GET_ITEM(args, 0), &PyTuple_GET_ITEM(args, 0) + PyTuple_GET_SIZE(args));
  const auto count = all.size();
  const py::tuple names(keywords ? static_cast<size_t>(PyDict_GET_SIZE(keywords)) : 0);
  Py_ssize_t at = 0, next = 0;
  for (PyObject *name, *value; keywords && PyDict_Next(keywords, &next, &name, &value); ++at) {
    PyTuple_SET_ITEM(names.ptr(), at, py::handle(name).inc_ref().ptr());
    all.push_back(value);
  }
  return rejected(self, all.data(), count, names.ptr());
}

void word_errors_of(PyObject* callable, const std::string& property = "") {
  if (PyInstanceMethod_Check(callable)) callable = PyInstanceMethod_GET_FUNCTION(callable);
  if (!PyCFunction_Check(callable)) return;
  PyObject* const self = PyCFunction_GET_SELF(callable);
  function_record* const record = self ? py::detail::function_record_ptr_from_PyObject(self) : nullptr;
  if (!record || record->has_args) return;  // one that takes anything words its own errors
  PyMethodDef& method = *record->def;
  const bool fast = method.ml_flags & METH_FASTCALL;
  const auto ours = fast ? reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_fast))
                         : reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_tuple));
  if (method.ml_meth == ours) return;
  dispatcher = method.ml_meth;
  method.ml_meth = ours;
  if (!property.empty()) {  // pybind11 gives it no name; it frees what it has by free
    std::free(record->name);
    record->name = PYBIND11_COMPAT_STRDUP(property.c_str());
    method.ml_name = record->name;
  }
  record->is_operator = true;
  // Numbers and truth values are not made of other things: 1 of 1.5, or True of "no".
  const auto all = parameters(record->signature);
  for (size_t i = 0; i < all.size() && i < record->args.size(); ++i) {
    const Kind* const kind = kind_of(all[i].type);
    if (kind && (kind->name == "int" || kind->name == "bool")) record->args[i].convert = false;
  }
}

}  // namespace

void word_call_errors(py::module_& m) {
  core = m.inc_ref().ptr();
  for (const auto& [name, value] : m.attr("__dict__").cast<py::dict>()) {
    word_errors_of(value.ptr());
    if (!PyType_Check(value.ptr())) continue;
    for (const auto& entry : py::dict(value.attr("__dict__"))) {
      word_errors_of(entry.second.ptr());
      for (const char* const part : {"fget", "fset"})
        if (const auto function = py::getattr(entry.second, part, py::none()); !function.is_none())
          word_errors_of(function.ptr(), std::string(py::str(name)) + "." + std::string(py::str(entry.first)));
    }
  }
}
