// Programs for Python, documented at their class below.
#include "arithmetic/program.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <utility>

#include "activations.h"
#include "arithmetic/kinds.h"
#include "bindings/stop.h"
#include "bindings/unlocked.h"
#include "cache.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

struct Recorded;

}  // namespace

namespace pybind11::detail {
template <>
class type_caster<Recorded> : public initialised_caster<Recorded> {};
}  // namespace pybind11::detail

namespace {

const char* const op = "program";

// The items of a tuple of so many.
template <size_t count>
std::array<py::object, count> items(const char* name, const char* expected, const py::handle& tuple) {
  if (!PyTuple_Check(tuple.ptr()) || PyTuple_GET_SIZE(tuple.ptr()) != count)
    throw py::type_error(std::string(op) + ": " + name + " must be a tuple " + expected + ", got " +
                         (PyTuple_Check(tuple.ptr()) ? std::to_string(PyTuple_GET_SIZE(tuple.ptr())) + " items" : type_name(tuple)));
  std::array<py::object, count> out;
  for (size_t i = 0; i < count; ++i) out[i] = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(tuple.ptr(), i));
  return out;
}

Index index_of(const std::string& name) {
  for (int i = 0; i < index_kinds; ++i)
    if (name == index_names[i]) return static_cast<Index>(i);
  throw std::invalid_argument(std::string(op) + ": indices must be some of ids, places, types, wanted, got '" + shown(name) + "'");
}

// One cache of a pass: what Python gives of it, checked. Keeps what its layers point into.
struct PastArgs {
  std::array<py::object, 5> parts;  // lengths, and four lists with an entry for each layer
  py::array lengths;
  int64_t prefix = 0;
  std::vector<int64_t> past;
  std::vector<CacheArgs> layers;

  PastArgs(const py::handle& given, const std::vector<int64_t>& widths, const std::vector<int64_t>& slots)
      : parts(items<5>("cache", "(lengths, keys, values, scales, before)", given)),
        lengths(writable<int64_t>(op, "lengths", parts[0], {"slots"})) {
    check_indices(op, "slots", slots.data(), static_cast<int64_t>(slots.size()), lengths.shape(0));
    constexpr const char* names[] = {"keys", "values", "scales", "before"};
    for (size_t i = 0; i < 4; ++i) {
      const py::object& list = parts[i + 1];
      const bool is_list = PyList_Check(list.ptr());
      if (!is_list || static_cast<size_t>(PyList_GET_SIZE(list.ptr())) != widths.size())
        throw std::invalid_argument(std::string(op) + ": " + names[i] + " must be a list with an entry for each of " +
                                    std::to_string(widths.size()) + " layers, got " +
                                    (is_list ? std::to_string(PyList_GET_SIZE(list.ptr())) : type_name(list)));
    }
    if (!widths.empty()) {
      const auto first = items<3>("before", "(keys, values, scales)", entry(4, 0))[0];
      if (py::isinstance<py::array>(first) && first.cast<py::array>().ndim() > 1)  // else refused with the layers
        prefix = first.cast<py::array>().shape(1) * panel_cols;
    }
    for (const int64_t slot : slots) past.push_back(data<int64_t>(lengths)[slot] - prefix);
  }

  // The layers, checked against what the sequences bring.
  Past take(const std::vector<int64_t>& widths, const std::vector<int64_t>& slots, const std::vector<int64_t>& fresh) {
    Past found{{slots.data(), past.data(), fresh.data(), static_cast<int64_t>(slots.size())}, {}};
    layers.reserve(widths.size());
    found.layers.reserve(widths.size());
    for (size_t i = 0; i < widths.size(); ++i) {
      layers.emplace_back(op, entry(1, i), entry(2, i), entry(3, i));
      layers.back().take(op, found.sequences);
      const auto [first, second, third] = items<3>("before", "(keys, values, scales)", entry(4, i));
      layers.back().set_prefix(op, first, second, third);
      const Cache& cache = layers.back().cache;
      if (widths[i] && cache.heads * cache.width != widths[i])
        throw std::invalid_argument(std::string(op) + ": keys must hold heads * width = " + std::to_string(widths[i]) +
                                    ", got " + std::to_string(cache.heads) + " * " + std::to_string(cache.width));
      if (cache.prefix != layers[0].cache.prefix)
        throw std::invalid_argument(std::string(op) + ": before must be of one length in all layers, got " +
                                    std::to_string(layers[0].cache.prefix) + " and " + std::to_string(cache.prefix));
      found.layers.push_back(cache);
    }
    return found;
  }

