"""One engine in its own process: `python worker.py SCRIPT PRECISION THREADS DATA CPUS` answers JSON lines on stdin.

SCRIPT is a module of this folder. Its imports stand at its top: they are timed as the start of the engine. It has
  load(data, precision, threads)    returns embed(texts, batch) -> float32 [texts, width], vectors of length 1; `batch`
      texts are padded together, where the engine pads
  convert(data, precision)          writes the engine's own format from data/hf:
      `worker.py SCRIPT PRECISION convert DATA`
"""

import importlib
import json
import os
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

WARM, CALLS = 10, 40  # of one text


def embedded(embed: Any, cell: str, texts: list[str], batch: int, first: bool) -> tuple[float, Any]:
    """Seconds of a call, the vectors. One text: the median of CALLS calls, but for the first of a process."""
    repeated = cell == "one" and not first
    for _ in range(WARM if repeated else 0):
        embed(texts, batch)
    seconds = []
    for _ in range(CALLS if repeated else 1):
        start = time.perf_counter()
        vectors = embed(texts, batch)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), vectors


def answer(embed: Any, data: Path, texts: dict[str, list[str]], message: dict[str, Any]) -> dict[str, Any]:
    if message["command"] == "versions":
        from importlib.metadata import version

        return {name: version(name) for name in message["distributions"]}
    cell, first, part = message["cell"], message.get("first", False), message.get("part", 1)
    given = texts[cell]
    if part > 1:  # of texts of like length, as many as a batch of all would have
        given = sorted(given, key=len)
        middle, half = len(given) // 2, len(given) // part // 2
        given = given[middle - half : middle + half]
    before = os.times()
    seconds, vectors = embedded(embed, cell, given, message["batch"], first)
    after = os.times()
    result = {"seconds": seconds, "cpu_s": after.user + after.system - before.user - before.system,
              "process_cpu_s": after.user + after.system}
    if part == 1:
        import numpy as np  # here: an engine pays for it itself, in its start

        wanted = np.load(data / "reference.npz")[cell].astype(np.float64)
        found = np.asarray(vectors, np.float64)
        if found.shape != wanted.shape:
            raise ValueError(f"vectors of shape {found.shape} instead of {wanted.shape}")
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
        result["cosine"] = float(((found * wanted).sum(1) / lengths).min())
    return result


def attempt(action: Any, *arguments: Any) -> dict[str, Any]:
    try:
        return action(*arguments)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"[:400]}


def main() -> None:
    script, precision, third, folder = sys.argv[1:5]
    data = Path(folder)
    if third == "convert":
        importlib.import_module(script).convert(data, precision)
        return
    os.sched_setaffinity(0, [int(cpu) for cpu in sys.argv[5].split(",")])
    replies = os.fdopen(os.dup(1), "w")  # engines may print: their output goes to stderr
    os.dup2(2, 1)
    texts = json.loads((data / "texts.json").read_text())
    engine: list[Any] = []

    def start() -> dict[str, Any]:
        begin = time.perf_counter()
        module = importlib.import_module(script)
        imported = time.perf_counter()
        engine.append(module.load(data, precision, int(third)))
        return {"import_s": imported - begin, "load_s": time.perf_counter() - imported}

    print(json.dumps(attempt(start)), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(attempt(answer, engine[0], data, texts, json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
