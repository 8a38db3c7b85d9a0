// _core.Bpe: what nextword.Tokenizer stands on. encode, decode and count are raw METH_FASTCALL methods, because a
// pybind11 call without work costs as much as encoding a short text.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>

#include "bpe.h"
#include "bpe_call.h"
#include "bpe_source.h"
#include "id_lists.h"
#include "parallel.h"
#include "text.h"

namespace py = pybind11;
using namespace nextword;

namespace {

struct PyBpe;

}  // namespace

namespace pybind11::detail {
template <>
class type_caster<PyBpe> : public bindings::initialised_caster<PyBpe> {};
}  // namespace pybind11::detail

namespace {

constexpr size_t large_text = size_t{1} << 20;
constexpr size_t unlocked_size = 4096;  // below, handing the interpreter lock over costs more than the work

struct PyBpe {
  PyBpe(VocabularySource source, Pattern pattern) : core(std::move(source), pattern), lists(core.vocabulary().size()) {}

  Bpe core;
  std::vector<uint32_t> beginning, ending;  // of every text
  bool prefix_space = false;
  IdLists lists;
  IdBuffer spare_ids;  // memory of the last call, for the next one
  TextBuffer spare_text;
};

// The buffers of a call: those of the call before, unless it is not over yet, and given on if they are not too large.
class Buffers {
 public:
  explicit Buffers(PyBpe& bpe) : ids(std::move(bpe.spare_ids)), text(std::move(bpe.spare_text)), bpe_(bpe) { ids.clear(); }
  ~Buffers() {
    constexpr size_t most = size_t{16} << 20;  // bytes
    if (ids.capacity() * sizeof(uint32_t) <= most) bpe_.spare_ids = std::move(ids);
    if (text.capacity() <= most) bpe_.spare_text = std::move(text);
  }
  Buffers(const Buffers&) = delete;

  IdBuffer ids;
  TextBuffer text;

