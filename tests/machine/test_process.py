"""The process around the core: its end while threads work, forks, limits on threads, signals in the middle of work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import nextword
from nextword import ops
from nextword.machine import speed

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300,
                          check=False, env={**os.environ, **environment})  # fmt: skip


# The end of the interpreter

EXIT = """
import sys, threading, time
import numpy as np
import nextword

what, count = sys.argv[1], int(sys.argv[2])
lm = nextword.load()
tokenizer, text = lm.tokenizer, "The quick brown fox " * 50_000
weight, x = nextword.ops.pack(np.ones((512, 2048), "f")), np.ones((300, 512), "f")
calls = {
    "encode": lambda: tokenizer.encode(text),
    "encode_batch": lambda: tokenizer.encode_batch(["some words here and there"] * 50_000),
    "encode_batch of a generator": lambda: tokenizer.encode_batch("a b c" for _ in range(100_000)),
    "train": lambda: nextword.Tokenizer.train([text], 400, progress=lambda *told: None),
    "logits": lambda: lm.logits(list(range(200))),
    "stream": lambda: list(lm.stream("Once", max_new_tokens=100)),
    "matmul": lambda: nextword.ops.matmul(x, weight),
    "pack": lambda: nextword.ops.pack(np.ones((512, 2048), "f"), "int8"),
    "sample": lambda: nextword.ops.sample(np.ones(50_000, "f"), 1.0, 0, 0.9, 0.0, 1.0, False, 0.5),
    "trace": lambda: nextword.trace(lm).__enter__() and lm.logits(list(range(99))),
}
begun = threading.Barrier(count + 1)

def work():
    calls[what]()
    begun.wait()
    while True:
        calls[what]()

for _ in range(count):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep(0.05)
"""
CALLS = ["encode", "encode_batch", "encode_batch of a generator", "train", "logits", "stream", "matmul", "pack",
         "sample", "trace"]  # fmt: skip


@pytest.mark.parametrize(("what", "count"), [*((what, "1") for what in CALLS), ("encode_batch", "3"), ("logits", "3")])
def test_an_exit_while_daemon_threads_are_in_the_core_is_clean(what, count):
    done = python(EXIT, what, count)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_destructor_may_compute_while_the_interpreter_ends():
    code = """
import nextword
lm = nextword.load()
class Last:
    def __del__(self, logits=lm.logits, ids=list(range(200))):
        print(logits(ids).shape)
import builtins
builtins.last = Last()
"""
    assert python(code).stdout == "(200, 4096)\n"


# Forks and limits

FORK = """
import os, sys, threading
import numpy as np
import nextword

nextword.cpu.set_threads(4)
weight, x = nextword.ops.pack(np.ones((512, 4096), "f")), np.ones((100, 512), "f")

def computing():  # how many threads the process has when one call has been computed
    nextword.ops.matmul(x, weight)
    return len(os.listdir("/proc/self/task"))

def from_child(depth=1):
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, bytes([computing(), from_child(0) if depth else 0]))
        os._exit(0)
    found = os.read(read, 2)
    os.wait()
    return found[0] if not depth else list(found)

if "first" in sys.argv:
    print(from_child(), computing())
else:
    print(computing(), from_child(), computing(), from_child())
"""


@linux
@pytest.mark.skipif(not nextword.cpu.openmp(), reason="built without OpenMP")
def test_a_forked_child_has_as_many_threads_as_its_parent():
    single = {"OPENBLAS_NUM_THREADS": "1"}
    assert python(FORK, **single).stdout == "4 [4, 4] 4 [4, 4]\n"
    assert python(FORK, "first", **single).stdout == "[4, 4] 4\n"


LIMITED = """
import resource, sys
import numpy as np
import nextword
from nextword import cpu

before = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (before + (900 << 20),) * 2)
cpu.set_threads(6)
weight, x = nextword.ops.pack(np.ones((512, 4096), "f")), np.ones((100, 512), "f")
print((nextword.ops.matmul(x, weight) == 512).all(), cpu.threads(), cpu.why_threads())
cpu.set_threads(2)
print((nextword.ops.matmul(x, weight) == 512).all(), cpu.threads(), cpu.why_threads())
"""


@linux
@pytest.mark.skipif(not nextword.cpu.openmp(), reason="built without OpenMP")
def test_where_no_more_threads_can_be_started_fewer_compute():
    done = python(LIMITED, OMP_STACKSIZE="256M", OPENBLAS_NUM_THREADS="1")
    first, second = done.stdout.splitlines()
    count = int(first.split()[1])
    assert first == f"True {count} the operating system started no more than {count}; asked for: set_threads"
    assert 1 <= count < 6
    assert second.startswith(f"True {min(2, count)} ")
    assert (done.returncode, done.stderr) == (0, "")


@linux
@pytest.mark.skipif(not nextword.cpu.openmp(), reason="built without OpenMP")
def test_without_room_for_a_second_thread_one_computes():
    done = python(LIMITED, OMP_STACKSIZE="4G", OPENBLAS_NUM_THREADS="1")
    assert done.stdout.splitlines()[0].startswith("True 1 the operating system started no more than 1;")
    assert done.returncode == 0


# Signals in the middle of work

LETTERS = np.random.default_rng(1).choice(np.frombuffer(b"abcdefghijklmnopqrstuvwxyz   ", "S1"), 4_000_000)
WORDS = LETTERS.tobytes().decode()
NO_BLANKS = WORDS.replace(" ", "")
WEIGHT = np.random.default_rng(1).standard_normal((2048, 8192), np.float32)


def long_calls(demo):
    tokenizer = demo.tokenizer
    packed, x = ops.pack(WEIGHT), np.ones((600, 2048), np.float32)
    characters = "".join(map(chr, np.random.default_rng(1).integers(0x100, 0x3000, 2_000_000)))
    return {
        "encode": lambda: tokenizer.encode(WORDS),
        "encode one word": lambda: tokenizer.encode(NO_BLANKS),
        "encode characters": lambda: tokenizer.encode(characters),
        "count": lambda: tokenizer.count(NO_BLANKS),
        "encode_batch": lambda: tokenizer.encode_batch([NO_BLANKS, WORDS]),
        "train": lambda: nextword.Tokenizer.train([WORDS], 800),
        "matmul": lambda: ops.matmul(x, packed),
        "pack": lambda: ops.pack(np.tile(WEIGHT, (2, 1)), "int4"),
        "unpack": lambda: ops.unpack(packed),
        "bandwidth": lambda: speed.read_bandwidth(1 << 24, 0.5),
    }


NAMES = ["encode", "encode one word", "encode characters", "count", "encode_batch", "train", "matmul", "pack", "unpack",
         "bandwidth"]  # fmt: skip


class Alarms:
    """Counts the handlers of an alarm that comes every 3 ms; `raising` at the first one in the block."""

    def __init__(self, error=None):
        self.count, self.error = 0, error

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.handle)
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
        return self

    def handle(self, *_):
        self.count += 1
        if self.error is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise self.error

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


def interrupted(call):
    """Call it again and again until it is interrupted."""

    def again():
        while True:
            call()

    with Alarms(KeyboardInterrupt("mine")), pytest.raises(KeyboardInterrupt, match="mine"):
        again()


def on_long_calls(test):
    """The test over every long call, on one thread and on two."""
    for mark in (pytest.mark.parametrize("name", NAMES), pytest.mark.parametrize("single", [False, True]),
                 pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")):  # fmt: skip
        test = mark(test)
    return test


@on_long_calls
def test_handlers_of_signals_run_while_a_call_lasts(demo, threads, name, single):
    """Not looked at within the call, all alarms of it would come as one at its end."""
    threads(1 if single else 2)
    call = long_calls(demo)[name]
    with Alarms() as alarms:
        call()
        during = alarms.count
    assert during >= 2


@on_long_calls
def test_what_a_handler_raises_leaves_the_call_and_the_next_is_right(demo, threads, name, single):
    threads(1 if single else 2)
    call = long_calls(demo)[name]
    interrupted(call)
    text = WORDS[:5000]
    assert demo.tokenizer.decode(demo.tokenizer.encode(text)) == text
    assert demo.tokenizer.encode_batch([text] * 3) == [demo.tokenizer.encode(text)] * 3
    small = WEIGHT[:64, :96].copy()
    np.testing.assert_array_equal(ops.unpack(ops.pack(small)), small)


def test_a_long_text_is_decoded_as_its_bytes_are(demo):
    """Whatever its ids are, halves of characters among them, and however it is cut into parts."""
    ids = np.random.default_rng(2).integers(1, 4096, 3_000_000).tolist()
    found = demo.tokenizer.decode(ids)
    assert len(found.encode()) > 2 * 2**22
    assert found == demo.tokenizer.decode_bytes(ids).decode("utf-8", "replace")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")
def test_a_pass_that_was_interrupted_is_not_remembered(threads):
    from nextword.models.gpt2 import GPT2, GPT2Config
    from nextword.models.random_weights import RandomWeights

    threads(2)
    config = GPT2Config(n_layer=4, n_embd=1024, n_head=16, vocab_size=20_000)
    model = GPT2(RandomWeights(), config)
    for ids in ([1], list(range(512))):  # one team for the whole pass; a team for each operation
        cache = model.cache(1, 512)
        expected = model([np.array(ids)], cache, rows=[0])
        cache.lengths[0] = 0

        def passes(ids=ids, cache=cache):
            cache.lengths[0] = 0
            model([np.array(ids)], cache, rows=[0])

        interrupted(passes)
        assert cache.lengths[0] in (0, len(ids))
        cache.lengths[0] = 0
        np.testing.assert_array_equal(model([np.array(ids)], cache, rows=[0]), expected)


def test_other_threads_than_the_main_one_are_not_interrupted(demo):
    found = []
    worker = threading.Thread(target=lambda: found.append(demo.tokenizer.encode(WORDS)))
    with Alarms() as alarms:
        worker.start()
        worker.join()
    assert alarms.count >= 1
    assert found == [demo.tokenizer.encode(WORDS)]


AFTER_AN_INTERRUPT = """
import random, signal, sys, time
import numpy as np
import nextword
from nextword import ops

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGALRM, stop)
nextword.cpu.set_threads(int(sys.argv[1]))
lm, rng = nextword.load(), np.random.default_rng(0)
x, w = rng.standard_normal((512, 512), dtype=np.float32), ops.pack(rng.standard_normal((512, 8192), dtype=np.float32))
ids, texts = list(range(300)), ["the quick brown fox jumps " * 500] * 24
q, cache = rng.standard_normal((40, 256), dtype=np.float32), lm.model.cache(1, 64)
at = [np.array([n], np.int64) for n in (0, 0, 40)]
ops.append(q, q, cache.keys[0], cache.values[0], *at, cache.scales[0])
held = cache.keys[0], cache.values[0]
calls = [lambda: lm.logits(ids).tobytes(),
         lambda: ops.attention(q, *held, *at, 0.125, None, None, cache.scales[0], None).tobytes(),
         lambda: [nextword.Tokenizer.train(texts, 270).token_bytes(i) for i in range(270)]]