 private:
  // An entry of a list, which other code may have made shorter meanwhile.
  py::object entry(size_t part, size_t layer) const {
    PyObject* const found = PyList_GetItem(parts[part].ptr(), static_cast<Py_ssize_t>(layer));
    if (!found) throw py::error_already_set();
    return py::reinterpret_borrow<py::object>(found);
  }
};

// A program, and the arrays that it points into.
struct Recorded {
  Program program;
  std::vector<py::array> arrays;

  // A number that counts something; -1 for what counts nothing here.
  static int number(int64_t given) { return 0 <= given && given < 1 << 30 ? static_cast<int>(given) : -1; }
  static View view(const std::array<int64_t, 3>& given) { return {number(given[0]), given[1], given[2]}; }

  Array array_of(const char* kind, const py::handle& object) {
    if (object.is_none()) return {nullptr, 0, 0};
    const auto ndim = py::isinstance<py::array>(object) ? object.cast<py::array>().ndim() : 0;
    arrays.push_back(ndim == 1   ? array<float>(kind, "weights", object, {"cols"})
                     : ndim == 3 ? array<float>(kind, "weights", object, {"rows", "pairs", 2})
                                 : array<float>(kind, "weights", object, {"rows", "cols"}));
    const auto& a = arrays.back();  // its numbers are not looked at: whoever keeps it may write them until they are needed
    if (!a.size())  // no rows are what a vector has
      throw std::invalid_argument(std::string(kind) + ": weights must not be empty, got " + received(a));
    return {data<float>(a), ndim == 1 ? 0 : a.shape(0), ndim == 3 ? 2 * a.shape(1) : a.shape(ndim - 1), ndim == 3};
  }