 private:
  PyBpe& bpe_;
};

PyBpe& self_of(PyObject* self) {
  // One C++ base and the default holder: the pointer stands in the instance, and no type lookup is needed.
  auto* instance = reinterpret_cast<py::detail::instance*>(self);
  if (instance->simple_layout && instance->simple_value_holder[0]) {
    return *static_cast<PyBpe*>(instance->simple_value_holder[0]);
  }
  return py::cast<PyBpe&>(py::handle(self));  // an error where __init__ has not run
}

// Runs `body`, which returns a new reference or nullptr with a Python error, and turns C++ exceptions into Python's.
template <class Body>
PyObject* guarded(Body body) {
  try {
    return body();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::out_of_range& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// Runs work(), which needs no interpreter lock, without it where the text is worth it.
template <class Work>
void without_lock(const Text& text, const Work& work) {
  if (text.size() < unlocked_size) return work();
  py::gil_scoped_release unlocked;  // below this line only views are used; the caller holds the str
  work();
}

using Specials = std::vector<std::pair<std::string_view, uint32_t>>;

// allowed_special: "all", or an iterable of names of special tokens.
Specials allowed_specials(const Bpe& core, py::handle allowed) {
  std::vector<std::pair<std::string_view, uint32_t>> known;
  for (const AddedToken& token : core.vocabulary().added()) {
    if (token.special) known.emplace_back(token.content, token.id);
  }
  Specials out;
  if (py::isinstance<py::str>(allowed)) {
    if (PyUnicode_CompareWithASCIIString(allowed.ptr(), "all") != 0) {
      const std::string text = shown(std::string_view(PyUnicode_AsUTF8(allowed.ptr()) ? PyUnicode_AsUTF8(allowed.ptr()) : "?"));
      PyErr_Clear();
      throw std::invalid_argument("encode: allowed_special must be \"all\" or a collection of names, got the text '" + text +
                                  "'; write ['" + text + "']");
    }
    out.assign(known.begin(), known.end());
    return out;
  }
  const auto must_be = [&](py::handle got) {
    return py::type_error("encode: allowed_special must be \"all\" or a collection of str, got " + bindings::type_name(got));
  };
  if (!py::isinstance<py::iterable>(allowed)) throw must_be(allowed);
  for (const py::handle item : py::iter(allowed)) {
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_Check(item.ptr()) ? PyUnicode_AsUTF8AndSize(item.ptr(), &size) : nullptr;
    if (!text && PyErr_Occurred()) PyErr_Clear(), size = 1;  // a lone surrogate, which is in no name
    if (!text && !size) throw must_be(item);
    const std::string_view name = text ? std::string_view(text, static_cast<size_t>(size)) : "?";
    const auto found = std::find_if(known.begin(), known.end(), [&](const auto& special) { return special.first == name; });
    if (found == known.end()) {
      std::string names;
      for (const auto& special : known) names += (names.empty() ? "" : ", ") + std::string(special.first);
      throw std::invalid_argument("encode: allowed_special names '" + shown(name) + "', which is no special token; there are: " +
                                  (names.empty() ? "none" : shown(names, 120)));
    }
    out.emplace_back(found->first, found->second);
  }
  return out;
}

// Text between special tokens is split and merged on its own. Of two specials at one place the longer one counts.
void encode_with_specials(const Bpe& core, std::string_view text, const Specials& specials, IdBuffer& ids) {
  std::vector<size_t> next(specials.size(), 0);  // where each occurs next
  for (size_t i = 0; i < specials.size(); ++i) next[i] = text.find(specials[i].first);
  size_t at = 0;
  for (;;) {
    size_t best = specials.size();
    for (size_t i = 0; i < specials.size(); ++i) {
      if (next[i] < at) next[i] = text.find(specials[i].first, at);
      if (next[i] == std::string_view::npos) continue;
      if (best == specials.size() || next[i] < next[best] ||
          (next[i] == next[best] && specials[i].first.size() > specials[best].first.size())) {
        best = i;
      }
    }
    if (best == specials.size()) break;
    core.encode(text.substr(at, next[best] - at), ids);
    ids.push_back(specials[best].second);
    at = next[best] + specials[best].first.size();
  }
  core.encode(text.substr(at), ids);
}

// The ids of a text.
void encode_call(const PyBpe& bpe, const Text& text, const Call& call, TextBuffer& buffer, IdBuffer& ids) {
  const Bpe& core = bpe.core;
  const Specials specials = call.allowed ? allowed_specials(core, call.allowed) : Specials();
  if (call.whole) {
    for (const uint32_t id : bpe.beginning) ids.push_back(id);
  }
  if (text.size() >= large_text) ids.reserve(text.size() / 3);  // enough for most
  without_lock(text, [&] {
    if (!specials.empty()) return encode_with_specials(core, text.utf8(buffer), specials, ids);
    text.each_part(buffer, [&](std::string_view part) { core.encode(part, ids); });
  });
  if (call.whole) {
    for (const uint32_t id : bpe.ending) ids.push_back(id);
  }
}

PyObject* encode(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyBpe& bpe = self_of(self);
    const Call call("encode", args, count, names);
    Buffers buffers(bpe);
    encode_call(bpe, Text("encode", call.text), call, buffers.text, buffers.ids);
    return bpe.lists.make(buffers.ids.data(), buffers.ids.size());
  });
}

PyObject* count_tokens(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyBpe& bpe = self_of(self);
    const Call call("count", args, count, names);
    const Text text("count", call.text);
    Buffers buffers(bpe);
    if (call.allowed || !bpe.beginning.empty() || !bpe.ending.empty()) {
      encode_call(bpe, text, call, buffers.text, buffers.ids);
      return PyLong_FromSize_t(buffers.ids.size());
    }
    size_t total = 0;
    without_lock(text, [&] { text.each_part(buffers.text, [&](std::string_view part) { total += bpe.core.count(part); }); });
    return PyLong_FromSize_t(total);
  });
}

PyObject* encode_array(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyBpe& bpe = self_of(self);
    const Call call("encode_array", args, count, names);
    Buffers buffers(bpe);
    auto ids = std::make_unique<IdBuffer>();
    encode_call(bpe, Text("encode_array", call.text), call, buffers.text, *ids);
    const auto size = static_cast<py::ssize_t>(ids->size());
    const uint32_t* data = ids->data();
    const py::capsule owner(ids.release(), [](void* p) { delete static_cast<IdBuffer*>(p); });
    return py::array_t<uint32_t>(size, data, owner).release().ptr();
  });
}

[[noreturn]] void no_such_id(const char* operation, const Vocabulary& vocabulary, const std::string& id) {
  throw std::out_of_range(std::string(operation) + ": id " + id + " is not in the vocabulary, whose ids are 0 to " +
                          std::to_string(vocabulary.size() - 1));
}

