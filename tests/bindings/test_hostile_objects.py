"""The compiled core among objects that change while they are read, hold nothing, or are used by several threads: an
error or a result, never the end of the process. Each case runs in a process of its own; its exit status is asserted."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRELUDE = """
import gc, itertools, sys, threading, time
import numpy as np
import nextword
from nextword import _core, ops

tokenizer = nextword.load().tokenizer
lm = nextword.load()

def tried(call):
    try:
        return call()
    except Exception as error:
        return error

class Index:
    '''A number that does something when it is read.'''

    def __init__(self, then, value=65):
        self.then, self.value = then, value

    def __index__(self):
        self.then()
        return self.value

def beside(change, call, seconds=0.7):
    '''call() again and again while another thread runs change().'''
    stop = threading.Event()

    def other():
        while not stop.is_set():
            tried(change)

    thread = threading.Thread(target=other)
    thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tried(call)
    stop.set()
    thread.join()
"""

CASES = {
    "a list that shrinks while ids are decoded": """
for method in (tokenizer.decode, tokenizer.decode_bytes):
    for size in (2, 10, 1000):
        ids = [65] * size
        ids[0] = Index(ids.clear)
        assert isinstance(tried(lambda: method(ids)), RuntimeError), method
        ids = [65] * size
        ids[size // 2] = Index(lambda: ids.extend([66] * 10**5))
        assert isinstance(tried(lambda: method(ids)), RuntimeError), method
        ids = [65] * size
        def swap():
            ids[:] = [object() for _ in ids]
        ids[0] = Index(swap)
        assert isinstance(tried(lambda: method(ids)), TypeError), method
""",
    "an __index__ that raises": """
def fail():
    raise KeyError("mine")
for method in (tokenizer.decode, tokenizer.decode_bytes, tokenizer.token_bytes):
    given = [Index(fail)] if method != tokenizer.token_bytes else Index(fail)
    assert isinstance(tried(lambda: method(given)), KeyError)
""",
    "an iterable that uses what iterates it": """
def texts():
    for _ in range(50):
        yield tokenizer.decode(tokenizer.encode("Once upon a time" * 20))
assert len(tokenizer.encode_batch(texts())) == 50
def names():
    tokenizer.encode("once more" * 1000, allowed_special=["<|endoftext|>"])
    yield "<|endoftext|>"
assert tokenizer.encode("a<|endoftext|>", allowed_special=names())[-1] == 0
def broken():
    yield "a"
    raise KeyError
assert isinstance(tried(lambda: tokenizer.encode_batch(broken())), KeyError)
assert isinstance(tried(lambda: tokenizer.encode("a", allowed_special=broken())), ValueError)
""",
    "instances that were never initialised": """
for kind in [value for value in vars(_core).values() if isinstance(value, type)] + [nextword.Tokenizer]:
    empty = kind.__new__(kind)
    for name in dir(kind):
        if name.startswith("__") and name != "__len__" or name.startswith("_pybind11"):
            continue
        found = tried(lambda: getattr(empty, name))
        for count in range(10):
            if callable(found):
                tried(lambda: found(*["a"] * count))
                tried(lambda: found(*[[1]] * count))
    assert isinstance(tried(lambda: len(empty)), TypeError)
    tried(lambda: repr(empty))
    for function in [value for value in vars(_core).values() if callable(value) and not isinstance(value, type)]:
        for at, count in itertools.product(range(4), range(1, 5)):
            arguments = [np.ones((1, 1), "f")] * count
            if at < count:
                arguments[at] = empty
                tried(lambda: function(*arguments))
    tried(lambda: _core.Bpe(empty, "gpt2"))
    tried(lambda: _core.Program().add("matmul", [(0, 0, 1)], [], [empty, None], 0.0, None, None))
    del empty
assert isinstance(tried(lambda: nextword.Tokenizer.__new__(nextword.Tokenizer).encode("a")), TypeError)
gc.collect()
""",
    "a class without its __init__": """
class Half(nextword.Tokenizer):
    def __init__(self):
        pass
assert isinstance(tried(Half), TypeError)
class Both(_core.Bpe, _core.PieceCounts):
    pass
both = tried(lambda: Both.__new__(Both))
assert isinstance(tried(lambda: both.encode("a")), TypeError)
assert isinstance(tried(lambda: len(both)), TypeError)
tokenizer.__init__(3, 4)
assert tokenizer.decode(tokenizer.encode("still whole")) == "still whole"
""",
    "a source that is used twice": """
for read in (
    lambda: _core.read_vocab_and_merges(str(nextword.DEMO / "vocab.json"), str(nextword.DEMO / "merges.txt")),
):
    source = read()
    first = _core.Bpe(source, "gpt2")
    second = tried(lambda: _core.Bpe(source, "gpt2"))
    assert isinstance(second, ValueError), second
    assert first.decode(first.encode("Once")) == "Once"
    for added in (
        [("x", 2**32 - 1, True, False, False, False, False)],
        [("", 0, True, False, False, False, False)],
        [("x", 5, True, False, False, False, False)] * 3,
        [("x" * 10**6, 4096, False, True, True, True, True)],
    ):
        source = read()
        source.added_tokens = added
        made = tried(lambda: _core.Bpe(source, "gpt2"))
        if not isinstance(made, Exception):
            made.decode(made.encode("Once upon a time" + "x" * 100, allowed_special="all"))
""",
    "texts that leave the list while they are counted": """
counts = _core.PieceCounts("gpt2")
texts = ["Once upon a time, " * 2000 + str(i) for i in range(20)]
def change():
    texts.clear()
    texts.extend("Once upon a time, " * 2000 + str(i) for i in range(20))
beside(change, lambda: counts.add(texts))
""",
    "counts that are used while they are used": """
counts = _core.PieceCounts("gpt2")
text = ["one two three %d " % i * 50 for i in range(2000)]
counts.add(text)
def progress(made):
    for call in (lambda: counts.add(["more"]), lambda: len(counts), lambda: counts.learn(300, [], 2, None)):
        assert isinstance(tried(call), RuntimeError)
counts.learn(400, [], 2, progress)
beside(lambda: counts.add(text[:50]), lambda: counts.learn(400, [], 2, None))
beside(lambda: len(counts), lambda: counts.add(text))
assert len(counts) > 0
""",
    "indices that change while they are used": """
rng = np.random.default_rng(0)
weight = ops.pack_transposed(rng.standard_normal((512, 64)).astype("f"))
positions = np.ones((512, 64), "f")
ids, places, good = np.zeros(4000, np.int64), np.zeros(4000, np.int64), np.zeros(4000, np.int64)
def change():
    ids[:] = 2**62
    places[:] = -(2**62)
    ids[:] = good
    places[:] = good
beside(change, lambda: ops.embedding(ids, places, weight, positions))
logits = rng.standard_normal(50000).astype("f")
beside(change, lambda: ops.chances(logits, 1.0, 5, 0.9, 0.0, 1.0, False, ids))
keys, values = np.zeros((2, 2, 2, 32, 32), "f"), np.zeros((2, 2, 1, 64, 32), "f")
slots, past, fresh = np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, 64)
k = np.ones((64, 64), "f")
def change():
    slots[:], past[:], fresh[:] = 2**40, 2**40, 2**40
    slots[:], past[:], fresh[:] = 0, 0, 64
