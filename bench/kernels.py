"""Every kernel on every instruction set, in the shapes of GPT-2 124M: checked, then timed beside this machine's limits.

python bench/kernels.py [--threads 1,2] [--isa avx512,avx2] [--rounds 7] [--build FOLDER]

A matmul of few rows is measured by the weights that it reads a second, one of many rows by its operations. Variants
take turns within a round; the figure is the median over rounds.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextword import cpu, ops, reference
from nextword.layers import KVCache
from peers import limits, machine, shape

Array = NDArray[np.float32]
WIDTH, HIDDEN = shape.WIDTH, shape.HIDDEN


@dataclass
class Case:
    """One kernel on one input: what to call, the exact result, and what a call reads or computes."""

    name: str
    call: Callable[[], Array]
    exact: Callable[[], Array]
    amount: float  # bytes read or operations done
    unit: str  # "GB/s" or "GFLOP/s"


def matmul(rng: np.random.Generator, rows: int, depth: int, cols: int) -> Case:
    x, weight = (rng.standard_normal(s, dtype=np.float32) for s in ((rows, depth), (depth, cols)))
    packed = ops.pack(weight)
    few = rows <= 16
    amount = 4.0 * depth * cols if few else 2.0 * rows * depth * cols
    return Case(
        f"matmul {rows}x{depth}x{cols}",
        lambda: ops.matmul(x, packed),
        lambda: reference.matmul(x, weight),
        amount,
        "GB/s" if few else "GFLOP/s",
    )


def attention(rng: np.random.Generator, past: int, fresh: int, kv_dtype: str = "float32") -> Case:
    heads, width = shape.HEADS, shape.HEAD_WIDTH
    total = past + fresh
    cache = KVCache(ops, 1, 1, heads, width, total, dtype=kv_dtype)
    keys, values, scales = cache.whole(0, 0)
    q, k, v = (rng.standard_normal((total, WIDTH), dtype=np.float32) for _ in range(3))
    zero, at, count = np.array([0]), np.array([past]), np.array([fresh])
    ops.append(k, v, keys, values, zero, zero, np.array([total]), scales)
    q = q[past:]
    arguments = (q, keys, values, zero, at, count, width**-0.5, None, None, scales)
    seen = past * fresh + fresh * (fresh + 1) / 2
    few = fresh == 1
    held = (keys.nbytes + values.nbytes + scales.nbytes) * total / cache.capacity
    return Case(
        f"attention {fresh} after {past}" + (f", {kv_dtype}" if kv_dtype != "float32" else ""),
        lambda: ops.attention(*arguments),
        lambda: reference.attention(*arguments),
        held if few else 4.0 * seen * WIDTH,
        "GB/s" if few else "GFLOP/s",
    )


def rowwise(rng: np.random.Generator, name: str, rows: int, cols: int) -> Case:
    x = rng.standard_normal((rows, cols), dtype=np.float32)
    more = (np.ones(cols, np.float32), np.zeros(cols, np.float32)) if name == "layer_norm" else ()
    return Case(
        f"{name} {rows}x{cols}",
        lambda: getattr(ops, name)(x, *more),
        lambda: getattr(reference, name)(x, *more),
        8.0 * rows * cols,
        "GB/s",
    )


def cases() -> list[Case]:
    rng = np.random.default_rng(1)
    layers = ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, HIDDEN), (HIDDEN, WIDTH))
    return [
        matmul(rng, 1, WIDTH, shape.VOCABULARY),
        matmul(rng, 8, WIDTH, shape.VOCABULARY),
        *(matmul(rng, rows, depth, cols) for rows in (64, 512) for depth, cols in layers),
        *(attention(rng, 900, 1, kv_dtype) for kv_dtype in ("float32", "bfloat16", "int8")),
        attention(rng, 0, 512),
        *(rowwise(rng, name, 512, WIDTH) for name in ("layer_norm", "softmax")),
        *(rowwise(rng, name, 512, HIDDEN) for name in ("gelu_tanh", "gelu_erf")),
    ]


def check(case: Case) -> None:
    """The result against exact arithmetic; the bound of a chain of n roundings, n the length of the longest sum."""
    got, exact = case.call(), case.exact().astype(np.float64)
    longest = max(HIDDEN, 1024)
    bound = longest * 2.0**-24 * np.abs(exact).max() * 4
    worst = np.abs(got - exact).max()
    if not worst <= bound:
        raise SystemExit(f"{case.name} on {cpu.isa()}: error {worst:.3g} above {bound:.3g}; not timed")


def seconds(call: Callable[[], Array]) -> float:
    start, calls = time.perf_counter(), 0
    while True:
        call()
        calls += 1
        spent = time.perf_counter() - start
        if spent > 0.03:
            return spent / calls


def ceilings(build: Path, threads: int) -> dict[str, float]:
    """Read bandwidth over 500 MB and the peak of multiply-adds, measured now."""
    command = [str(limits.build(build)), "500", *map(str, machine.cpus(threads))]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"GB/s": found["read_gb_per_s"], "GFLOP/s": found["f32_gflops"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default=f"1,{cpu.threads()}" if cpu.threads() > 1 else "1")
    parser.add_argument("--isa", default=",".join(cpu.variants()))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--build", type=Path, default=Path(tempfile.gettempdir()) / "nextword-bench")
    options = parser.parse_args()
    variants = options.isa.split(",")
    todo = cases()
    for isa in variants:
        cpu.set_isa(isa)
        for case in todo:
            check(case)
    for threads in map(int, options.threads.split(",")):
        cpu.set_threads(threads)
        limit = ceilings(options.build, threads)
        print(f"\n{threads} threads: read {limit['GB/s']:.1f} GB/s, peak {limit['GFLOP/s']:.0f} GFLOP/s")
        print(f"{'kernel':28} {'variant':10} {'ms':>9} {'rate':>9} {'unit':8} {'of limit':>8}")
        for case in todo:
            rounds: dict[str, list[float]] = {isa: [] for isa in variants}
            for _ in range(options.rounds):
                for isa in variants:
                    cpu.set_isa(isa)
                    rounds[isa].append(seconds(case.call))
            for isa in variants:
                spent = statistics.median(rounds[isa])
                rate = case.amount / spent / 1e9
                print(
                    f"{case.name:28} {isa:10} {spent * 1e3:9.3f} {rate:9.1f} {case.unit:8}"
                    f" {rate / limit[case.unit]:8.0%}"
                )


if __name__ == "__main__":
    main()
