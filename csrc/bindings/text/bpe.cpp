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

#include "bindings/ids_of.h"
#include "bindings/instances.h"
#include "bindings/unlocked.h"
#include "bpe_call.h"
#include "bpe_rules.h"
#include "held_texts.h"
#include "id_lists.h"
#include "machine/interrupt.h"
#include "machine/parallel.h"
#include "text.h"
#include "text/bpe.h"
#include "text/wordpiece.h"

namespace py = pybind11;
using namespace nextword;
using bindings::Interrupted;
using bindings::Unlocked;

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
  PyBpe(VocabularySource source, Pattern pattern, TextRules rules)
      : core(std::move(source), pattern, std::move(rules)), lists(core.vocabulary().size()) {}

  Bpe core;
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

const char* units_name(Vocabulary::Units units) {
  constexpr const char* names[] = {"bytes", "characters", "unigram", "words"};
  return names[static_cast<size_t>(units)];
}

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
  } catch (const Interrupted&) {  // Python's error is set
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
  const Unlocked unlocked(Unlocked::of_text(text.size()));  // below this line only views are used; the caller holds the str
  work();
}

// The parts of a text one after the other: use(part) for each. An error in one says where in the text it is.
template <class Use>
void each_part(const Text& text, TextBuffer& buffer, const Use& use) {
  without_lock(text, [&] {
    size_t before = 0;
    text.each_part(buffer, [&](std::string_view part) {
      try {
        use(part);
      } catch (const UnknownByte& error) {
        throw UnknownByte(part, error.offset, before);
      }
      before += part.size();
    });
  });
}

// Appends the ids of a text.
void encode_call(const Bpe& core, const Text& text, const Call& call, TextBuffer& buffer, IdBuffer& ids) {
  if (text.size() >= large_text) ids.reserve(text.size() / 3);  // enough for most
  if (core.plain() && !call.allowed) {
    return each_part(text, buffer, [&](std::string_view part) { core.encode(part, ids); });
  }
  const Request request = call.request(core.vocabulary());
  const auto work = [&] { core.encode(text.utf8(buffer), request, ids); };
  if (core.rules().asks_python) return work();
  without_lock(text, work);
}

PyObject* encode(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyBpe& bpe = self_of(self);
    const Call call("encode", args, count, names);
    Buffers buffers(bpe);
    encode_call(bpe.core, Text("encode", call.text), call, buffers.text, buffers.ids);
    return bpe.lists.make(buffers.ids.data(), buffers.ids.size());
  });
}

PyObject* count_tokens(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyBpe& bpe = self_of(self);
    const Call call("count", args, count, names);
    const Text text("count", call.text);
    Buffers buffers(bpe);
    if (call.allowed || !bpe.core.plain()) {
      encode_call(bpe.core, text, call, buffers.text, buffers.ids);
      return PyLong_FromSize_t(buffers.ids.size());
    }
    size_t total = 0;
    each_part(text, buffers.text, [&](std::string_view part) { total += bpe.core.count(part); });
    return PyLong_FromSize_t(total);
  });
}

PyObject* encode_array(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyBpe& bpe = self_of(self);
    const Call call("encode_array", args, count, names);
    Buffers buffers(bpe);
    auto ids = std::make_unique<IdBuffer>();
    encode_call(bpe.core, Text("encode_array", call.text), call, buffers.text, *ids);
    const auto size = static_cast<py::ssize_t>(ids->size());
    const uint32_t* data = ids->data();
    const py::capsule owner(ids.release(), [](void* p) { delete static_cast<IdBuffer*>(p); });
    return py::array_t<uint32_t>(size, data, owner).release().ptr();
  });
}

// The bytes of the ids. The buffer is not filled before it is written.
struct Bytes {
  std::unique_ptr<char[]> data;
  size_t size, first;  // first: of the first id
};