  py::tuple add(const std::string& kind, const std::vector<std::array<int64_t, 3>>& values,
                const std::vector<std::string>& names, const py::list& weights, float scalar,
                const std::optional<std::string>& activation, const std::optional<std::pair<int64_t, int64_t>>& cache,
                int64_t window, int64_t heads) {
    Op added{};
    added.kind = &kind_of(kind);
    const auto count = [&](const char* what, size_t got, size_t expected) {
      if (got != expected)
        throw std::invalid_argument("program: " + kind + " takes " + std::to_string(expected) + " " + what + ", got " +
                                    std::to_string(got));
    };
    count("values", values.size(), added.kind->inputs);
    count("indices", names.size(), added.kind->indices);
    count("weights", weights.size(), added.kind->matrices + added.kind->arrays);
    for (size_t i = 0; i < values.size(); ++i) added.inputs[i] = view(values[i]);
    for (size_t i = 0; i < names.size(); ++i) added.indices[i] = index_of(names[i]);
    const auto held = arrays.size();
    size_t next = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const py::object weight = weights[i];
      if (i >= added.kind->matrices)
        added.arrays[next++] = array_of(kind.c_str(), weight);
      else if (py::isinstance<Packed>(weight))
        added.matrix = weight.cast<const Packed&>();
      else
        throw py::type_error(kind + ": weight must be Packed, got " + type_name(weight) + "; make it with nextword.ops.pack");
    }
    added.scalar = scalar;
    added.window = window;
    added.heads = heads;
    added.activation = activation ? activation_of(kind.c_str(), *activation) : Activation::none;
    added.cache = cache ? number(cache->first) : -1;
    added.layer = cache ? number(cache->second) : -1;
    try {
      const Op& made = program.add(std::move(added));
      if (made.out < 0) return py::make_tuple(-1, row_names[0], 0);
      const Value& value = program.value(made.out);
      return py::make_tuple(made.out, row_names[static_cast<int>(value.rows)], value.cols);
    } catch (...) {
      arrays.resize(held);
      throw;
    }
  }

  void close(const std::array<int64_t, 3>& result) { program.close(view(result)); }

  py::list operations() const {
    py::list found;
    for (const Op& one : program.ops) {
      const Value made = one.out < 0 ? program.value(one.inputs[0].value) : program.value(one.out);
      const bool whole = one.kind->is(product);
      found.append(py::make_tuple(one.kind->name, row_names[static_cast<int>(made.rows)], one.out < 0 ? 0 : made.cols,
                                  whole ? one.matrix.bytes() : 0,
                                  whole ? one.matrix.depth * one.matrix.cols : 0));
    }
    return found;
  }

  py::array_t<float> run(const py::object& ids_, const py::object& slots_, const py::object& fresh_, const py::object& wanted_,
                         const py::list& caches, const py::object& seconds_, const py::object& stop_, const py::object& types_) const {
    if (!program.closed()) throw std::invalid_argument(std::string(op) + ": it must be closed before it runs");
    if (!stop_.is_none() && !py::isinstance<Stop>(stop_))
      throw py::type_error(std::string(op) + ": stop must be a Stop or None, got " + type_name(stop_));
    const Stop* const stop = stop_.is_none() ? nullptr : &stop_.cast<const Stop&>();
    const auto slots = indices(op, "slots", slots_, {"sequences"});
    const auto sequences = static_cast<int64_t>(slots.size());
    const auto fresh = indices(op, "fresh", fresh_, {sequences});
    const bool without = program.widths.empty() && caches.empty();  // else the first one tells the places
    if (!without && caches.size() != std::max<size_t>(1, program.widths.size()))
      throw std::invalid_argument(std::string(op) + ": caches must be " + std::to_string(std::max<size_t>(1, program.widths.size())) +
                                  ", got " + std::to_string(caches.size()));
    const std::vector<int64_t> none;
    const auto widths = [&](size_t i) -> const std::vector<int64_t>& { return i < program.widths.size() ? program.widths[i] : none; };
    std::vector<PastArgs> given;
    for (size_t i = 0; i < caches.size(); ++i) given.emplace_back(py::object(caches[i]), widths(i), slots);

    const auto all_ids = indices(op, "ids", ids_, {"tokens"});
    int64_t tokens = 0;
    std::vector<int64_t> places;
    const Limit& of_ids = program.limits[static_cast<int>(Index::ids)];
    const Limit& of_places = program.limits[static_cast<int>(Index::places)];
    for (size_t i = 0; i < slots.size(); ++i) {
      if (fresh[i] < 0)
        throw std::out_of_range(std::string(op) + ": fresh must be 0 or more, got " + std::to_string(fresh[i]) + " at " +
                                std::to_string(i));
      const int64_t length = without ? 0 : given[0].past[i] + given[0].prefix;
      for (int64_t j = 0; j < fresh[i] && tokens <= static_cast<int64_t>(all_ids.size()); ++j, ++tokens) {
        places.push_back(length + j);
        check_indices(of_places.of ? of_places.of : op, "places", &places.back(), 1, of_places.most, tokens);
      }
    }
    const auto ids = indices(op, "ids", ids_, {tokens}), wanted = indices(op, "wanted", wanted_, {"rows"});
    const auto wanted_count = static_cast<int64_t>(wanted.size());
    check_indices(of_ids.of ? of_ids.of : op, "ids", ids.data(), tokens, of_ids.most);
    check_indices("model", "rows", wanted.data(), wanted_count, tokens);
    std::vector<int64_t> types(static_cast<size_t>(tokens), 0);
    if (!types_.is_none()) types = indices(op, "types", types_, {tokens});
    const Limit& of_types = program.limits[static_cast<int>(Index::types)];
    check_indices(of_types.of ? of_types.of : op, "types", types.data(), tokens, of_types.most);
    Pass pass{ids.data(), places.data(), types.data(), wanted.data(), fresh.data(), tokens, wanted_count, sequences, {}};
    for (size_t i = 0; i < caches.size(); ++i) pass.pasts.push_back(given[i].take(widths(i), slots, fresh));
    double* clock = nullptr;
    if (!seconds_.is_none()) {
      auto seconds = writable<double>(op, "seconds", seconds_, {static_cast<int64_t>(program.ops.size())});
      clock = mutable_data<double>(seconds);
    }

    const Value& result = program.value(program.result);
    auto made = empty({result.rows == Rows::tokens ? tokens : wanted_count, result.cols});
    float* const out = made.mutable_data();
    {
      const Unlocked unlocked(tokens * program.products[0] + wanted_count * program.products[1], stop);
      if (stop && stop->on.load(std::memory_order_relaxed)) throw Stopped();
      nextword::run(program, pass, out, clock);  // in here only views are used
    }
    for (PastArgs& one : given)
      for (size_t i = 0; i < slots.size(); ++i) mutable_data<int64_t>(one.lengths)[slots[i]] += fresh[i];
    return made;
  }
};

