// _core.PieceCounts: learning a vocabulary. nextword.Tokenizer.train reads the texts.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>

#include "bindings/unlocked.h"
#include "bpe_rules.h"
#include "machine/parallel.h"
#include "text/bpe_files.h"
#include "text/bpe_train.h"

namespace py = pybind11;
using namespace nextword;
using bindings::Unlocked;

namespace {

// Counts, and whether a call is at them: while the interpreter lock is given up, or the progress of learning is told,
// another call may come.
struct PyPieceCounts {
  explicit PyPieceCounts(Pattern pattern) : counts(pattern) {}

  PieceCounts counts;
  bool busy = false;
};

class Use {
 public:
  explicit Use(PyPieceCounts& self) : self_(self) {
    if (self.busy) throw std::runtime_error("train: PieceCounts is in use by another call; wait for its end");
    self.busy = true;
  }
  ~Use() { self_.busy = false; }
  Use(const Use&) = delete;

 private:
  PyPieceCounts& self_;
};

// Each text is a str, or bytes that hold UTF-8.
void add(PyPieceCounts& self, const py::list& texts) {
  const Use use(self);
  const py::tuple held(texts);  // what the list holds may change while the interpreter lock is given up
  std::vector<std::string_view> views;
  for (const py::handle text : held) {
    Py_ssize_t size = 0;
    const char* data = nullptr;
    if (PyUnicode_Check(text.ptr())) {
      data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
      if (!data) {
        PyErr_Clear();
        throw std::invalid_argument("train: a text holds a lone surrogate, which has no UTF-8; replace it");
      }
    } else if (PyBytes_Check(text.ptr())) {
      data = PyBytes_AS_STRING(text.ptr());
      size = PyBytes_GET_SIZE(text.ptr());
      check_utf8({data, static_cast<size_t>(size)}, "train: a file");
    } else {
      throw py::type_error("train: texts must be str, got " + bindings::type_name(text));
    }
    if (static_cast<size_t>(size) > 0xFFFFFFFFu) throw std::invalid_argument("train: a text has 4 GiB or more; give it in parts");
    views.emplace_back(data, static_cast<size_t>(size));
  }
  size_t bytes = 0;
  for (const auto view : views) bytes += view.size();
  const Unlocked unlocked(Unlocked::of_text(bytes));  // below this line only views are used
  self.counts.add(views, thread_count());
}

// Special tokens get the first ids, then the 256 bytes, then the merges.
VocabularySource learn(PyPieceCounts& self, size_t vocab_size, const std::vector<std::string>& specials,
                       uint64_t min_frequency, const std::function<void(size_t)>& progress) {
  if (vocab_size < specials.size() + 256) {
    throw std::invalid_argument("train: vocab_size must be at least " + std::to_string(specials.size() + 256) + " (256 bytes and " +
                                std::to_string(specials.size()) + " special tokens), got " + std::to_string(vocab_size));
  }
  if (vocab_size > max_tokens) {
    throw std::invalid_argument("train: vocab_size must be at most " + std::to_string(max_tokens) + ", got " + std::to_string(vocab_size));
  }
  const Use use(self);
  std::vector<LearnedMerge> merges;
  {
    Unlocked unlocked(Unlocked::long_work);
    merges = learn_merges(self.counts, vocab_size - specials.size() - 256, min_frequency, [&](size_t made) {
      if (progress) unlocked.locked([&] { bindings::raising([&] { progress(made); }); });
    });
  }
  VocabularySource source;
  source.tokens_file = source.merges_file = "trained vocabulary";
  source.has_merges = true;
  source.whole_pieces = false;
  for (const std::string& special : specials) source.added.push_back({special, static_cast<uint32_t>(source.added.size())});
  const auto add_token = [&](const std::string& bytes) {
    const auto start = static_cast<uint32_t>(source.bytes.size());
    source.bytes += bytes;
    source.tokens.push_back({static_cast<uint32_t>(specials.size() + source.tokens.size()), start, static_cast<uint32_t>(bytes.size()),
                             static_cast<uint32_t>(source.tokens.size() + 1), true});
  };
  for (uint32_t symbol = 0; symbol < 256; ++symbol) add_token(std::string(1, static_cast<char>(byte_of_symbol(symbol))));
  for (const auto& [left, right] : merges) {
    const auto& l = source.tokens[left];
    const auto& r = source.tokens[right];
    source.merges.push_back({static_cast<uint32_t>(source.bytes.size()), l.size, r.size, static_cast<uint32_t>(source.merges.size() + 1)});
    add_token(source.bytes.substr(l.start, l.size) + source.bytes.substr(r.start, r.size));
  }
  return source;
}

}  // namespace

namespace pybind11::detail {
template <>
class type_caster<PyPieceCounts> : public bindings::initialised_caster<PyPieceCounts> {};
}  // namespace pybind11::detail

void bind_bpe_train(py::module_& m) {
  py::class_<PyPieceCounts>(m, "PieceCounts", "How often each piece of text occurs, to learn a vocabulary from.")
      .def(py::init([](const std::string& pattern) { return std::make_unique<PyPieceCounts>(pattern_named(pattern)); }),
           py::arg("pattern"))
      .def("__len__",
           [](PyPieceCounts& self) {
             const Use use(self);
             return self.counts.size();
           })
      .def("add", &add, py::arg("texts"))
      .def("learn", &learn, py::arg("vocab_size"), py::arg("specials"), py::arg("min_frequency"), py::arg("progress"));
}
