// The network for Python, documented at its class below.
#include "arithmetic/network.h"

#include <pybind11/pybind11.h>

#include <array>

#include "activations.h"
#include "bindings/unlocked.h"
#include "cache.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

struct Graph;

}  // namespace

namespace pybind11::detail {
template <>
class type_caster<Graph> : public initialised_caster<Graph> {};
}  // namespace pybind11::detail

namespace {

const char* const op = "network";

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

// A network, and the arrays that it points into.
struct Graph {
  Network network;
  std::vector<py::array> arrays;
  int64_t most_places;
  int64_t products = 0;  // multiply-adds of a token in the blocks
  mutable bool whole = false;  // has run: a block that came now would change what another thread may be running

  const float* vector(const char* name, const py::handle& object, int64_t size) {
    arrays.push_back(array<float>(op, name, object, {size}));
    return data<float>(arrays.back());
  }
  Norm norm(const char* name, const py::handle& pair) {
    const auto [weight, bias] = items<2>(name, "(weight, bias)", pair);
    const int64_t width = network.tokens.depth;
    return {vector(name, weight, width), vector(name, bias, width)};
  }
  Linear linear(const char* name, const py::handle& pair, int64_t depth, int64_t cols) {
    const auto [given, bias] = items<2>(name, "(Packed, bias)", pair);
    if (!py::isinstance<Packed>(given))
      throw py::type_error(std::string(op) + ": " + name + " must be (Packed, bias), got " + type_name(given) + " first");
    const Packed weight = given.cast<const Packed&>();
    if (weight.depth != depth || (cols && weight.cols != cols))
      throw std::invalid_argument(std::string(op) + ": " + name + " must be a matrix [" + std::to_string(depth) + ", " +
                                  (cols ? std::to_string(cols) : "inner") + "], got [" + std::to_string(weight.depth) +
                                  ", " + std::to_string(weight.cols) + "]");
    return {weight, bias.is_none() ? nullptr : vector(name, bias, weight.cols)};
  }

  Graph(const Packed& tokens, const py::object& positions, const py::object& ln_f, const py::object& head, float eps) {
    network.tokens = tokens;
    network.eps = eps;
    arrays.push_back(array<float>(op, "positions", positions, {"places", tokens.depth}));
    network.positions = data<float>(arrays.back());
    most_places = arrays.back().shape(0);
    network.ln_f = norm("ln_f", ln_f);
    network.head = linear("head", head, tokens.depth, tokens.cols);
  }

  void add(const py::object& ln_1, const py::object& qkv, float scale, const py::object& attn_out, const py::object& ln_2,
           const py::object& fc, const std::string& activation, const py::object& mlp_out) {
    if (whole) throw std::invalid_argument(std::string(op) + ": blocks are added before the first run; make a new Network");
    Block b{};
    const int64_t width = network.tokens.depth;
    b.ln_1 = norm("ln_1", ln_1);
    b.qkv = linear("qkv", qkv, width, 3 * width);
    b.scale = scale;
    b.attn_out = linear("attn_out", attn_out, width, width);
    b.ln_2 = norm("ln_2", ln_2);
    b.fc = linear("fc", fc, width, 0);
    b.activation = activation_of(op, activation);
    b.mlp_out = linear("mlp_out", mlp_out, b.fc.weight.cols, width);
    network.blocks.push_back(b);
    for (const Linear* layer : {&b.qkv, &b.attn_out, &b.fc, &b.mlp_out}) products += layer->weight.depth * layer->weight.cols;
  }

  // The caches of all layers, checked. args keeps what they point into.
  std::vector<Cache> caches(const py::list& keys, const py::list& values, const py::list& scales, const py::list& before,
                            const Sequences& sequences, std::vector<CacheArgs>& args) const {
    const size_t count = network.blocks.size();
    for (const auto& [name, list] : {std::pair{"keys", &keys}, {"values", &values}, {"scales", &scales}, {"before", &before}})
      if (list->size() != count)
        throw std::invalid_argument(std::string(op) + ": " + name + " must hold one entry for each of " +
                                    std::to_string(count) + " blocks, got " + std::to_string(list->size()));
    args.reserve(count);
    std::vector<Cache> found;
    for (size_t i = 0; i < count; ++i) {
      args.emplace_back(op, keys[i], values[i], scales[i]);
      args.back().take(op, sequences);
      const auto [first, second, third] = items<3>("before", "(keys, values, scales)", py::object(before[i]));
      args.back().set_prefix(op, first, second, third);
      const Cache& cache = args.back().cache;
      if (cache.heads * cache.width != network.tokens.depth)
        throw std::invalid_argument(std::string(op) + ": keys must hold heads * width = " +
                                    std::to_string(network.tokens.depth) + ", got " + std::to_string(cache.heads) + " * " +
                                    std::to_string(cache.width));
      if (cache.prefix != args[0].cache.prefix)
        throw std::invalid_argument(std::string(op) + ": before must be of one length in all blocks, got " +
                                    std::to_string(args[0].cache.prefix) + " and " + std::to_string(cache.prefix));
      found.push_back(cache);
    }
    return found;
  }