// A method that is called on an object alone: to a pointer to a member, pybind11 hands None as null.
template <class R, class... A>
auto method(R (Recorded::*f)(A...)) {
  return [f](Recorded& self, A... args) -> R { return (self.*f)(std::forward<A>(args)...); };
}
template <class R, class... A>
auto method(R (Recorded::*f)(A...) const) {
  return [f](const Recorded& self, A... args) -> R { return (self.*f)(std::forward<A>(args)...); };
}

}  // namespace

void bind_program(py::module_& m) {
  py::class_<Recorded>(m, "Program", R"(A graph of operations from ids to logits, run in one call; nextword.arithmetic.recorder makes it of Python code.

Packed matrices and float32 arrays are kept. Each operation is checked when it is added.)")
      .def(py::init<>())
      .def("__len__", [](const Recorded& r) { return r.program.ops.size(); })
      .def("add", method(&Recorded::add), py::arg("kind"), py::arg("values"), py::arg("indices"), py::arg("weights"), py::arg("scalar"),
           py::arg("activation"), py::arg("cache"), py::arg("window") = 0, py::arg("heads") = 0, R"(Another operation; returns the value that it makes, (number, rows, cols), or (-1, "tokens", 0).

values: (number, first column, columns) of each operand; indices: "ids", "places", "types", "wanted"; weights: Packed, float32
arrays or None, in the operation's order; cache: (number of the cache, layer); window: tokens that attention sees, 0: all;
heads: of attention within texts.
Raises ValueError that names the operation and the operand if a shape does not fit.)")
      .def("close", method(&Recorded::close), py::arg("result"), R"(Names the value that a run returns; nothing can be added from here on.)")
      .def("operations", method(&Recorded::operations), R"(A tuple for each operation: its name; what the result has a row for each of, "tokens" or "wanted"; its columns; the bytes
of weights that it reads a pass; its multiply-adds with weights a row.)")
      .def("run", method(&Recorded::run), py::arg("ids"), py::arg("slots"), py::arg("fresh"), py::arg("wanted"), py::arg("caches"),
           py::arg("seconds"), py::arg("stop") = py::none(), py::arg("types") = py::none(), R"(Run new tokens of some sequences and remember them in the caches; the result, float32 [wanted, vocabulary].

ids: int64 [tokens], one sequence after the other; slots, fresh: int64 [sequences], where each lives and how many of the
tokens are its own; wanted: int64, the tokens that give logits; caches: (lengths, keys, values, scales, before) of each
KVCache, whose lengths, int64 [slots], are raised by what is new at the end; none where the program has no cache, and places
are counted from 0. types: None (all 0), or int64 [tokens]. seconds: None, or float64 [operations], to
which the time of each is added. stop: None, or a Stop, which another thread may set: StoppedError is raised soon after, and
nothing is remembered. Raises IndexError for an id, place, slot or row out of range, ValueError if a shape does
not fit; then nothing is remembered.)");
}