uint32_t id_of(const char* operation, const Vocabulary& vocabulary, PyObject* number) {
  if (!PyLong_Check(number)) {
    PyObject* index = PyNumber_Index(number);  // numpy's integers
    if (!index) {
      if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
      PyErr_Clear();
      throw py::type_error(std::string(operation) + ": ids must be int, got " + bindings::type_name(number));
    }
    const auto owned = py::reinterpret_steal<py::object>(index);
    return id_of(operation, vocabulary, index);
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
  if (overflow || value < 0 || value >= static_cast<long long>(vocabulary.size()) || !vocabulary.has(static_cast<uint32_t>(value))) {
    no_such_id(operation, vocabulary, overflow ? "of more than 64 bits" : std::to_string(value));
  }
  return static_cast<uint32_t>(value);
}

// A small int without a call, where this Python has a way to ask; -1 where it is none.
inline int64_t small_int(PyObject* number) {
#if PY_VERSION_HEX >= 0x030C0000
  auto* value = reinterpret_cast<PyLongObject*>(number);
  return PyLong_CheckExact(number) && PyUnstable_Long_IsCompact(value) ? PyUnstable_Long_CompactValue(value) : -1;
#elif PY_VERSION_HEX >= 0x030B0000
  const Py_ssize_t digits = Py_SIZE(number);
  if (!PyLong_CheckExact(number) || digits < 0 || digits > 1) return -1;
  return digits == 0 ? 0 : reinterpret_cast<PyLongObject*>(number)->ob_digit[0];
#else
  (void)number;
  return -1;
#endif
}

// The ids of a Python sequence, all of them in the vocabulary.
std::vector<uint32_t> ids_of(const char* operation, const Vocabulary& vocabulary, PyObject* ids) {
  PyObject* fast = PyUnicode_Check(ids) || PyBytes_Check(ids) ? nullptr : PySequence_Fast(ids, "");
  if (!fast) {
    PyErr_Clear();
    throw py::type_error(std::string(operation) + ": ids must be a sequence of int, got " + bindings::type_name(ids));
  }
  const auto owned = py::reinterpret_steal<py::object>(fast);
  PyObject** items = PySequence_Fast_ITEMS(fast);
  std::vector<uint32_t> out(static_cast<size_t>(PySequence_Fast_GET_SIZE(fast)));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t id = small_int(items[i]);
    if (id >= 0 && vocabulary.has(static_cast<uint32_t>(id))) {
      out[i] = static_cast<uint32_t>(id);
      continue;
    }
    const auto item = py::reinterpret_borrow<py::object>(items[i]);
    out[i] = id_of(operation, vocabulary, item.ptr());  // may run Python code, which may change the list
    if (static_cast<size_t>(PySequence_Fast_GET_SIZE(fast)) != out.size()) {
      throw std::runtime_error(std::string(operation) + ": ids changed their length while they were read");
    }
    items = PySequence_Fast_ITEMS(fast);
  }
  return out;
}

// The bytes of the ids. The buffer is not filled before it is written.
struct Bytes {
  std::unique_ptr<char[]> data;
  size_t size;
};

Bytes bytes_of(const char* operation, const PyBpe& bpe, PyObject* ids) {
  const Vocabulary& vocabulary = bpe.core.vocabulary();
  const std::vector<uint32_t> list = ids_of(operation, vocabulary, ids);
  size_t size = 0;
  for (const uint32_t id : list) size += vocabulary.token_size(id);
  Bytes out{std::unique_ptr<char[]>(new char[size + 16]), size};
  char* p = out.data.get();
  for (const uint32_t id : list) {
    const uint32_t token_size = vocabulary.token_size(id);
    std::memcpy(p, vocabulary.data(id), 16);  // one move for nearly every token
    if (token_size > 16) std::memcpy(p, vocabulary.data(id), token_size);
    p += token_size;
  }
  return out;
}

PyObject* decode(PyObject* self, PyObject* ids) {
  return guarded([&] {
    const Bytes bytes = bytes_of("decode", self_of(self), ids);
    return PyUnicode_DecodeUTF8(bytes.data.get(), static_cast<Py_ssize_t>(bytes.size), "replace");
  });
}

PyObject* decode_bytes(PyObject* self, PyObject* ids) {
  return guarded([&] {
    const Bytes bytes = bytes_of("decode_bytes", self_of(self), ids);
    return PyBytes_FromStringAndSize(bytes.data.get(), static_cast<Py_ssize_t>(bytes.size));
  });
}