wanted = [call() for call in calls]
when, met, end = random.Random(1), 0, time.monotonic() + 60
while met < 18 and time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, when.uniform(0.001, 0.02))
        for _ in range(3):
            ops.matmul(x, w)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        signal.setitimer(signal.ITIMER_REAL, 0)
        met += 1
        assert calls[met % 3]() == wanted[met % 3], ("other bits after an interrupt", met)
assert met
"""


@linux
@pytest.mark.parametrize("count", ["2", "16"])
def test_work_after_an_interrupt_has_the_bits_of_any_other(count):
    """What was left of the interrupted work is not done in the next."""
    out = python(AFTER_AN_INTERRUPT, count)
    assert out.returncode == 0, out.stderr


FORK_WITH_A_STORE = """
import os, signal, sys, threading, time
import nextword

lm = nextword.load()
store, ids = nextword.PrefixCache(lm.model, 512), list(range(300))
wanted = lm.session(ids).logits.tobytes()

def work():
    for i in range(10**9):
        lm.session([i % 50, *ids], prefix=store)

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
for _ in range(8):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that hangs
        os._exit(0 if lm.session(ids, prefix=store).logits.tobytes() == wanted else 3)
    assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_uses_a_store_that_another_thread_was_changing():
    out = python(FORK_WITH_A_STORE)
    assert out.returncode == 0, out.stderr
