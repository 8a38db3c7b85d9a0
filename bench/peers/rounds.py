"""Checks the peers, then times them in turns. Each peer runs in a process and an environment of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from peers import limits, machine
from peers.registry import CLASSES, VARIANTS, WORKS, Peer, Work, prompts

DISTURBED = 0.15  # of a core taken by others: the call is repeated
TRIES = 3
CHECKED = 8  # greedy ids that must agree; later ones may differ where two logits are nearly equal
PAUSE = 0.05  # s before a call, so that the threads of the peer before it have stopped spinning
Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One row of a table: a peer in one precision, run by `python`."""

    label: str
    peer: Peer
    precision: str
    python: Path


@dataclass(frozen=True)
class Setting:
    """What all measurements of a run share."""

    data: Path
    log: Path
    lock: Path | None
    patience: float
    reference: Mapping[str, Sequence[Sequence[Sequence[int]]]]  # work -> prompt variant -> row -> ids


class PeerError(Exception):
    """A peer could not do what was asked; the message says why."""


class Worker:
    """A running engine. Use in a `with` statement."""

    def __init__(self, entry: Entry, threads: int, setting: Setting) -> None:
        self.entry = entry
        count = str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        self.log = (setting.log / f"{entry.label.replace(' ', '-')}-{threads}.txt").open("w")
        self.process = subprocess.Popen(
            [entry.python, Path(__file__).parent / "worker.py", entry.peer.script, entry.precision, count,
             setting.data, ",".join(map(str, machine.cpus(threads)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment | dict(entry.peer.environment),
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def reply(self) -> Row:
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"the worker ended; see {self.log.name}"}
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def ask(self, command: str, **message: Any) -> Row:
        try:
            print(json.dumps({"command": command, **message}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise PeerError(f"the worker ended; see {self.log.name}") from None
        return self.reply()

    def generate(self, work: Work, variant: int, new: int | None = None, command: str = "generate") -> Row:
        return self.ask(command, prompts=prompts(work, variant), new=new or work.new)

    def timed(self, work: Work, variant: int) -> Row:
        time.sleep(PAUSE)
        before = machine.Usage.now()
        row = self.generate(work, variant)
        return row | {"foreign": round(before.foreign(machine.Usage.now(), row["cpu_s"]), 3)}


def least_disturbed(call: Callable[[], Row]) -> Row:
    """Repeats a call while other processes disturb it, TRIES times at most."""
    best = call()
    for _ in range(TRIES - 1):
        if best["foreign"] >= DISTURBED:
            best = min(best, call(), key=lambda row: row["foreign"])
    return best


def agree(name: str, variant: int, ids: list[list[int]], new: int, exact: bool, setting: Setting) -> int:
    """How many rows start as the reference does; raises PeerError where all must and one does not."""
    lengths, wanted = [len(row) for row in ids], [new] * WORKS[name].sequences
    if lengths != wanted:
        raise PeerError(f"{name}: sequences of {lengths} ids instead of {wanted}")
    expected = [list(row)[:new] for row in setting.reference[name][variant]]
    same = [row[:CHECKED] == want for row, want in zip(ids, expected, strict=True)]
    if exact and not all(same):
        row = same.index(False)
        raise PeerError(f"{name}: ids {ids[row][:CHECKED]} instead of {expected[row]}")
    return sum(same)


def value(work: Work, row: Row) -> float:
    if work.kind == "prefill":
        return work.sequences * work.prompt / row["prefill_s"]
    return work.sequences * (work.new - 1) / row["decode_s"]


def check(worker: Worker, names: Sequence[str], exact: bool, setting: Setting) -> dict[str, str]:
    """Runs every work briefly, which also warms the engine up; name -> "rows that agree / rows"."""
    result = {}
    for name in names:
        work = WORKS[name]
        same = total = 0
        for variant in range(VARIANTS):
            new = min(work.new, CHECKED)
            same += agree(name, variant, worker.generate(work, variant, new)["ids"], new, exact, setting)
            total += work.sequences
        result[name] = f"{same}/{total}"
    return result


def session(
    class_name: str, entries: Sequence[Entry], names: Sequence[str], threads: int, rounds: int, process: int,
    program: Path, setting: Setting,
) -> Iterator[Row]:
    """One process per peer for all rounds: rows of kind "check", "failed", "limits" and "run"."""
    precision = CLASSES[class_name]
    common = {"class": class_name, "threads": threads, "process": process}
    with ExitStack() as stack:
        workers = []
        for entry in entries:
            worker = stack.enter_context(Worker(entry, threads, setting))
            try:
                worker.reply()
                found = {"agree": check(worker, names, precision.exact, setting),
                         "versions": worker.ask("versions", distributions=entry.peer.distributions)}
            except PeerError as error:
                yield {"kind": "failed", "label": entry.label, "error": str(error), **common}
                continue
            yield {"kind": "check", "label": entry.label, **found, **common}
            workers.append(worker)
        for index in range(rounds):
            for name in names:
                work, variant = WORKS[name], index % VARIANTS
                place = {"work": name, "round": index, **common}
                rows = []
                with machine.turn(setting.lock, setting.patience):
                    first = limits.measure(program, threads, precision)
                    for worker in workers if index % 2 == 0 else workers[::-1]:
                        row = {"kind": "run", "label": worker.entry.label, **place}
                        try:
                            row |= least_disturbed(partial(worker.timed, work, variant))
                            agree(name, variant, row.pop("ids"), work.new, precision.exact, setting)
                        except PeerError as error:
                            row |= {"kind": "failed", "error": str(error)}
                        rows.append(row)
                    measured = limits.middle(first, limits.measure(program, threads, precision))
                ceiling = limits.ceiling(name, work, precision, measured)
                yield {"kind": "limits", **place, **measured}
                for row in rows:
                    yield row | {"value": value(work, row), "limit": ceiling} if row["kind"] == "run" else row
            print(f"{class_name}, threads {threads}, process {process}, round {index}", file=sys.stderr, flush=True)


def started(entry: Entry, threads: int, exact: bool, setting: Setting) -> Row:
    """One fresh process, to its first token and through a decoding."""
    start, memory = WORKS["start"], WORKS["memory"]
    before = machine.Usage.now()
    with Worker(entry, threads, setting) as worker:
        row = worker.reply()
        first = worker.generate(start, 0)
        foreign = before.foreign(machine.Usage.now(), first["process_cpu_s"])
        decoding = worker.generate(memory, 0, command="memory")
        versions = worker.ask("versions", distributions=entry.peer.distributions)
    agree("start", 0, first["ids"], start.new, exact, setting)
    agree("memory", 0, decoding["ids"], memory.new, exact, setting)
    return row | {"first_s": first["wall_s"], "peak_mb": decoding["peak_mb"], "foreign": round(foreign, 3),
                  "versions": versions}


def fresh(
    class_name: str, entries: Sequence[Entry], names: Sequence[str], threads: int, process: int, program: Path,
    setting: Setting,
) -> Iterator[Row]:
    """A new process per peer, its files in the page cache: seconds to the first token, then memory while decoding."""
    precision = CLASSES[class_name]
    place = {"class": class_name, "threads": threads, "process": process, "round": 0}
    with machine.turn(setting.lock, setting.patience):
        measured = limits.measure(program, threads, precision)
        yield {"kind": "limits", **place, **measured}
        for entry in entries if process % 2 == 0 else entries[::-1]:
            try:
                row = least_disturbed(partial(started, entry, threads, precision.exact, setting))
            except PeerError as error:
                yield {"kind": "failed", "label": entry.label, "error": str(error), **place}
                continue
            yield {"kind": "version", "label": entry.label, "versions": row.pop("versions"), **place}
            values = {"start": row["import_s"] + row["load_s"] + row["first_s"], "memory": row["peak_mb"]}
            for name in names:
                yield {"kind": "run", "label": entry.label, "work": name, **place, **row, "value": values[name],
                       "limit": limits.ceiling(name, WORKS[name], precision, measured)}
    print(f"{class_name}, threads {threads}, fresh processes {process}", file=sys.stderr, flush=True)