// The texts of a batch, held as long as this lives.
class HeldTexts : public Bpe::Texts {
 public:
  HeldTexts(const char* operation, const py::iterable& texts) {
    for (const py::handle text : texts) {
      texts_.emplace_back(operation, text.ptr());
      bytes_ += texts_.back().size();
      held_.push_back(py::reinterpret_borrow<py::object>(text));
    }
  }
  size_t count() const override { return texts_.size(); }
  size_t bytes() const { return bytes_; }  // roughly
  size_t size(size_t i) const override { return texts_[i].size(); }
  std::string_view utf8(size_t i, TextBuffer& buffer) const override { return texts_[i].utf8(buffer); }

 private:
  size_t bytes_ = 0;
  std::vector<Text> texts_;
  std::vector<py::object> held_;
};

py::list encode_batch(PyBpe& bpe, const py::iterable& iterable, const std::optional<int>& threads) {
  if (py::isinstance<py::str>(iterable)) throw py::type_error("encode_batch: texts must be several str, got one; write [text]");
  const HeldTexts texts("encode_batch", iterable);
  if (threads && *threads < 1) {
    throw std::invalid_argument("encode_batch: threads must be at least 1, got " + std::to_string(*threads));
  }
  // Lists of ints make no cycles, but the collector would walk all of them again and again while they are made.
  struct CollectorPause {
    const int enabled = PyGC_Disable();
    ~CollectorPause() {
      if (enabled) PyGC_Enable();
    }
  };
  expect_again(texts.bytes() / 3 * sizeof(PyObject*));  // of the lists together, which come and go like one
  py::list out(texts.count());
  const auto lists_of = [&](const std::vector<Bpe::Portion*>& portions) {  // whether Python had the memory
    const py::gil_scoped_acquire locked;
    const CollectorPause pause;
    for (const Bpe::Portion* portion : portions) {
      const uint32_t* ids = portion->ids.data();
      for (size_t i = 0; i < portion->counts.size(); ids += portion->counts[i++]) {
        PyObject* list = bpe.lists.make(ids, portion->counts[i]);
        if (!list) return false;
        PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(portion->first + i), list);
      }
    }
    return true;
  };
  {
    py::gil_scoped_release unlocked;  // below this line only views are used; `texts` holds what they are of
    bpe.core.encode_batch(texts, threads.value_or(thread_count()), lists_of);
  }
  if (PyErr_Occurred()) throw py::error_already_set();
  return out;
}

PyMethodDef fast_methods[] = {
    {"encode", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(encode)), METH_FASTCALL | METH_KEYWORDS,
     R"(encode($self, /, text, *, allowed_special=(), add_special_tokens=True)
--

The token ids of `text`, a str, as a list of int.

Names of special tokens such as <|endoftext|> are plain text, unless allowed_special holds them (or is "all").
Raises TypeError if text is no str; ValueError if it holds a lone surrogate, is too long to encode at once (from
4 GiB on), or if allowed_special names what is no special token.

>>> demo().encode("Once upon a time")
[2383, 375, 884, 259, 670])"},
    {"encode_array", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(encode_array)), METH_FASTCALL | METH_KEYWORDS,
     R"(encode_array($self, /, text, *, allowed_special=(), add_special_tokens=True)
--

The token ids of `text` as uint32 [tokens], a NumPy array: faster than a list. Raises as encode does.

>>> demo().encode_array("Once upon a time").tolist()
[2383, 375, 884, 259, 670])"},
    {"count", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(count_tokens)), METH_FASTCALL | METH_KEYWORDS,
     R"(count($self, /, text, *, allowed_special=(), add_special_tokens=True)
--

The number of tokens of `text`: len(encode(text)) without the list. Raises as encode does.

>>> demo().count("Once upon a time")
5)"},
    {"decode", decode, METH_O,
     R"(decode($self, ids, /)
--

The text of `ids`, a sequence of int. Bytes that are no UTF-8, such as half a character, become U+FFFD.

Raises IndexError if an id is not in the vocabulary, TypeError if ids is no sequence of int.

>>> demo().decode([2383, 375, 884, 259, 670])
'Once upon a time')"},
    {"decode_bytes", decode_bytes, METH_O,
     R"(decode_bytes($self, ids, /)
--

The bytes of `ids`, exactly: what decode would read as UTF-8. Raises as decode does.

>>> demo().decode_bytes([2383])
b'On')"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void bind_bpe_tools(py::module_& m);
void bind_bpe_train(py::module_& m);

