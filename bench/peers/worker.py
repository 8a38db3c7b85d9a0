"""One engine in its own process: `python worker.py SCRIPT PRECISION THREADS DATA CPUS` answers JSON lines on stdin.

SCRIPT is a module of this folder. Its imports stand at its top: they are timed as the start of the engine. It has
  load(data, precision, threads)    returns generate(prompts, new) -> (ids, prefill seconds, decode seconds),
      where `prompts` are equally long lists of token ids and `ids` the `new` greedy ids after each; the prefill ends
      with the first of them
  convert(data, precision)          writes the peer's own format from data/hf, where it has one:
      `worker.py SCRIPT PRECISION convert DATA`
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def status_mb(key: str) -> float:
    """A memory figure of this process in MB (10^6 bytes): VmRSS now, VmHWM the most so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(key)


def answer(generate: Any, message: dict[str, Any]) -> dict[str, Any]:
    command = message["command"]
    if command == "versions":
        from importlib.metadata import version  # not at the top: engines that need it shall pay for it themselves

        return {name: version(name) for name in message["distributions"]}
    if command == "memory":
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading
    before, start = os.times(), time.perf_counter()
    ids, prefill, decode = generate(message["prompts"], message["new"])
    wall, after = time.perf_counter() - start, os.times()
    return {
        "ids": [[int(token) for token in row] for row in ids],
        "prefill_s": prefill,
        "decode_s": decode,
        "wall_s": wall,
        "cpu_s": after.user + after.system - before.user - before.system,
        "process_cpu_s": after.user + after.system,
        "peak_mb": status_mb("VmHWM"),
    }


def attempt(action: Any, *arguments: Any) -> dict[str, Any]:
    try:
        return action(*arguments)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"[:400]}


def main() -> None:
    script, precision, third, data = sys.argv[1:5]
    if third == "convert":
        importlib.import_module(script).convert(Path(data), precision)
        return
    os.sched_setaffinity(0, [int(cpu) for cpu in sys.argv[5].split(",")])
    replies = os.fdopen(os.dup(1), "w")  # engines may print: their output goes to stderr
    os.dup2(2, 1)
    engine: list[Any] = []

    def start() -> dict[str, Any]:
        begin = time.perf_counter()
        module = importlib.import_module(script)
        imported = time.perf_counter()
        engine.append(module.load(Path(data), precision, int(third)))
        loaded = time.perf_counter()
        return {"import_s": imported - begin, "load_s": loaded - imported, "peak_load_mb": status_mb("VmHWM")}

    def reply(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=replies, flush=True)

    reply(attempt(start))
    for line in sys.stdin:
        reply(attempt(answer, engine[0], json.loads(line)))


if __name__ == "__main__":
    main()