beside(change, lambda: ops.append(k, k, keys, values, slots, past, fresh))
beside(change, lambda: ops.attention(k, keys, values, slots, past, fresh, 1.0))
""",
    "logits that change while a token is drawn": """
rng = np.random.default_rng(0)
logits, states = np.zeros(50000, "f"), [rng.standard_normal(50000).astype("f") * scale for scale in (0, 1, 30)]
states += [
    np.full(50000, np.nan, "f"),
    np.where(rng.random(50000) < 0.5, np.float32(-np.inf), states[1]),
    states[1][::-1].copy(),
]
def change():
    for state in states:
        np.copyto(logits, state)
for filters in (
    (0, 1.0, 0.0, 1.0),
    (40, 1.0, 0.0, 1.0),
    (3000, 0.9, 0.0, 1.0),
    (0, 0.9, 0.0, 1.0),
    (0, 1.0, 0.1, 1.0),
    (0, 1.0, 0.0, 0.5),
):
    beside(change, lambda: ops.sample(logits, 1.0, *filters, False, 0.5))
    beside(change, lambda: ops.distribution(logits, 1.0, *filters, True))
for k in (1, 40, 5000, 49999):
    beside(change, lambda: ops.top(logits, k))
""",
    "a model's arrays that change while it runs": """
