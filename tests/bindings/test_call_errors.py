"""bindings/calls.cpp: whatever a compiled function is given, the error is one short line that names the function."""

from __future__ import annotations

import inspect
import re
import types

import numpy as np
import pytest

import nextword
from nextword import _core, ops


class LongName:
    """An object whose type's name and text are long, and which is no number, text or sequence."""

    def __repr__(self) -> str:
        return "x" * 10**6


LongName.__name__ = LongName.__qualname__ = "Long" * 1000

WRONG = [None, True, 3, -1, 2**70, 1.5, "text", "\ud800", "y" * 10**6, b"\xff", [], ["z" * 10**6] * 3, [None], (),
         {}, LongName(), LongName, np.zeros((2, 3, 4), "f"), np.zeros(3, [("a" * 1000, "f4")]),
         float("nan"), 1j, {3}]  # fmt: skip
# These read files: their messages hold a path. The others are for all of what a module holds.
READS_A_FILE = {"read_vocab_and_merges", "read_ranks", "read_tokenizer_json"}


def compiled_functions():
    """(name, function) of the module and of its classes, constructors too."""
    tokenizer = nextword.load().tokenizer
    made = {"Bpe": tokenizer, "Packed": ops.pack(np.ones((2, 3), "f")), "PieceCounts": _core.PieceCounts("gpt2"),
            "Program": nextword.load().model.program()}  # fmt: skip
    for name, value in vars(_core).items():
        if isinstance(value, types.BuiltinFunctionType) and name not in READS_A_FILE:
            yield name, value
        if not isinstance(value, type):
            continue
        if "__init__" in vars(value):
            yield name, value
        for entry, method in vars(value).items():
            if name in made and callable(method) and (entry == "__len__" or not entry.startswith(("__", "_pybind11"))):
                yield entry, getattr(made[name], entry)
                yield entry, getattr(value, entry)  # with anything for self


FUNCTIONS = list(compiled_functions())


