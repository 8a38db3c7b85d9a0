"""Completions over HTTP under load: throughput, first tokens, gaps and memory, against other servers.

    python bench/serve.py prepare --dir DIR --vocabulary FOLDER [--python llama=VENV/bin/python]
    python bench/serve.py run --dir DIR [--servers nextword,llama-cpp-python,...] [--python NAME=VENV/bin/python ...]
        [--clients 1,8,64] [--rounds 3] [--threads 2] [--json FILE]

`prepare` writes a model of GPT-2 124M's shape with random weights and a vocabulary (FOLDER has GPT-2's vocab.json and
merges.txt, or encoder.json and vocab.bpe), for all the same. `run` starts one server after the other, in turns over the
rounds. A request: a prompt of about 64 tokens, 32 new ones, greedy, streamed; the work "beside" is eight of 128 new
tokens, and half a second later a prompt of about 900. nextword's texts must be those of `lm.generate`, or the run
fails; of the others the share that agrees is shown. "library": `lm.generate` of all prompts in one call, or `lm.stream`
of one. Clients and server share the machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

from servers.load import Answer, bodies, together  # noqa: E402
from servers.process import Running, serving  # noqa: E402
from servers.registry import HF, SERVERS, Server  # noqa: E402

NEW, LONG_NEW = 32, 128
WORDS = ("river", "stone", "winter", "letter", "garden", "music", "silver", "morning", "engine", "window", "harvest",
         "captain", "forest", "mirror", "harbour", "thunder", "ladder", "candle", "market", "feather")


def prompt(number: int, words: int) -> str:
    """A text of words that no other number begins with."""
    return f"Number {number}:" + "".join(f" {WORDS[(number * 7 + i * (1 + number % 5)) % len(WORDS)]}"
                                         for i in range(words))


def prepare(args: argparse.Namespace) -> None:
    """Write the folder, and GGUF where an interpreter that has the package gguf is named."""
    import weights

    weights.write(args.dir)
    folder = args.dir / HF
    for target, names in (("vocab.json", ("vocab.json", "encoder.json")), ("merges.txt", ("merges.txt", "vocab.bpe"))):
        found = next(args.vocabulary / name for name in names if (args.vocabulary / name).exists())
        shutil.copyfile(found, folder / target)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}\n')
    if "llama" in args.python:
        subprocess.run([args.python["llama"], HERE / "servers" / "registry.py", args.dir], check=True)


def library(python: str, folder: Path, dtype: str, threads: int, prompts: Sequence[str]) -> dict[str, Any]:
    """`lm.generate` of all prompts in one call, in a process of its own: texts and seconds; `lm.stream` for one."""
    program = f"""
import json, sys, time, nextword
lm = nextword.load({str(folder / HF)!r}, {dtype!r}, threads={threads})
prompts = json.load(sys.stdin)
def run(prompts):
    if len(prompts) == 1:
        return ["".join(lm.stream(prompts[0], max_new_tokens={NEW}, temperature=0))]
    return [one.text for one in lm.generate(prompts, max_new_tokens={NEW}, temperature=0)]
