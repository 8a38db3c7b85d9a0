// From logits to a token, for Python: arguments checked, the GIL released. nextword/ops.py documents it.
#include "arithmetic/sampling.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "arithmetic/log_probabilities.h"
#include "arithmetic/philox.h"
#include "bindings/arrays.h"
#include "bindings/unlocked.h"

namespace py = pybind11;
using namespace nextword;
using namespace nextword::bindings;

namespace {

void require(bool condition, const char* op, const char* name, const char* wanted, const py::object& got) {
  if (condition) return;
  throw std::invalid_argument("sampling: " + std::string(op) + ": " + name + " must be " + wanted + ", got " +
                              std::string(py::str(got)));
}

// A row of at most 2^31 - 1 logits: positions are int32.
struct Logits {
  py::array held;
  const float* data;
  int64_t size;

  Logits(const char* op, const py::object& logits) : held(array<float>(op, "logits", logits, {"vocabulary"})) {
    data = bindings::data<float>(held);
    size = held.size();
    require(size < int64_t{1} << 31, op, "the number of logits", "below 2**31", py::int_(size));
  }
};

Rules rules_of(const char* op, double temperature, int64_t top_k, double top_p, double min_p, double typical_p, bool uniform) {
  const auto number = [](double x) { return py::float_(x); };
  require(temperature > 0 && temperature <= 1.7976931348623157e308, op, "temperature", "finite and above 0", number(temperature));
  require(top_k >= 0, op, "top_k", "0 (off) or more", py::int_(top_k));
  require(top_p >= 0 && top_p <= 1, op, "top_p", "0 .. 1 (off)", number(top_p));
  require(min_p >= 0 && min_p <= 1, op, "min_p", "0 (off) .. 1", number(min_p));
  require(typical_p > 0 && typical_p <= 1, op, "typical_p", "above 0 and at most 1 (off)", number(typical_p));
  return {temperature, top_k, top_p, min_p, typical_p, uniform ? Chances::equal : Chances::proportional};
}

}  // namespace