Bytes bytes_of(const char* operation, const PyBpe& bpe, PyObject* ids) {
  const Vocabulary& vocabulary = bpe.core.vocabulary();
  const std::vector<uint32_t> list = ids_of(operation, vocabulary, ids);
  std::optional<Unlocked> unlocked;  // from here on nothing of Python's is used
  if (list.size() >= unlocked_size) unlocked.emplace(Unlocked::of_text(list.size()));
  size_t size = 0;
  for (const uint32_t id : list) size += vocabulary.token_size(id);
  Bytes out{std::unique_ptr<char[]>(new char[size + 16]), size, list.empty() ? 0 : vocabulary.token_size(list[0])};
  char* p = out.data.get();
  for (size_t i = 0; i < list.size();) {
    constexpr size_t between_checks = size_t{1} << 16;
    for (const size_t end = std::min(list.size(), i + between_checks); i < end; ++i) {
      const uint32_t token_size = vocabulary.token_size(list[i]);
      std::memcpy(p, vocabulary.data(list[i]), 16);  // one move for nearly every token
      if (token_size > 16) std::memcpy(p, vocabulary.data(list[i]), token_size);
      p += token_size;
    }
    check_interrupt();
  }
  return out;
}

// The text of UTF-8, part by part, so that signals are looked for between two; a part ends where a character does.
PyObject* text_of(std::string_view bytes) {
  constexpr size_t at_once = size_t{1} << 22;
  if (bytes.size() <= at_once) return PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
  py::list parts;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min(at_once, bytes.size() - at);
    Py_ssize_t used = 0;
    const bool last = at + size == bytes.size();
    PyObject* part = PyUnicode_DecodeUTF8Stateful(bytes.data() + at, static_cast<Py_ssize_t>(size), "replace", last ? nullptr : &used);
    if (!part || PyErr_CheckSignals()) {
      Py_XDECREF(part);
      return nullptr;
    }
    parts.append(py::reinterpret_steal<py::object>(part));
    at += last ? size : static_cast<size_t>(used);
  }
  return PyUnicode_Join(py::str().ptr(), parts.ptr());
}

std::string words_of(const char* operation, const PyBpe& bpe, PyObject* ids) {
  const std::vector<uint32_t> list = ids_of(operation, bpe.core.vocabulary(), ids);
  return text_of_words(bpe.core.vocabulary(), list, bpe.core.rules().cleans);
}

PyObject* decode(PyObject* self, PyObject* ids) {
  return guarded([&] {
    const PyBpe& bpe = self_of(self);
    if (bpe.core.vocabulary().units() == Vocabulary::Units::words) return text_of(words_of("decode", bpe, ids));
    const Bytes bytes = bytes_of("decode", bpe, ids);
    size_t blanks = 0;
    while (blanks < bytes.first && blanks < bpe.core.rules().trimmed && bytes.data[blanks] == ' ') ++blanks;
    return text_of({bytes.data.get() + blanks, bytes.size - blanks});
  });
}

PyObject* decode_bytes(PyObject* self, PyObject* ids) {
  return guarded([&] {
    const PyBpe& bpe = self_of(self);
    if (bpe.core.vocabulary().units() == Vocabulary::Units::words) {
      const std::string words = words_of("decode_bytes", bpe, ids);
      return PyBytes_FromStringAndSize(words.data(), static_cast<Py_ssize_t>(words.size()));
    }
    const Bytes bytes = bytes_of("decode_bytes", bpe, ids);
    return PyBytes_FromStringAndSize(bytes.data.get(), static_cast<Py_ssize_t>(bytes.size));
  });
}

