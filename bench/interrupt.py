"""Ctrl-C: how long from the signal to KeyboardInterrupt, sent at random moments of each operation, beside its bound.

python bench/interrupt.py [--times 20] [--only encode,decode step] [--threads 2]

A process of its own runs an operation again and again. After each interrupt it checks that the operation gives what it
gave before, and what it did is checked before anything is timed. Milliseconds: the median and the worst.
"""

import argparse
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import nextword
from nextword import ops
from nextword.models import random_model
from nextword.tasks.language_model import LanguageModel

BOUND = 50.0  # ms
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letters(count: int, blanks: bool, top: int = 0) -> str:
    """Random characters."""
    rng = np.random.default_rng(1)
    if top:
        return "".join(map(chr, rng.integers(0x20, top, count)))
    return rng.choice(np.frombuffer((LETTERS + "   " * blanks).encode(), "S1"), count).tobytes().decode()


def model(dtype: str = "float32") -> LanguageModel:
    """GPT-2 124M's shape with random weights."""
    return LanguageModel(random_model(dtype=dtype))


def operations() -> dict[str, Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]]:
    """name -> what makes (the operation, a check of the state: equal results before and after)."""
    tokenizer = nextword.load().tokenizer
    assert tokenizer is not None

    def encoding(text: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
        return lambda: tokenizer.encode(text), lambda: tokenizer.encode(text[:2000])

    def batch() -> tuple[Callable[[], Any], Callable[[], Any]]:
        texts = [letters(10**6, True)] * 8 + ["one two three"] * 200_000
        return lambda: tokenizer.encode_batch(texts), lambda: tokenizer.encode_batch(texts[-9:])

    def decoding() -> tuple[Callable[[], Any], Callable[[], Any]]:
        ids = np.random.default_rng(1).integers(1, 4096, 10**7).tolist()
        return lambda: tokenizer.decode(ids), lambda: tokenizer.decode(ids[:999])

    def training() -> tuple[Callable[[], Any], Callable[[], Any]]:
        rng = np.random.default_rng(1)  # words as rare as in a language (Zipf), 100,000 of them
        words = np.array(letters(10**6, True).split()[:100_000])
        text = " ".join(words[rng.zipf(1.2, 4 * 10**6) % len(words)])
        train = nextword.Tokenizer.train
        return lambda: train([text], 2000), lambda: train([text[:9999]], 300).encode("one two")

    def stepping() -> tuple[Callable[[], Any], Callable[[], Any]]:
        lm = model()
        return (lambda: lm.generate([1, 2, 3], max_new_tokens=100, eos=None),
                lambda: lm.generate([1, 2, 3], max_new_tokens=2, eos=None).tokens)

    def prefill() -> tuple[Callable[[], Any], Callable[[], Any]]:
        lm, ids = model(), [7 * i % 50257 for i in range(1024)]
        return lambda: lm.logits(ids, last_only=True), lambda: lm.logits(ids[:9]).tobytes()

    def scoring() -> tuple[Callable[[], Any], Callable[[], Any]]:
        lm, ids = model(), [7 * i % 50257 for i in range(1024)]
        return lambda: lm.score(ids), lambda: lm.score(ids[:9]).logprobs.tobytes()

    def packing() -> tuple[Callable[[], Any], Callable[[], Any]]:
        weight = np.random.default_rng(1).standard_normal((768, 50257)).astype(np.float32)
        return lambda: ops.pack(weight, "int4"), lambda: ops.packed_bytes(ops.pack(weight[:32], "int4")).tobytes()

    def copying() -> tuple[Callable[[], Any], Callable[[], Any]]:
        one = model().model
        return lambda: one.quantised("int8"), lambda: one([np.array([1])], one.cache(1, 1)).tobytes()

    def loading() -> tuple[Callable[[], Any], Callable[[], Any]]:
        return lambda: [nextword.load() for _ in range(20)], lambda: nextword.load().logits([1, 2]).tobytes()

    return {
        "encode words": lambda: encoding(letters(10**7, True)),
        "encode letters": lambda: encoding(letters(10**7, False)),
        "encode characters": lambda: encoding(letters(10**7, False, 0x250)),
        "encode_batch": batch,
        "decode": decoding,
        "train": training,
        "decode step": stepping,
        "prefill": prefill,
        "score": scoring,
        "pack": packing,
        "quantised copy": copying,
        "load": loading,
    }


def work(name: str) -> None:
    """The process that is interrupted: tells when it is ready, when it was interrupted, and whether all is well."""
    run, state = operations()[name]()
    expected = state()
    while True:
        try:
            print("ready", flush=True)
            while True:
                run()
        except KeyboardInterrupt:
            at = time.monotonic()
            print(at, "fine" if state() == expected else "changed", flush=True)


def measure(name: str, times: int, threads: int) -> list[float]:
    """Milliseconds of each interrupt."""
    command = [sys.executable, __file__, "--work", name, "--threads", str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = []
        try:
            for _ in range(times):
                if process.stdout.readline() != "ready\n":
                    raise SystemExit(f"{name}: the process ended early")
                time.sleep(random.uniform(0.05, 1.0))
                sent = time.monotonic()
                process.send_signal(signal.SIGINT)
                at, state = process.stdout.readline().split()
                if state != "fine":
                    raise SystemExit(f"{name}: not what it was after an interrupt")
                found.append(1000 * (float(at) - sent))
        finally:
            process.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=nextword.cpu.threads())
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    nextword.cpu.set_threads(args.threads)
    if args.work:
        work(args.work)
    random.seed(1)
    print(f"{'operation':20} {'median':>8} {'worst':>8}   bound {BOUND:.0f} ms, {args.threads} threads")
    for name in args.only.split(",") if args.only else operations():
        found = measure(name, args.times, args.threads)
        above = "   above it" if max(found) > BOUND else ""
        print(f"{name:20} {statistics.median(found):8.1f} {max(found):8.1f}{above}", flush=True)


if __name__ == "__main__":
    main()