void bind_sampling(py::module_& m) {
  m.def("distribution", [](const py::object& logits, double temperature, int64_t top_k, double top_p, double min_p,
                           double typical_p, bool uniform) {
    const char* const op = "distribution";
    const Logits row(op, logits);
    const Rules rules = rules_of(op, temperature, top_k, top_p, min_p, typical_p, uniform);
    const Kept kept = [&] {
      const Unlocked unlocked;  // only views are used
      return keep(op, row.data, row.size, rules);
    }();
    py::array_t<int64_t> ids(kept.count);
    py::array_t<double> probabilities(kept.count), cuts(5);
    write(kept, ids.mutable_data(), probabilities.mutable_data());
    std::copy(kept.cuts, kept.cuts + 5, cuts.mutable_data());
    return py::make_tuple(ids, probabilities, cuts);
  }, py::arg("logits"), py::arg("temperature"), py::arg("top_k"), py::arg("top_p"), py::arg("min_p"), py::arg("typical_p"),
     py::arg("uniform"));
  m.def("chances", [](const py::object& logits, double temperature, int64_t top_k, double top_p, double min_p,
                      double typical_p, bool uniform, const py::object& tokens) {
    const char* const op = "chances";
    const Logits row(op, logits);
    const Rules rules = rules_of(op, temperature, top_k, top_p, min_p, typical_p, uniform);
    const auto asked = indices(op, "tokens", tokens, {"tokens"});
    const auto* const ids = asked.data();
    const auto count = static_cast<int64_t>(asked.size());
    for (int64_t i = 0; i < count; ++i)
      if (ids[i] < 0 || ids[i] >= row.size)
        throw std::out_of_range("sampling: chances: tokens must be 0 .. " + std::to_string(row.size - 1) + ", got " +
                                std::to_string(ids[i]));
    py::array_t<double> probabilities(count), cuts(5);
    py::array_t<bool> stays(count);
    double *const p = probabilities.mutable_data(), *const limits = cuts.mutable_data();
    bool* const flags = stays.mutable_data();
    {
      const Unlocked unlocked;  // in this scope only views are used
      const Kept kept = keep(op, row.data, row.size, rules);
      look_up(kept, ids, count, p, flags);
      std::copy(kept.cuts, kept.cuts + 5, limits);
    }
    return py::make_tuple(probabilities, stays, cuts);
  }, py::arg("logits"), py::arg("temperature"), py::arg("top_k"), py::arg("top_p"), py::arg("min_p"), py::arg("typical_p"),
     py::arg("uniform"), py::arg("tokens"));
  m.def("sample", [](const py::object& logits, double temperature, int64_t top_k, double top_p, double min_p,
                     double typical_p, bool uniform, double u) {
    const char* const op = "sample";
    const Logits row(op, logits);
    const Rules rules = rules_of(op, temperature, top_k, top_p, min_p, typical_p, uniform);
    require(u >= 0 && u < 1, op, "u", "0 <= u < 1", py::float_(u));
    Drawn drawn{};
    int64_t count = 0;
    {
      const Unlocked unlocked;  // in this scope only views are used
      const Kept kept = keep(op, row.data, row.size, rules);
      drawn = draw(kept, u);
      count = kept.count;
    }
    return py::make_tuple(drawn.id, drawn.probability, count);
  }, py::arg("logits"), py::arg("temperature"), py::arg("top_k"), py::arg("top_p"), py::arg("min_p"), py::arg("typical_p"),
     py::arg("uniform"), py::arg("u"));
  m.def("log_sum_exp", [](const py::object& logits) {
    const Logits row("log_sum_exp", logits);
    const Unlocked unlocked;  // below this line only views are used
    return log_sum_exp("log_sum_exp", row.data, row.size);
  }, py::arg("logits"));
  m.def("log_probabilities", [](const py::object& logits_, const py::object& targets_, int64_t k) {
    const char *const op = "sampling: log_probabilities", *const name = "log_probabilities";
    const auto logits = array<float>(op, "logits", logits_, {"rows", "vocabulary"});
    const int64_t rows = logits.shape(0), size = logits.shape(1);
    require(size < int64_t{1} << 31, name, "the number of logits", "below 2**31", py::int_(size));
    require(k >= 0, name, "top", "0 or more", py::int_(k));
    const bool several = py::isinstance<py::array>(targets_) && targets_.cast<py::array>().ndim() == 2;
    const auto targets = several ? indices(op, "targets", targets_, {rows, "targets"}) : indices(op, "targets", targets_, {rows});
    const int64_t count = several ? targets_.cast<py::array>().shape(1) : 1, best = std::min(k, size);
    check_indices(op, "targets", targets.data(), static_cast<int64_t>(targets.size()), size);
    py::array_t<double> out(several ? std::vector<py::ssize_t>{rows, count} : std::vector<py::ssize_t>{rows});
    py::array_t<double> values(std::vector<py::ssize_t>{rows, best});
    py::array_t<int64_t> ids(std::vector<py::ssize_t>{rows, best});
    double *const to = out.mutable_data(), *const to_values = values.mutable_data();
    int64_t* const to_ids = ids.mutable_data();
    const float* const from = data<float>(logits);
    {
      const Unlocked unlocked(rows * size * work_of_a_logit);  // in this scope only views are used
      log_probabilities_of_rows(name, from, rows, size, targets.data(), count, to, best, to_ids, to_values);
    }
    return py::make_tuple(out, ids, values);
  }, py::arg("logits"), py::arg("targets"), py::arg("top"));
  m.def("top", [](const py::object& logits, int64_t k) {
    const Logits row("top", logits);
    require(k >= 0, "top", "k", "0 or more", py::int_(k));
    const auto found = [&] {
      const Unlocked unlocked;  // only views are used
      return top("top", row.data, row.size, k);
    }();
    return py::array_t<int64_t>(static_cast<py::ssize_t>(found.size()), found.data());
  }, py::arg("logits"), py::arg("k"));
  m.def("philox", &philox, py::arg("seed"), py::arg("row"), py::arg("step"));
}
