"""From logits to a token: each rule on GPT-2's vocabulary, checked, then timed beside one read of the row and NumPy.

python bench/sampling.py [--isa avx512,avx2] [--rounds 7] [--logits FILE.npy]

`model` is like a language model's row (normal, four nats wide; or the file given), `noise` a row that is nearly flat,
`flat` one of equal logits. Figures are microseconds a call from Python: of the best burst of 8 calls over all rounds,
since a burst fits between two turns of other processes (NumPy: of the best call). One pass over the row is measured in
the same way, as NumPy's maximum.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextword import cpu, ops, reference
from peers import shape

Floats = NDArray[np.float32]
Rules = tuple[float, int, float, float, float, bool]
RULES: dict[str, Rules] = {
    "temperature": (0.8, 0, 1.0, 0.0, 1.0, False),
    "top_k 50": (0.8, 50, 1.0, 0.0, 1.0, False),
    "top_k 1000": (0.8, 1000, 1.0, 0.0, 1.0, False),
    "top_p 0.9": (0.8, 0, 0.9, 0.0, 1.0, False),
    "top_p 0.95, temperature 1": (1.0, 0, 0.95, 0.0, 1.0, False),
    "min_p 0.05": (0.8, 0, 1.0, 0.05, 1.0, False),
    "typical_p 0.9": (0.8, 0, 1.0, 0.0, 0.9, False),
    "all": (0.8, 50, 0.9, 0.05, 0.9, False),
    "all but top_k": (0.8, 0, 0.9, 0.05, 0.9, False),
}
U = 0.5


def rows(file: Path | None) -> dict[str, Floats]:
    rng, n = np.random.default_rng(1), shape.VOCABULARY
    model = np.load(file).astype(np.float32) if file else (4 * rng.standard_normal(n) - 100).astype(np.float32)
    noise = (0.01 * rng.standard_normal(n)).astype(np.float32)
    return {"model": model, "noise": noise, "flat": np.zeros(n, np.float32)}


def check(name: str, logits: Floats, rules: Rules) -> None:
    """The definition's tokens but for the border, where rounding decides, and its probabilities."""
    ids, p, _ = ops.distribution(logits, *rules)
    exact_ids, exact, _ = reference.distribution(logits, *rules)
    dense, exact_dense = np.zeros(len(logits)), np.zeros(len(logits))
    dense[ids], exact_dense[exact_ids] = p, exact
    at = reference._inverse_transform(ids, p, len(logits), U)
    # twice: an exponential's relative error, 8 units and 3 for each nat up to 87, and the sum's 20
    close = np.abs(dense - exact_dense).sum() <= 2 * 300 * 2.0**-24 + 4 / len(ids)
    if not close or ops.sample(logits, *rules, U)[0] != ids[at]:
        raise SystemExit(f"{name} on {cpu.isa()}: not the definition's distribution; not timed")


def microseconds(call: Callable[[], object], burst: int = 8) -> float:
    begin, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < 0.01:
        start = time.perf_counter()
        for _ in range(burst):
            call()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / burst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default=",".join(cpu.variants()))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--logits", type=Path, help="an array [vocabulary] in NumPy's format")
    options = parser.parse_args()
    variants, found = options.isa.split(","), rows(options.logits)
    for isa in variants:
        cpu.set_isa(isa)
        for name, row in found.items():
            for rule, rules in RULES.items():
                check(f"{rule}, {name}", row, rules)
    calls: dict[str, Callable[[], object]] = {
        f"{rule}, {name}": lambda row=row, rules=rules: ops.sample(row, *rules, U)  # type: ignore[misc]
        for rule, rules in RULES.items()
        for name, row in found.items()
    }
    model = found["model"]
    calls |= {
        "distribution, all, model": lambda: ops.distribution(model, *RULES["all"]),
        "log_sum_exp": lambda: ops.log_sum_exp(model),
        "top 5": lambda: ops.top(model, 5),
        "philox": lambda: ops.philox(7, 1, 2),
    }
    twins: dict[str, Callable[[], object]] = {
        f"{rule}, model": lambda rules=rules: reference.sample(model, *rules, U)  # type: ignore[misc]
        for rule, rules in RULES.items()
    } | {
        "log_sum_exp": lambda: reference.log_sum_exp(model),
        "top 5": lambda: reference.top(model, 5),
        "philox": lambda: reference.philox(7, 1, 2),
    }
    floor = min(microseconds(model.max) for _ in range(options.rounds))
    print(f"{len(model)} logits; one pass over them: {floor:.1f} us ({4e-3 * len(model) / floor:.0f} GB/s)")
    print(f"{'us a call':38}" + "".join(f"{isa:>10}" for isa in variants) + f"{'NumPy':>10}")
    for name, call in calls.items():
        rounds: dict[str, list[float]] = {isa: [] for isa in variants}
        for _ in range(options.rounds):
            for isa in variants:
                cpu.set_isa(isa)
                rounds[isa].append(microseconds(call))
        line = "".join(f"{min(rounds[isa]):10.1f}" for isa in variants)
        twin = f"{min(microseconds(twins[name], 1) for _ in range(3)):10.1f}" if name in twins else ""
        print(f"{name:38}{line}{twin}")


if __name__ == "__main__":
    main()