py::list encode_batch(PyBpe& bpe, const py::iterable& iterable, const std::optional<int>& threads, const py::object& allowed,
                      bool add_special_tokens) {
  if (py::isinstance<py::str>(iterable)) throw py::type_error("encode_batch: texts must be several str, got one; write [text]");
  const Request request{allowed_special(bpe.core.vocabulary(), allowed), add_special_tokens, false};
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
    const CollectorPause pause;
    for (const Bpe::Portion* portion : portions) {
      const uint32_t* ids = portion->ids.data();
      for (size_t i = 0; i < portion->counts.size(); ids += portion->counts[i++]) {
        PyObject* list = bpe.lists.make(ids, portion->counts[i]);
        if (!list) return false;
        PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(portion->first + i), list);
      }
    }
    return PyErr_CheckSignals() == 0;
  };
  if (bpe.core.rules().asks_python) {
    Buffers buffers(bpe);
    for (size_t i = 0; i < texts.count(); ++i) {
      buffers.ids.clear();
      bpe.core.encode(texts.utf8(i, buffers.text), request, buffers.ids);
      PyObject* list = bpe.lists.make(buffers.ids.data(), buffers.ids.size());
      if (!list) throw py::error_already_set();
      PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), list);
    }
    return out;
  }
  {
    Unlocked unlocked(Unlocked::of_text(texts.bytes()));  // in here only views are used; `texts` holds what they are of
    bpe.core.encode_batch(texts, request, threads.value_or(thread_count()), [&](const std::vector<Bpe::Portion*>& portions) {
      return unlocked.locked([&] { return lists_of(portions); });
    });
  }
  if (PyErr_Occurred()) throw py::error_already_set();
  return out;
}