model = lm.model
program = model.program()
cache = model.cache(2, 256)
ids, slots, fresh, wanted = np.full(200, 5), np.zeros(1, np.int64), np.full(1, 200), np.array([199])
lengths = cache.lengths
def change():
    for array, good in ((ids, 5), (slots, 0), (fresh, 200), (wanted, 199), (lengths, 0)):
        array[:] = 2**45
        array[:] = good
beside(
    change,
    lambda: program.run(
        ids, slots, fresh, wanted, [(lengths, cache.keys, cache.values, cache.scales, cache.before)], None
    ),
    2,
)
assert isinstance(tried(lambda: program.add(*[None] * 7)), (TypeError, ValueError))
keys = list(cache.keys)
lengths[:] = 0
class Before(tuple):
    def __getitem__(self, at):
        keys.clear()
        return tuple.__getitem__(self, at)
tried(
    lambda: program.run(
        ids, slots, fresh, wanted, [(lengths, keys, cache.values, cache.scales, [Before((None,) * 3)] * 4)], None
    )
)
for wrong in (
    [],
    [None] * 4,
    [3] * 4,
    [(1, 2)] * 4,
    [("a", "b", "c")] * 4,
    [(np.ones(3),) * 3] * 4,
    [(np.ones((2, 0)),) * 3] * 4,
):
    lengths[:] = 0
    found = tried(
        lambda: program.run(
            ids, slots, fresh, wanted, [(lengths, cache.keys, cache.values, cache.scales, wrong)], None
        )
    )
    assert isinstance(found, (TypeError, ValueError)), (wrong, found)
for wrong in ([], [None], [()], [(lengths,)], [(lengths, None, None, None, None)], [3] * 2):
    assert isinstance(tried(lambda: program.run(ids, slots, fresh, wanted, wrong, None)), (TypeError, ValueError))
for wrong in (np.zeros(3), np.zeros(len(program), "f"), 3, np.broadcast_to(np.zeros(1), len(program))):
    lengths[:] = 0
    found = tried(
        lambda: program.run(
            ids, slots, fresh, wanted, [(lengths, cache.keys, cache.values, cache.scales, cache.before)], wrong
        )
    )
    assert isinstance(found, ValueError), (wrong, found)
""",
    "operations that are added while a program runs": """
model = lm.model
program = model.program()
cache = model.cache(1, 256)
ids, slots, fresh, wanted = np.full(200, 5), np.zeros(1, np.int64), np.full(1, 200), np.array([199])
def run():
    cache.lengths[:] = 0
    caches = [(cache.lengths, cache.keys, cache.values, cache.scales, cache.before)]
    program.run(ids, slots, fresh, wanted, caches, None)
run()
size = len(program)
operation = ("matmul", [(0, 0, 256)], [], [model.blocks[0].qkv.weight, None], 0.0, None, None)
found = []
beside(lambda: found.append(tried(lambda: program.add(*operation))), run)
beside(lambda: found.append(tried(lambda: program.close((0, 0, 256)))), run)
assert all(isinstance(one, ValueError) for one in found) and len(program) == size
""",
    "arrays of odd shapes, strides and dtypes": """
