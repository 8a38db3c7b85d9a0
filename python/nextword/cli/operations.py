"""`nextword bench --operations`: where the time of a pass goes, beside what the machine allows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nextword.arithmetic.arrays import Doubles, Ints
from nextword.arithmetic.recorder import Operation
from nextword.cli.terminal import style
from nextword.models.model import Model

ROUNDS = 5  # repetitions, of which the one of median time counts


@dataclass(frozen=True)
class Spent:
    """Operations of one kind and size in a pass.

    times: how many. seconds: of all of them. bytes: the weights, or keys and values, that they read; multiply_adds: of
    their products. 0 where an operation has neither.
    """

    operation: str
    times: int
    seconds: float
    bytes: int
    multiply_adds: int


@dataclass(frozen=True)
class Pass:
    """One kind of pass: what it takes as a whole, and its operations. limit: bytes, or multiply-adds, a second."""

    title: str
    seconds: float
    by: str  # "bytes" or "multiply_adds": what limits it
    limit: float
    operations: list[Spent]

    def share_of_limit(self, one: Spent) -> float:
        """Of what the machine allows; 0 where the operation is bound by neither."""
        return getattr(one, self.by) / one.seconds / self.limit if one.seconds else 0.0

    def asdict(self) -> dict[str, object]:
        """For JSON."""
        rows = [{**asdict(one), "share": one.seconds / self.seconds, "share_of_limit": self.share_of_limit(one)}
                for one in self.operations]
        return {"title": self.title, "seconds": self.seconds, "by": self.by, "limit": self.limit, "operations": rows}


def passes(model: Model, ids: Ints, start: int, steps: int, read: float, peak: float) -> Iterator[Pass]:
    """A step after `start` tokens, the mean of `steps`, and the reading of all the ids in one pass.

    read, peak: bytes and multiply-adds a second that the machine allows. The cache of a step holds up to start + steps.
    """
    held = start + (steps + 1) / 2  # tokens that a step's attention sees on average

    def step(seconds: Doubles) -> float:
        cache = model.cache(1, start + steps)
        model([ids[:start]], cache, rows=[])
        begin = time.perf_counter()
        for at in range(steps):
            model([ids[start + at : start + at + 1]], cache, rows=[0], seconds=seconds)
        seconds /= steps
        return (time.perf_counter() - begin) / steps

    def prompt(seconds: Doubles) -> float:
        cache = model.cache(1, len(ids))
        begin = time.perf_counter()
        model([ids], cache, rows=[len(ids) - 1], seconds=seconds)
        return time.perf_counter() - begin

    for title, run, tokens, seen, by, limit in (
            (f"a step after {start} tokens", step, 1, held, "bytes", read),
            (f"a prompt of {len(ids)} tokens", prompt, len(ids), (len(ids) + 1) / 2, "multiply_adds", peak)):
        rounds = np.zeros((ROUNDS, len(model.operations())))
        whole = [run(seconds) for seconds in rounds]
        middle = int(np.argsort(whole)[ROUNDS // 2])
        yield Pass(title, whole[middle], by, limit, list(_grouped(model, rounds[middle], tokens, seen)))


def _grouped(model: Model, seconds: Doubles, tokens: int, seen: float) -> Iterator[Spent]:
    """Operations that are alike together, in the order in which the first of them runs."""
    groups: dict[Operation, list[float]] = {}
    for one, spent in zip(model.operations(), seconds.tolist(), strict=True):
        groups.setdefault(one, []).append(spent)
    for one, times in groups.items():
        count, rows = len(times), 1 if one.rows == "wanted" else tokens
        read, products = one.bytes, rows * one.products
        name = f"{one.name} {one.products // one.cols} -> {one.cols}" if one.products else one.name
        name += ", wanted rows" if one.rows == "wanted" else ""
        if one.name == "attention":  # keys and values once a token, and twice a multiply-add for each of their numbers
            read = round(model.cache_bytes(1, round(seen)) / model.layers)
            products = round(2 * one.cols * seen * rows)
        yield Spent(name, count, sum(times), count * read, count * products)


def table(one: Pass) -> Iterator[str]:
    """A line for each group of operations, below a head, and what the pass takes beside them."""
    reads = one.by == "bytes"
    unit, rate = ("MB", "GB/s") if reads else ("M mul-adds", "G/s")
    head = ("times", "      ms", "share", unit.rjust(10), rate.rjust(7), "of limit")
    shown = [(spent.operation, str(spent.times), spent.seconds, getattr(spent, one.by), one.share_of_limit(spent))
             for spent in one.operations]
    beside = one.seconds - sum(spent.seconds for spent in one.operations)
    shown += [("checks, Python", "", max(0.0, beside), 0, 0.0)]
    wide = max(len(name) for name, *_ in shown)
    limit = f"{one.limit / 1e9:,.1f} {rate}"
    yield f"{one.title}: {1e3 * one.seconds:,.3f} ms; the machine allows {limit}"
    yield style(f"{'operation':<{wide}}  " + "  ".join(head), "2", sys.stdout)
    for name, times, seconds, amount, share in shown:
        cells = [times, f"{1e3 * seconds:,.3f}", f"{seconds / one.seconds:.1%}", "", "", ""]
        if amount and seconds:
            cells[3:] = f"{amount / 1e6:,.2f}", f"{amount / seconds / 1e9:,.1f}", f"{share:.0%}"
        line = "".join(f"  {text:>{len(column)}}" for text, column in zip(cells, head, strict=True))
        yield f"{name:<{wide}}{line}".rstrip()


def tables(found: Sequence[Pass]) -> str:
    """The tables of several passes."""
    return "\n\n".join("\n".join(table(one)) for one in found)