PyMethodDef fast_methods[] = {
    {"encode", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(encode)), METH_FASTCALL | METH_KEYWORDS,
     R"(encode($self, /, text, *, allowed_special=(), add_special_tokens=True)
--

The token ids of `text`, a str, as a list of int.

Names of special tokens such as <|endoftext|> are plain text, unless allowed_special holds them (or is "all"); other
added tokens always match. add_special_tokens: whether the ids of `beginning` and `ending` are put around the text, where the
vocabulary has any (generation puts `beginning` before a prompt, and no `ending` behind it).
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
void bind_vocabulary_sources(py::module_& m);
void bind_bpe_train(py::module_& m);

void bind_bpe(py::module_& m) {
  bind_bpe_tools(m);
  bind_vocabulary_sources(m);  // which Bpe is made of
  py::class_<PyBpe> bpe(m, "Bpe", "Byte-level byte-pair encoding; nextword.Tokenizer adds the files.");
  bpe.def(py::init([](VocabularySource& source, const std::string& pattern, bool prefix_space, const py::list& normalize,
                      std::vector<uint32_t> beginning, std::vector<uint32_t> ending, bool prefix_first, uint32_t trimmed, bool cleans) {
            TextRules rules;
            set_normalizer(normalize, rules);
            rules.prefix_space = prefix_space;
            rules.prefix_first = prefix_first;
            rules.trimmed = trimmed;
            rules.cleans = cleans;
            rules.beginning = std::move(beginning);
            rules.ending = std::move(ending);
            return std::make_unique<PyBpe>(std::move(source), pattern_named(pattern), std::move(rules));  // source is used up
          }),
          py::arg("source"), py::arg("pattern"), py::arg("prefix_space") = false, py::arg("normalize") = py::list(),
          py::arg("beginning") = std::vector<uint32_t>(), py::arg("ending") = std::vector<uint32_t>(),
          py::arg("prefix_first") = false, py::arg("trimmed") = 0, py::arg("cleans") = false)
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
      .def_property_readonly("prefix_space", [](const PyBpe& self) { return self.core.rules().prefix_space; })
      .def_property_readonly("prefix_first", [](const PyBpe& self) { return self.core.rules().prefix_first; })
      .def_property_readonly("trimmed", [](const PyBpe& self) { return self.core.rules().trimmed; })
      .def_property_readonly("cleans", [](const PyBpe& self) { return self.core.rules().cleans; })
      .def_property_readonly("word_prefix", [](const PyBpe& self) { return self.core.vocabulary().word_prefix(); })
      .def_property_readonly("longest_word", [](const PyBpe& self) { return self.core.vocabulary().longest_word(); })
      .def_property_readonly("units", [](const PyBpe& self) { return units_name(self.core.vocabulary().units()); })
      .def_property_readonly("byte_fallback", [](const PyBpe& self) { return self.core.vocabulary().falls_back_to_bytes(); })
      .def_property_readonly("fuses_unknown", [](const PyBpe& self) { return self.core.vocabulary().fuses_unknown(); })
      .def("_scores", [](const PyBpe& self) { return self.core.vocabulary().scores(); })
      .def_property_readonly("beginning", [](const PyBpe& self) { return py::tuple(py::cast(self.core.rules().beginning)); })
      .def_property_readonly("ending", [](const PyBpe& self) { return py::tuple(py::cast(self.core.rules().ending)); })
      .def_property_readonly("unknown",
                             [](const PyBpe& self) {
                               const Vocabulary& vocabulary = self.core.vocabulary();
                               const bool has = vocabulary.substitute() < vocabulary.size();
                               return has ? std::optional(vocabulary.substitute()) : std::nullopt;
                             })
      .def_property_readonly("whole_pieces", [](const PyBpe& self) { return self.core.vocabulary().whole_pieces(); })
      .def(
          "has", [](const PyBpe& self, uint32_t id) { return self.core.vocabulary().has(id); }, py::arg("id"))
      .def("_source", [](const PyBpe& self) { return self.core.vocabulary().source(); })
      .def("_merges", [](const PyBpe& self) { return self.core.vocabulary().merges(); })
      .def("encode_batch", &encode_batch, py::arg("texts"), py::kw_only(), py::arg("threads") = py::none(),
           py::arg("allowed_special") = py::tuple(), py::arg("add_special_tokens") = true,
           R"(The ids of each of `texts`, as a list of lists. The same as encode one by one, divided over threads.

threads: at most so many; by default as many as the library uses. The rest is as for encode.

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
          "_encode_with_offsets",
          [](const PyBpe& self, const py::object& text, const py::object& allowed, bool add_special_tokens, bool characters) {
            const Text view("encode_with_offsets", text.ptr());
            const Request request{allowed_special(self.core.vocabulary(), allowed), add_special_tokens, characters};
            TextBuffer buffer;
            IdBuffer ids;
            Bpe::Offsets offsets;
            const auto work = [&] {
              const std::string_view utf8 = view.utf8(buffer);
              self.core.encode(utf8, request, ids, offsets);
              if (characters) Bpe::in_characters(utf8, offsets);
            };
            self.core.rules().asks_python ? work() : without_lock(view, work);
            return std::make_pair(std::vector<uint32_t>(ids.data(), ids.data() + ids.size()), offsets);
          },
          py::arg("text"), py::arg("allowed_special"), py::arg("add_special_tokens"), py::arg("characters") = false)
      .def(
          "_pieces",
          [](const PyBpe& self, const py::object& text, const py::object& allowed) {
            TextBuffer buffer;
            py::list out;
            const Request request{allowed_special(self.core.vocabulary(), allowed), false, false};
            self.core.pieces(Text("pieces", text.ptr()).utf8(buffer), request,
                             [&](std::string_view piece) { out.append(py::bytes(piece.data(), piece.size())); });
            return out;
          },
          py::arg("text"), py::arg("allowed_special"))
      .def(
          "_find",
          [](const PyBpe& self, const py::bytes& bytes) -> py::object {
            const std::string_view token(bytes);
            const Vocabulary& vocabulary = self.core.vocabulary();
            uint32_t id = vocabulary.find_added(token);
            if (id == no_token) id = vocabulary.find(token);
            if (id == no_token && token.size() == 1 && vocabulary.units() != Vocabulary::Units::bytes) {
              id = vocabulary.byte_token(static_cast<uint8_t>(token[0]));
            }
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
