"""Every kernel on every instruction set, in the shapes of GPT-2 124M: checked, then timed beside this machine's limits.

python bench/kernels.py [--threads 1,2] [--isa avx512,avx2] [--only "matmul int8"] [--rounds 7] [--build FOLDER]

A matmul of few rows is measured by the weights that it reads a second, beside the reading of a buffer of their size
(what the caches hold is read faster); one of many rows by its operations, beside the peak of the instructions made for
its dtype. Variants take turns within a round; the figure is the median over rounds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextword import cpu, ops, reference
from nextword.arithmetic.formats import DTYPES, multiplied
from nextword.models.cache import ELEMENTS, KVCache
from peers import limits, shape

Array = NDArray[np.float32]
WIDTH, HIDDEN = shape.WIDTH, shape.HIDDEN
READ = "read_gb_per_s"
UNITS = {READ: "GB/s", "f32_gflops": "GFLOP/s", "bf16_gflops": "GFLOP/s", "int8_gops": "GOP/s"}  # of the limits
PEAKS = {"float32": "f32_gflops", "bfloat16": "bf16_gflops", "int8": "int8_gops", "int4": "int8_gops"}


@dataclass
class Case:
    """One kernel on one input: what to call, the exact result, and what a call reads or computes."""

    name: str
    call: Callable[[], Array]
    exact: Callable[[], NDArray[np.floating]]
    amount: float  # bytes read or operations done
    limit: str  # what bounds it, a key of UNITS

    @property
    def megabytes(self) -> float:
        """Of the buffer whose reading is its limit."""
        return self.amount / 1e6 if self.limit == READ else 1


def matmul(rng: np.random.Generator, rows: int, depth: int, cols: int, dtype: str = "float32") -> Case:
    x, weight = (rng.standard_normal(s, dtype=np.float32) for s in ((rows, depth), (depth, cols)))
    packed = ops.pack(weight, dtype)
    few = rows <= 16
    return Case(
        f"matmul {dtype} {rows}x{depth}x{cols}",
        lambda: ops.matmul(x, packed),
        lambda: multiplied(x, dtype).astype(np.float64) @ ops.unpack(packed),  # of the numbers that the format keeps
        packed.nbytes if few else 2.0 * rows * depth * cols,
        READ if few else PEAKS[dtype],
    )


def attention(rng: np.random.Generator, past: int, fresh: int, dtype: str, group: int = 1) -> Case:
    """group: heads of the queries to each of the cache."""
    total, kv_heads = past + fresh, shape.HEADS // group
    cache = KVCache(ops, 1, 1, kv_heads, shape.HEAD_WIDTH, total, dtype=dtype)
    keys, values, scales = cache.whole(0, 0)
    q, k, v = (rng.standard_normal((total, WIDTH // n), dtype=np.float32) for n in (1, group, group))
    zero, at, count = np.array([0]), np.array([past]), np.array([fresh])
    ops.append(k, v, keys, values, zero, zero, np.array([total]), scales)
    arguments = (q[past:], keys, values, zero, at, count, shape.HEAD_WIDTH**-0.5, None, None, scales)
    few = fresh == 1
    held = (keys.nbytes + values.nbytes + scales.nbytes) * total / cache.capacity
    seen = past * fresh + fresh * (fresh + 1) / 2
    return Case(
        f"attention {dtype} {fresh} after {past}" + (f", groups of {group}" if group > 1 else ""),
        lambda: ops.attention(*arguments),
        lambda: reference.attention(*arguments),
        held if few else 4.0 * seen * WIDTH,
        READ if few else PEAKS["float32"],  # whatever the cache holds
    )


def rowwise(rng: np.random.Generator, name: str, rows: int, cols: int) -> Case:
    x = rng.standard_normal((rows, cols), dtype=np.float32)
    of_layer_norm = np.ones(cols, np.float32), np.zeros(cols, np.float32)
    turns = rng.standard_normal((rows, shape.HEAD_WIDTH // 2, 2), dtype=np.float32)
    given = {"layer_norm": of_layer_norm, "rms_norm": of_layer_norm[:1], "rotate": (np.arange(rows), turns)}
    more = given.get(name, ())
    return Case(
        f"{name} {rows}x{cols}",
        lambda: getattr(ops, name)(x, *more),
        lambda: getattr(reference, name)(x, *more),
        8.0 * rows * cols,
        READ,
    )


def cases() -> list[Case]:
    rng = np.random.default_rng(1)
    layers = ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, HIDDEN), (HIDDEN, WIDTH))
    return [
        *(matmul(rng, rows, WIDTH, shape.VOCABULARY, dtype) for dtype in DTYPES for rows in (1, 8)),
        *(matmul(rng, 64, depth, cols) for depth, cols in layers),
        *(matmul(rng, 512, depth, cols, dtype) for dtype in DTYPES for depth, cols in layers),
        *(attention(rng, past, fresh, dtype) for dtype in ELEMENTS for past, fresh in ((900, 1), (0, 512))),
        *(attention(rng, past, fresh, dtype, 4) for dtype in ELEMENTS for past, fresh in ((900, 1), (0, 512))),
        *(rowwise(rng, name, 512, WIDTH) for name in ("layer_norm", "rms_norm", "softmax", "rotate")),
        *(rowwise(rng, name, 512, HIDDEN) for name in ("gelu_tanh", "gelu_erf", "quick_gelu", "silu", "tanh", "relu")),
    ]


def check(case: Case, variants: list[str]) -> None:
    """The results against exact arithmetic; the bound of a chain of n roundings, n the length of the longest sum."""
    exact = case.exact().astype(np.float64)
    longest = max(HIDDEN, 1024)
    bound = longest * 2.0**-24 * np.abs(exact).max() * 4
    for isa in variants:
        cpu.set_isa(isa)
        worst = np.abs(case.call() - exact).max()
        if not worst <= bound:
            raise SystemExit(f"{case.name} on {isa}: error {worst:.3g} above {bound:.3g}; not timed")


def seconds(call: Callable[[], Array]) -> float:
    start, calls = time.perf_counter(), 0
    while True:
        call()
        calls += 1
        spent = time.perf_counter() - start
        if spent > 0.03:
            return spent / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default=f"1,{cpu.threads()}" if cpu.threads() > 1 else "1")
    parser.add_argument("--isa", default=",".join(cpu.variants()))
    parser.add_argument("--only", default="", metavar="TEXT", help="kernels whose names contain it; default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--build", type=Path, default=Path(tempfile.gettempdir()) / "nextword-bench")
    options = parser.parse_args()
    variants = options.isa.split(",")
    todo = [case for case in cases() if options.only in case.name]
    for case in todo:
        check(case, variants)
    program = limits.build(options.build)
    for threads in map(int, options.threads.split(",")):
        cpu.set_threads(threads)
        print(f"\n{threads} threads")
        print(f"{'kernel':32} {'variant':12} {'ms':>9} {'rate':>9} {'limit':>9} {'unit':8} {'of it':>6}")
        for case in todo:
            rounds: dict[str, list[float]] = {isa: [] for isa in variants}
            for _ in range(options.rounds):
                for isa in variants:
                    cpu.set_isa(isa)
                    rounds[isa].append(seconds(case.call))
            limit = limits.rates(program, case.megabytes, threads).get(case.limit, float("nan"))  # nan: no instruction
            for isa in variants:
                spent = statistics.median(rounds[isa])
                rate = case.amount / spent / 1e9
                print(f"{case.name:32} {isa:12} {spent * 1e3:9.3f} {rate:9.1f} {limit:9.1f} {UNITS[case.limit]:8} "
                      f"{rate / limit:6.0%}")


if __name__ == "__main__":
    main()