def message(function, *args, **kwargs):
    """What the error of a call says; None if it went well."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)
    return None, None


def check(name, function, *args, **kwargs):
    before = _core.isa(), _core.threads(), _core.byte_blocks_variants()[0]
    kind, text = message(function, *args, **kwargs)
    _core.set_isa(before[0])
    _core.set_threads(before[1])
    _core.set_byte_blocks(before[2])
    _core.set_streaming(None)
    _core.set_last_level_cache(0)
    if text is None:
        return
    assert kind in (TypeError, ValueError, IndexError, MemoryError), (kind, text)
    assert len(text) < 300, text[:500]
    assert "\n" not in text
    assert not re.search(r"\(self:|Invoked with|arg\d|incompatible|C\+\+|typing\.|collections\.abc", text), text
    if kind is not MemoryError:
        assert name.strip("_") in text or re.match(r"(train|program|Tokenizer|encode): ", text), text


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=lambda x: x if isinstance(x, str) else "")
def test_an_error_is_short_and_names_the_function(name, function):
    if name in ("read_bandwidth", "multiply_add_rate", "use_special_instructions"):
        return  # a call that goes well takes seconds, or changes what is made from now on
    for wrong in WRONG:
        for count in range(1, 13):
            check(name, function, *[wrong] * count)
    check(name, function)
    check(name, function, nonsense=1)
    check(name, function, **{"n" * 1000: 1})


@pytest.mark.parametrize("name", [n for n, v in vars(_core).items() if isinstance(v, types.BuiltinFunctionType)])
def test_every_parameter_has_a_name(name):
    assert not re.search(r"arg\d", getattr(_core, name).__doc__.split("\n")[0])


def weight():
    return ops.pack(np.ones((2, 3), "f"))


@pytest.mark.parametrize(("call", "kind", "expected"), [
    (lambda: _core.pack(np.ones((2, 2), "f"), 3), TypeError, "pack: dtype must be str, got int"),
    (lambda: _core.pack(np.ones((2, 2), "f")), TypeError, "pack: expected (weight, dtype), got no dtype"),
    (lambda: _core.pack(1, 2, 3), TypeError, "pack: expected (weight, dtype), got 3 positional arguments"),
    (lambda: _core.pack(1, weight=2), TypeError, "pack: expected (weight, dtype), got weight twice"),
    (lambda: _core.pack(1, "float32", kind=2), TypeError,
     "pack: expected (weight, dtype), got the unknown argument 'kind'"),
    (lambda: _core.matmul(np.ones((1, 2), "f"), np.ones((2, 3)), None), TypeError,
     "matmul: weight must be Packed, got ndarray; make it with nextword.ops.pack"),
    (lambda: _core.matmul(np.ones((1, 2), "f"), None, None), TypeError,
     "matmul: weight must be Packed, got None; make it with nextword.ops.pack"),
    (lambda: _core.top(np.ones(3, "f"), 1.5), TypeError, "top: k must be int, got float"),
    (lambda: _core.top(np.ones(3, "f"), np.float32(1.5)), TypeError, "top: k must be int, got float32"),
    (lambda: _core.top(np.ones(3, "f"), 2**70), ValueError, "top: k is out of range, got more than 64 bits"),
    (lambda: _core.sample(np.ones(3, "f"), "warm", 0, 1.0, 0.0, 1.0, False, 0.5), TypeError,
     "sample: temperature must be a number, got str"),
    (lambda: _core.sample(np.ones(3, "f"), 1.0, 0, 1.0, 0.0, 1.0, "no", 0.5), TypeError,
     "sample: uniform must be bool, got str"),
    (lambda: _core.empty(["a"]), TypeError, "empty: shape must be a sequence of int, got other items"),
    (lambda: _core.set_isa("\ud800"), ValueError,
     "set_isa: name holds a lone surrogate, which has no UTF-8; replace it"),
    (lambda: _core.Bpe.has(3, 4), TypeError, "has: self must be Bpe, got int"),
    (lambda: _core.Bpe(3, "gpt2"), TypeError, "Bpe: source must be VocabularySource, got int"),
    (lambda: _core.PieceCounts("gpt2").learn(300, [], 2, 5), TypeError,
     "learn: progress must be callable, got int"),
    (lambda: nextword.load().tokenizer.encode_batch(["a"] * 10**5, threads="x"), TypeError,
     "encode_batch: threads must be int or None, got str"),
    (lambda: nextword.load().tokenizer.encode_batch(7), TypeError, "encode_batch: texts must be iterable, got int"),
    (lambda: nextword.load().tokenizer.encode_batch("once"), TypeError,
     "encode_batch: texts must be several str, got one; write [text]"),
    (lambda: nextword.load().tokenizer.has("x"), TypeError, "has: id must be int, got str"),
    (lambda: nextword.load().tokenizer.encode("a", allowed_special=[3]), TypeError,
     'encode: allowed_special must be "all" or a collection of str, got int'),
    (lambda: _core.Packed.shape.fget(3), TypeError,
     "Packed.shape: self must be Packed, got int; make it with nextword.ops.pack"),
    (lambda: _core.packed_bytes(3), TypeError,
     "packed_bytes: weight must be Packed, got int; make it with nextword.ops.pack"),
])  # fmt: skip
def test_the_words(call, kind, expected):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == expected


def test_a_call_that_goes_well_still_has_a_signature_and_a_docstring():
    assert "weight: object, dtype: str" in _core.pack.__doc__
    assert _core.pack(weight=np.ones((2, 2), "f"), dtype="float32").shape == (2, 2)
    assert "ids to logits" in inspect.getdoc(_core.Program)


def test_big_endian_float16_is_refused():
    with pytest.raises(ValueError, match="to_float32: x must be float32, float16 or uint16"):
        ops.to_float32(np.ones(3, ">f2"))