  py::array_t<float> run(const py::object& ids_, const py::object& slots_, const py::object& fresh_, const py::object& wanted_,
                         const py::object& lengths_, const py::list& keys, const py::list& values, const py::list& scales,
                         const py::list& before) const {
    whole = true;
    const auto slots = indices(op, "slots", slots_, {"sequences"});
    const auto sequences = static_cast<int64_t>(slots.size());
    const auto fresh = indices(op, "fresh", fresh_, {sequences});
    auto lengths = writable<int64_t>(op, "lengths", lengths_, {"slots"});
    check_indices(op, "slots", slots.data(), sequences, lengths.shape(0));
    int64_t prefix = 0, tokens = 0;
    if (before.size()) {
      const auto first = items<3>("before", "(keys, values, scales)", py::object(before[0]))[0];
      if (py::isinstance<py::array>(first) && first.cast<py::array>().ndim() > 1)  // else refused with the caches
        prefix = first.cast<py::array>().shape(1) * panel_cols;
    }
    std::vector<int64_t> past, places;
    for (int64_t i = 0; i < sequences; ++i) {
      const int64_t length = data<int64_t>(lengths)[slots[static_cast<size_t>(i)]], more = fresh[static_cast<size_t>(i)];
      past.push_back(length - prefix);
      for (int64_t j = 0; j < more; ++j, ++tokens) {
        places.push_back(length + j);
        check_indices("embedding", "places", &places.back(), 1, most_places, tokens);
      }
    }
    const auto ids = indices(op, "ids", ids_, {tokens}), wanted = indices(op, "wanted", wanted_, {"rows"});
    const auto wanted_count = static_cast<int64_t>(wanted.size());
    check_indices("embedding", "ids", ids.data(), tokens, network.tokens.cols);
    check_indices("model", "rows", wanted.data(), wanted_count, tokens);
    const Sequences rows{slots.data(), past.data(), fresh.data(), sequences};
    std::vector<CacheArgs> args;
    const auto layers = caches(keys, values, scales, before, rows, args);

    auto logits = empty({wanted_count, network.head.weight.cols});
    const Pass pass{rows, ids.data(), places.data(), wanted.data(), tokens, wanted_count};
    float* const out = logits.mutable_data();
    {
      const Unlocked unlocked(tokens * products + wanted_count * network.head.weight.cols * network.head.weight.depth);
      nextword::run(network, layers, pass, out);  // in here only views are used
    }
    for (int64_t i = 0; i < sequences; ++i) mutable_data<int64_t>(lengths)[rows.slots[i]] += rows.fresh[i];
    return logits;
  }
};

}  // namespace

void bind_network(py::module_& m) {
  py::class_<Graph>(m, "Network", R"(GPT-2 (Radford et al. 2019) from ids to logits in one call, of packed matrices and float32 vectors that it keeps.

tokens: Packed [width, vocabulary]; positions: float32 [places, width]; ln_f: (weight, bias), float32 [width] each;
head: (Packed [width, vocabulary], bias or None); eps: of all norms. Raises ValueError if a shape does not fit.
models/gpt2.py has the same step by step, and examples.)")
      .def(py::init<const Packed&, const py::object&, const py::object&, const py::object&, float>(),
           py::arg("tokens"), py::arg("positions"), py::arg("ln_f"), py::arg("head"), py::arg("eps"))
      .def("__len__", [](const Graph& g) { return g.network.blocks.size(); })
      .def("add", &Graph::add, py::arg("ln_1"), py::arg("qkv"), py::arg("scale"), py::arg("attn_out"), py::arg("ln_2"),
           py::arg("fc"), py::arg("activation"), py::arg("mlp_out"), R"(Another transformer block: norms as pairs (weight, bias), linear layers as (Packed, bias), the scale of
attention's scores, and the name of an activation. Raises ValueError if a shape does not fit, or there is none of it.)")
      .def("run", &Graph::run, py::arg("ids"), py::arg("slots"), py::arg("fresh"), py::arg("wanted"), py::arg("lengths"),
           py::arg("keys"), py::arg("values"), py::arg("scales"), py::arg("before"), R"(Run new tokens of some sequences and remember them in the cache; float32 [wanted, vocabulary].

ids: int64 [tokens], one sequence after the other; slots, fresh: int64 [sequences], where each lives and how many of the
tokens are its own; wanted: int64, the tokens that give logits; lengths: int64 [slots], raised by what is new at the end.
keys, values, scales, before: of a KVCache. Raises IndexError for an id, place, slot or row out of range, ValueError if a
shape does not fit; then nothing is remembered.)");
}