odd = [
    np.ones((0, 0), "f"),
    np.ones((3, 0), "f"),
    np.ones((0, 3), "f"),
    np.ones((3, 3), "f")[::-1],
    np.ones((3, 3), "f")[:, ::-1],
    np.ones((3, 3), "f").T,
    np.broadcast_to(np.float32(1), (3, 3)),
    np.lib.stride_tricks.as_strided(np.ones(9, "f"), (3, 3), (0, 4)),
    np.lib.stride_tricks.as_strided(np.ones(9, "f"), (3, 3), (2, 4)),
    np.ones((3, 3), ">f4"),
    np.ones((3, 3), "f2"),
    np.ones((3, 3), object),
    np.ones(37, np.uint8)[1:].view("f").reshape(3, 3),
    np.ones((1,) * 40, "f"),
    np.ones((3, 3), "i8"),
    np.ones(3, "i8"),
    np.ones(3, "f"),
    np.array(1.0, "f"),
    np.ma.masked_array(np.ones((3, 3), "f")),
    np.zeros((3, 3), [("a", "f4")]),
    np.ones((3, 3), "M8[s]"),
    np.full((3, 3), np.nan, "f"),
    np.array([2**62] * 3),
    np.array([-1] * 3),
    np.array([], "i8"),
    np.array([], "f"),
    np.array([], np.uint8),
]
odd[0].flags.writeable = False
weights = [ops.pack(np.ones((3, 3), "f"), dtype) for dtype in ("float32", "bfloat16", "int8", "int4")]
rng = np.random.default_rng(1)
numbers = [0, -1, 1, 2, 2**31, 2**62, -(2**63), 1.0, float("nan"), float("inf"), -0.0, True, None, "float32", "int4"]
functions = [
    f
    for n, f in vars(_core).items()
    if callable(f)
    and not isinstance(f, type)
    and n
    not in (
        "read_bandwidth",
        "multiply_add_rate",
        "set_threads",
        "use_special_instructions",
        "set_byte_blocks",
        "set_isa",
    )
]
for function in functions:
    doc = function.__doc__.splitlines()[0]
    kinds = [part.split(": ")[1] for part in doc[doc.index("(") + 1 : doc.rindex(")")].split(", ") if ": " in part]
    for _ in range(400):
        arguments = []
        for kind in kinds:
            pool = weights if "Packed" in kind else numbers if "object" not in kind else odd
            arguments.append(pool[rng.integers(len(pool))] if rng.random() < 0.9 else odd[rng.integers(len(odd))])
        tried(lambda: function(*arguments))
""",
    "huge counts": """
x = np.ones(7, "f")
assert len(ops.top(x, 2**62)) == 7
assert isinstance(tried(lambda: ops.empty([2**59])), MemoryError)
for shape in ([2**62, 2**62], [2**62, 0], [-1], [1] * 70, [2**61]):
    assert isinstance(tried(lambda: ops.empty(shape)), Exception)
assert isinstance(
    tried(
        lambda: ops.attention_weights(
            np.ones((1, 32), "f"), np.zeros((1, 1, 1, 32, 32), "f"), np.zeros((1, 1, 1, 32, 32), "f"), 0, 2**62, 1.0
        )
    ),
    IndexError,
)
assert isinstance(tried(lambda: ops.packed(np.zeros(64, np.uint8), "float32", 2**31 - 1, 2**31 - 1)), ValueError)
assert tokenizer.encode_batch(["a b c"] * 1000, threads=2**31 - 1) == [tokenizer.encode("a b c")] * 1000
assert isinstance(tried(lambda: _core.PieceCounts("gpt2").learn(2**62, [], 2, None)), ValueError)
""",
    "an array that is resized by another thread": """
data = np.ones(1 << 16, "f")
beside(lambda: data.resize(1), lambda: ops.log_sum_exp(data))  # NumPy refuses while the core holds it
raw = np.ones(1 << 20, np.uint8)
beside(lambda: raw.resize(1), lambda: ops.digest(raw))
""",
    "a tokenizer that is used by several threads": """
text = "Once upon a time there was a king. " * 300
expected = tokenizer.encode(text)
found = []
def work():
    for _ in range(30):
        found.append(
            tokenizer.encode(text) == expected
            and tokenizer.decode(expected) == text
            and tokenizer.count(text) == len(expected)
            and tokenizer.encode_batch([text, text]) == [expected] * 2
        )
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert all(found) and len(found) == 120
""",
}


@pytest.mark.parametrize("case", CASES)
def test_the_process_lives_on(case):
    done = subprocess.run([sys.executable, "-c", PRELUDE + CASES[case]], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