run(["Warm: " + prompt for prompt in prompts])
start = time.perf_counter()
texts = run(prompts)
json.dump({{"seconds": time.perf_counter() - start, "texts": texts}}, sys.stdout)
"""
    done = subprocess.run([python, "-c", program], input=json.dumps(list(prompts)), text=True, check=True,
                          stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the largest, in milliseconds."""
    order = sorted(values)
    return {name: 1e3 * order[min(len(order) - 1, int(share * len(order)))]
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def row_of(answers: Sequence[Answer], new: int) -> dict[str, Any]:
    """Of answers that ran together: tokens a second, first tokens and gaps."""
    seconds = max(one.times[-1] for one in answers) - min(one.asked for one in answers)
    return {"tokens_per_second": len(answers) * new / seconds, "first_ms": quantiles([one.first for one in answers]),
            "gap_ms": quantiles([gap for one in answers for gap in one.gaps])}


def measured(running: Running, server: Server, args: argparse.Namespace, round_: int, expected: dict[int, list[str]],
             ) -> list[dict[str, Any]]:
    """The rows of one server in one round."""
    model = server.model(args.dir)
    together(running.url, bodies(model, [prompt(9000 + i, 60) for i in range(max(args.clients))], 4))  # warm
    rows: list[dict[str, Any]] = []
    for clients in args.clients:
        prompts = prompts_of(round_, clients)
        answers = together(running.url, bodies(model, prompts, NEW))
        agree = [one.text == text for one, text in zip(answers, expected[clients], strict=True)]
        if server.dtype and not all(agree):
            raise SystemExit(f"serve: {agree.count(False)} of {clients} texts are not those of lm.generate")
        rows.append({"work": f"{clients} clients", **row_of(answers, NEW), "agree": sum(agree) / clients})
    if args.beside:
        streams = bodies(model, [prompt(500 + round_ * 10 + i, 60) for i in range(8)], LONG_NEW)
        *answers, late = together(running.url, streams, [(0.5, bodies(model, [prompt(700 + round_, 880)], 8)[0])])
        beside = [b - a for one in answers for a, b in zip(one.times, one.times[1:], strict=False)
                  if late.asked <= b and a <= late.times[0]]
        rows.append({"work": "8 beside 900", **row_of(answers, LONG_NEW), "beside_ms": quantiles(beside or [0.0]),
                     "late_first_ms": 1e3 * late.first})
    memory = running.memory()
    return [{**row, "started": running.started, **memory} for row in rows]


def prompts_of(round_: int, clients: int) -> list[str]:
    return [prompt(1000 * (1 + round_) + clients * 100 + i, 60) for i in range(clients)]


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All rounds of all servers; the rows."""
    rows: list[dict[str, Any]] = []
    for round_ in range(args.rounds):
        expected: dict[str, dict[int, list[str]]] = {}
        for dtype in {SERVERS[name].dtype or "float32" for name in args.servers}:
            expected[dtype] = {}
            for clients in args.clients:
                found = library(args.python["nextword"], args.dir, dtype, args.threads, prompts_of(round_, clients))
                expected[dtype][clients] = found["texts"]
                rows.append({"server": f"library {dtype}", "round": round_, "work": f"{clients} clients",
                             "tokens_per_second": clients * NEW / found["seconds"]})
        for name in args.servers if round_ % 2 == 0 else reversed(args.servers):
            server = SERVERS[name]
            print(f"round {round_ + 1}: {name}", file=sys.stderr, flush=True)
            try:
                with serving(server, args.python[server.python], args.dir, args.threads, args.dir / "log") as running:
                    found = measured(running, server, args, round_, expected[server.dtype or "float32"])
            except (RuntimeError, KeyError) as error:
                print(f"  {name}: {error}", file=sys.stderr)
                continue
            rows += [{"server": name, "round": round_, **row} for row in found]
            time.sleep(1)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Medians over the rounds, as Markdown."""
    lines = ["| server | work | tok/s | first token p50 / p99, ms | gaps p50 / p99 / max, ms | memory, MB | agree |",
             "|---|---|---|---|---|---|---|"]
    keys = dict.fromkeys((row["work"], row["server"]) for row in rows)
    for work, server in sorted(keys, key=lambda key: [*keys].index(key)):
        own = [row for row in rows if (row["work"], row["server"]) == (work, server)]

        def median(*path: str, own: list[dict[str, Any]] = own) -> str:
            found = []
            for row in own:
                value: Any = row
                for key in path:
                    value = value.get(key) if value else None
                found += [] if value is None else [float(value)]
            return f"{statistics.median(found):,.1f}" if found else "-"

        gaps = "beside_ms" if "beside_ms" in own[0] else "gap_ms"
        memory = statistics.median([row.get("most", 0) for row in own]) / 1e6
        lines.append(f"| {server} | {work} | {median('tokens_per_second')} | {median('first_ms', 'p50')} / "
                     f"{median('first_ms', 'p99')} | {median(gaps, 'p50')} / {median(gaps, 'p99')} / "
                     f"{median(gaps, 'max')} | {memory:,.0f} | {median('agree')} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "run"))
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--servers", default="nextword,nextword int8", type=lambda text: text.split(","))
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--clients", default="1,8,64", type=lambda text: [int(x) for x in text.split(",")])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-beside", dest="beside", action="store_false", help="leave out the long prompt")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.python = {"nextword": sys.executable, **dict(one.split("=", 1) for one in args.python)}
    if args.what == "prepare":
        prepare(args)
        return
    rows = run(args)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