void bind_bpe(py::module_& m) {
  bind_bpe_tools(m);  // VocabularySource, which Bpe is made of
  py::class_<PyBpe> bpe(m, "Bpe", "Byte-level byte-pair encoding; nextword.Tokenizer adds the files.");
  bpe.def(py::init([](VocabularySource& source, const std::string& pattern, bool prefix_space, std::vector<uint32_t> beginning,
                      std::vector<uint32_t> ending) {
            auto made = std::make_unique<PyBpe>(std::move(source), pattern_named(pattern));  // source is used up
            const Vocabulary& vocabulary = made->core.vocabulary();
            for (const auto* ids : {&beginning, &ending}) {
              for (const uint32_t id : *ids) {
                if (!vocabulary.has(id)) no_such_id("Tokenizer: beginning and ending", vocabulary, std::to_string(id));
              }
            }
            made->prefix_space = prefix_space;
            made->beginning = std::move(beginning);
            made->ending = std::move(ending);
            return made;
          }),
          py::arg("source"), py::arg("pattern"), py::arg("prefix_space") = false,
          py::arg("beginning") = std::vector<uint32_t>(), py::arg("ending") = std::vector<uint32_t>())
      .def("__len__", [](const PyBpe& self) { return self.core.vocabulary().size(); })
      .def_property_readonly("pattern",
                             [](const PyBpe& self) {
                               return pattern_name(self.core.pattern());
                             })
      .def_property_readonly("special_tokens",
                             [](const PyBpe& self) {
                               py::dict out;
                               for (const AddedToken& token : self.core.vocabulary().added()) {
                                 if (token.special) out[py::str(token.content)] = token.id;
                               }
                               return out;
                             })
      .def("_added_tokens", [](const PyBpe& self) { return added_fields(self.core.vocabulary().added()); })
      .def_property_readonly("prefix_space", [](const PyBpe& self) { return self.prefix_space; })
      .def_property_readonly("beginning", [](const PyBpe& self) { return py::tuple(py::cast(self.beginning)); })
      .def_property_readonly("ending", [](const PyBpe& self) { return py::tuple(py::cast(self.ending)); })
      .def_property_readonly("whole_pieces", [](const PyBpe& self) { return self.core.vocabulary().whole_pieces(); })
      .def(
          "has", [](const PyBpe& self, uint32_t id) { return self.core.vocabulary().has(id); }, py::arg("id"))
      .def("_merges", [](const PyBpe& self) { return self.core.vocabulary().merges(); })
      .def("encode_batch", &encode_batch, py::arg("texts"), py::kw_only(), py::arg("threads") = py::none(),
           R"(The ids of each of `texts`, as a list of lists. The same as encode one by one, divided over threads.

threads: at most so many; by default as many as the library uses. Special tokens are plain text. Raises as encode does.

>>> demo().encode_batch(["Once", " upon"])
[[2383, 375], [884]])")
      .def(
          "token_bytes",
          [](const PyBpe& self, const py::object& id) {
            const Vocabulary& vocabulary = self.core.vocabulary();
            return py::bytes(std::string(vocabulary.bytes(id_of("token_bytes", vocabulary, id.ptr()))));
          },
          py::arg("id"))
      .def(
          "_edges",  // where each token begins in the bytes, and where the last one ends
          [](const PyBpe& self, const py::object& ids) {
            const Vocabulary& vocabulary = self.core.vocabulary();
            std::vector<size_t> edges{0};
            for (const uint32_t id : ids_of("_edges", vocabulary, ids.ptr())) edges.push_back(edges.back() + vocabulary.token_size(id));
            return edges;
          },
          py::arg("ids"))
      .def(
          "_find",
          [](const PyBpe& self, const py::bytes& bytes) -> py::object {
            const std::string_view token(bytes);
            const Vocabulary& vocabulary = self.core.vocabulary();
            uint32_t id = vocabulary.find_added(token);
            if (id == no_token) id = vocabulary.find(token);
            return id == no_token ? py::object(py::none()) : py::int_(id);
          },
          py::arg("token"));
  for (PyMethodDef* method = fast_methods; method->ml_name; ++method) {
    const auto descriptor = py::reinterpret_steal<py::object>(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(bpe.ptr()), method));
    if (!descriptor) throw py::error_already_set();
    bpe.attr(method->ml_name) = descriptor;
  }
  bind_bpe_train(m);
}
