// Transformer blocks for Python: nextword/ops.py documents them.
#include "blocks.h"

#include <pybind11/pybind11.h>

#include "cache.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

// Blocks, and the arrays that they point into.
struct Blocks {
  std::vector<Block> blocks;
  std::vector<py::array> arrays;

  const float* vector(const char* name, const py::handle& object, int64_t size) {
    arrays.push_back(array<float>("blocks", name, object, {size}));
    return data<float>(arrays.back());
  }
  Norm norm(const char* name, const py::handle& pair, int64_t width) {
    const auto [weight, bias] = pair.cast<std::pair<py::object, py::object>>();
    return {vector(name, weight, width), vector(name, bias, width)};
  }
  Linear linear(const char* name, const py::handle& pair, int64_t depth, int64_t cols) {
    const auto [weight, bias] = pair.cast<std::pair<Packed, py::object>>();
    if (weight.depth != depth || (cols && weight.cols != cols))
      throw std::invalid_argument(std::string("blocks: ") + name + " must be a matrix [" + std::to_string(depth) + ", " +
                                  (cols ? std::to_string(cols) : "inner") + "], got [" + std::to_string(weight.depth) +
                                  ", " + std::to_string(weight.cols) + "]");
    return {weight, vector(name, bias, weight.cols)};
  }

  void add(const py::object& ln_1, const py::object& qkv, float scale, const py::object& attn_out, const py::object& ln_2,
           float eps, const py::object& fc, const std::string& activation, const py::object& mlp_out) {
    Block b{};
    const int64_t width = blocks.empty() ? qkv.cast<std::pair<Packed, py::object>>().first.depth : blocks[0].qkv.weight.depth;
    b.ln_1 = norm("ln_1", ln_1, width);
    b.qkv = linear("qkv", qkv, width, 3 * width);
    b.scale = scale;
    b.attn_out = linear("attn_out", attn_out, width, width);
    b.ln_2 = norm("ln_2", ln_2, width);
    b.eps = eps;
    b.fc = linear("fc", fc, width, 0);
    if (activation != "gelu_tanh" && activation != "gelu_erf")
      throw std::invalid_argument("blocks: activation must be gelu_tanh or gelu_erf, got '" + activation + "'");
    b.activation = activation == "gelu_tanh" ? Activation::gelu_tanh : Activation::gelu_erf;
    b.mlp_out = linear("mlp_out", mlp_out, b.fc.weight.cols, width);
    blocks.push_back(b);
  }

  void run(py::object x, const py::list& keys, const py::list& values, const py::list& scales, const py::object& slots,
           const py::object& past, const py::object& fresh, const py::list& before) const {
    const char* const op = "blocks";
    for (const auto& [name, list] : {std::pair{"keys", &keys}, {"values", &values}, {"scales", &scales}, {"before", &before}})
      if (list->size() != blocks.size())
        throw std::invalid_argument("blocks: " + std::string(name) + " must hold one entry for each of " +
                                    std::to_string(blocks.size()) + " blocks, got " + std::to_string(list->size()));
    if (blocks.empty()) return;
    std::vector<CacheArgs> args;
    std::vector<Cache> caches;
    args.reserve(blocks.size());
    const int64_t width = blocks[0].qkv.weight.depth;
    for (size_t i = 0; i < blocks.size(); ++i) {
      args.emplace_back(op, keys[i], values[i], slots, past, fresh, scales[i]);
      const auto [first, second, third] = before[i].cast<std::tuple<py::object, py::object, py::object>>();
      args.back().set_prefix(op, first, second, third);
      const Cache& cache = args.back().cache;
      if (cache.heads * cache.width != width)
        throw std::invalid_argument("blocks: keys must hold heads * width = " + std::to_string(width) + ", got " +
                                    std::to_string(cache.heads) + " * " + std::to_string(cache.width));
      caches.push_back(cache);
    }
    auto a = writable<float>(op, "x", x, {args[0].tokens, width});
    float* const to = mutable_data<float>(a);
    py::gil_scoped_release unlocked;  // below this line only views are used
    run_blocks(blocks, caches, args[0].sequences, args[0].tokens, to, [] {
      const py::gil_scoped_acquire locked;
      if (PyErr_CheckSignals()) throw py::error_already_set();  // Ctrl-C need not wait for the pass
    });
  }
};

}  // namespace

void bind_blocks(py::module_& m) {
  py::class_<Blocks>(m, "Blocks", "Transformer blocks that run in one call; see nextword.ops.")
      .def(py::init<>())
      .def("__len__", [](const Blocks& b) { return b.blocks.size(); })
      .def("add", &Blocks::add)
      .def("run", &Blocks::run);
}
