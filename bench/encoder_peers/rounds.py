"""Checks the engines of bench/encoders.py, then times them in turns, each in a process and environment of its own."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from encoder_peers.registry import CLASSES, PEERS, SHAPES
from peers import limits, machine
from peers.rounds import PAUSE, PeerError, least_disturbed

WORKER = Path(__file__).parent / "worker.py"
START_ROUNDS = 5
Row = dict[str, Any]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def python_of(folder: Path, name: str) -> Path:
    return folder / "venvs" / name / "bin" / "python"


def converted(data: Path, name: str, class_name: str) -> Path:
    """Its presence says that the engine's format of this class is complete."""
    return data / "converted" / f"{name}-{class_name}"


def selection(text: str, known: Any, what: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"encoders: unknown {what} {name!r}; known are {', '.join(map(str, known))}")
    return names


class Worker:
    """A running engine. Use in a `with` statement."""

    def __init__(self, options: argparse.Namespace, shape: str, name: str, class_name: str, threads: int) -> None:
        self.name, self.class_name, peer, count = name, class_name, PEERS[name], str(threads)
        self.batches = batches_of(options).get(f"{shape} {name} {class_name}", {})
        environment = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), count)
        log = options.dir / "log"
        log.mkdir(exist_ok=True)
        self.log = (log / f"{shape}-{name}-{class_name}-{count}.txt").open("w")
        self.process = subprocess.Popen(
            [python_of(options.dir, name), WORKER, peer.script, peer.precisions[class_name], count,
             options.dir / shape, ",".join(map(str, machine.cpus(threads)))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=environment | {"TOKENIZERS_PARALLELISM": "true"} | dict(peer.environment),
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
        answer: Row = json.loads(line) if line else {"error": f"the worker ended; see {self.log.name}"}
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def ask(self, command: str, **message: Any) -> Row:
        try:
            print(json.dumps({"command": command, **message}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise PeerError(f"the worker ended; see {self.log.name}") from None
        return self.reply()

    def embed(self, cell: str, **message: Any) -> Row:
        """Seconds of a call and the least cosine with the reference; raises PeerError where that is too small."""
        row = self.ask("embed", cell=cell, **({"batch": self.batches.get(cell, 16)} | message))
        least = CLASSES[self.class_name].least
        if least and row.get("cosine", 1) < least:
            raise PeerError(f"{cell}: the cosine with the reference is {row['cosine']:.6f}, below {least}")
        return row

    def timed(self, cell: str) -> Row:
        time.sleep(PAUSE)  # the threads of the engine before have stopped spinning
        before = machine.Usage.now()
        row = self.embed(cell)
        return row | {"foreign": round(before.foreign(machine.Usage.now(), row["cpu_s"]), 3)}


def batches_of(options: argparse.Namespace) -> dict[str, dict[str, int]]:
    file = options.dir / "batches.json"
    found: dict[str, dict[str, int]] = json.loads(file.read_text()) if file.exists() else {}
    return found


def prepared(options: argparse.Namespace, shape: str, class_name: str) -> list[str]:
    return [name for name in selection(options.peers, PEERS, "peer")
            if class_name in PEERS[name].precisions and converted(options.dir / shape, name, class_name).exists()]


def ceilings(shape: str, class_name: str, lengths: dict[str, list[int]], measured: limits.Measured) -> dict[str, Any]:
    """What the measured rates allow: tokens a second, ms, seconds. None where the CPU lacks the instructions."""
    sizes, precision = SHAPES[shape], CLASSES[class_name]
    peak = measured.get(precision.peak, 0) * 1e9
    weights = sizes.matrices * precision.bits / 8
    result: dict[str, Any] = {cell: sum(lengths[cell]) * peak / sizes.operations(lengths[cell]) or None
                              for cell in ("mixed", "short")}
    if peak:
        by_arithmetic = sizes.operations(lengths["one"]) / peak
        result["one"] = 1e3 * max(by_arithmetic, weights / (measured["read_gb_per_s"] * 1e9))
    return result | {"start": weights / (measured["copy_gb_per_s"] * 1e9)}


def session(options: argparse.Namespace, shape: str, class_name: str, threads: int, program: Path) -> Iterator[Row]:
    """One process per engine for all rounds."""
    place = {"shape": shape, "class": class_name, "threads": threads}
    lengths = json.loads((options.dir / shape / "about.json").read_text())["lengths"]
    megabytes = SHAPES[shape].matrices * CLASSES[class_name].bits / 8e6
    cells = [cell for cell in options.cells if cell != "start"]
    with ExitStack() as stack:
        workers = []
        for name in prepared(options, shape, class_name):
            worker = stack.enter_context(Worker(options, shape, name, class_name, threads))
            try:
                worker.reply()
                cosines = {cell: worker.embed(cell)["cosine"] for cell in cells}
                versions = worker.ask("versions", distributions=PEERS[name].distributions)
            except PeerError as error:
                yield {"kind": "failed", "label": name, "error": str(error), **place}
                continue
            yield {"kind": "check", "label": name, "cosine": min(cosines.values()), "versions": versions,
                   "batches": worker.batches, **place}
            workers.append(worker)
        for index in range(options.rounds):
            for cell in cells:
                rows = []
                with machine.turn(options.lock, options.patience):
                    first = limits.rates(program, megabytes, threads)
                    for worker in workers if index % 2 == 0 else workers[::-1]:
                        row = {"kind": "run", "label": worker.name, "cell": cell, "round": index, **place}
                        try:
                            row |= least_disturbed(partial(worker.timed, cell))
                        except PeerError as error:
                            row |= {"kind": "failed", "error": f"{cell}: {error}"}
                        rows.append(row)
                    measured = limits.middle(first, limits.rates(program, megabytes, threads))
                limit = ceilings(shape, class_name, lengths, measured).get(cell)
                yield {"kind": "limits", "cell": cell, "round": index, **place, **measured}
                for row in rows:
                    if row["kind"] == "run":
                        seconds = row["seconds"]
                        row["value"] = 1e3 * seconds if cell == "one" else sum(lengths[cell]) / seconds
                    yield row | {"limit": limit}
        say(f"{shape} {class_name}, {threads} threads: {len(workers)} engines, {options.rounds} rounds")


def starts(options: argparse.Namespace, shape: str, class_name: str, threads: int, program: Path) -> Iterator[Row]:
    """A new process per engine and round, its files in the page cache: imports, load and one text."""
    place = {"shape": shape, "class": class_name, "threads": threads, "cell": "start"}
    limit = ceilings(shape, class_name, json.loads((options.dir / shape / "about.json").read_text())["lengths"],
                     limits.rates(program, SHAPES[shape].matrices * CLASSES[class_name].bits / 8e6, threads))["start"]

    def once(name: str) -> Row:
        before = machine.Usage.now()
        with Worker(options, shape, name, class_name, threads) as worker:
            began = worker.reply()
            row = worker.embed("one", first=True)
            foreign = before.foreign(machine.Usage.now(), row["process_cpu_s"])
        return began | row | {"value": began["import_s"] + began["load_s"] + row["seconds"], "foreign": foreign}

    for index in range(max(options.rounds, START_ROUNDS) if options.rounds > 1 else 1):
        names = prepared(options, shape, class_name)
        with machine.turn(options.lock, options.patience):
            for name in names if index % 2 == 0 else names[::-1]:
                row = {"kind": "run", "label": name, "round": index, **place}
                try:
                    yield row | least_disturbed(partial(once, name)) | {"limit": limit}
                except PeerError as error:
                    yield row | {"kind": "failed", "error": str(error)}
