"""Encoders on the CPU: nextword against other engines, texts in, vectors out; checked first, then timed in turns.

  python bench/encoders.py prepare --dir DIR     environments, random weights, every engine's own format, under DIR
  python bench/encoders.py tune --dir DIR        the batch that suits each engine that pads; else it is 16
  python bench/encoders.py run --dir DIR         checks, times, writes bench/results/encoders-DATE-COMMIT
See bench/README.md for what is measured and how; encoder_peers/registry.py holds shapes, cells and engines.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from encoder_peers import report
from encoder_peers.registry import BATCHES, CELLS, CLASSES, PEERS, SHAPES
from encoder_peers.rounds import (
    WORKER,
    Row,
    Worker,
    batches_of,
    converted,
    prepared,
    python_of,
    say,
    selection,
    session,
    starts,
)
from peers import limits, machine
from peers.rounds import PeerError

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
VOCABULARY = ROOT.parent / "shared" / "data" / "other_tokenizers" / "bert-base-uncased" / "vocab.txt"


def install(options: argparse.Namespace, name: str) -> None:
    """A virtual environment of its own; nextword is built anew each time."""
    peer, python = PEERS[name], python_of(options.dir, name)
    mark = options.dir / "venvs" / name / "installed"
    ours = name == "nextword"
    if mark.exists() and not ours:
        return
    say(f"installing {name}")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
    for arguments in peer.packages:
        if options.torch_from and arguments[0].startswith("torch"):
            (site,) = python.parent.parent.glob("lib/python*/site-packages")
            (site / "torch.pth").write_text(f"{options.torch_from.resolve()}\n")
            continue
        subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], cwd=ROOT, check=True)
    mark.write_text(commit() if ours else "")


def prepare(options: argparse.Namespace) -> None:
    names = selection(options.peers, PEERS, "peer")
    failed = []
    for name in dict.fromkeys(["sentence-transformers", *names]):  # the reference is of sentence-transformers
        try:
            install(options, name)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: {error}")
    for shape in selection(options.shapes, SHAPES, "shape"):
        data = options.dir / shape
        (data / "converted").mkdir(parents=True, exist_ok=True)
        if not (data / "about.json").exists():
            say(f"writing {shape}: weights, texts and vectors of reference")
            python = python_of(options.dir, "sentence-transformers")
            subprocess.run([python, WORKER.parent / "folder.py", shape, data, options.vocabulary], check=True)
        for name, (class_name, precision) in ((n, item) for n in names for item in PEERS[n].precisions.items()):
            mark, python = converted(data, name, class_name), python_of(options.dir, name)
            if (mark.exists() and name != "nextword") or not python.exists():
                continue
            say(f"converting {shape} for {name} {class_name}")
            command = [python, WORKER, PEERS[name].script, precision, "convert", data]
            if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
                failed.append(f"{shape} {name} {class_name}: not converted")
                mark.unlink(missing_ok=True)
            else:
                mark.touch()
    if failed:
        raise SystemExit("encoders: not prepared, `run` will skip them:\n  " + "\n  ".join(failed))


def commit() -> str:
    def git(*arguments: str) -> str:
        result = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
        return result.stdout.strip()

    found = git("rev-parse", "--short=10", "HEAD") or "unknown"
    return f"{found} with changes" if git("status", "--short", "--untracked-files=no") else found


def tune(options: argparse.Namespace) -> None:
    """Each engine that pads, two threads: the batch that embeds a quarter of the texts, of like length, the fastest."""
    found = batches_of(options)
    for shape, class_name in product(selection(options.shapes, SHAPES, "shape"), CLASSES):
        for name in prepared(options, shape, class_name):
            if not PEERS[name].padded:
                continue
            best = {}
            try:
                with Worker(options, shape, name, class_name, 2) as worker:
                    worker.reply()
                    for cell in ("mixed", "short"):
                        worker.embed(cell, batch=BATCHES[0], part=16)
                        calls = {batch: min(worker.embed(cell, batch=batch, part=4)["seconds"] for _ in range(2))
                                 for batch in BATCHES}
                        best[cell] = min(calls, key=lambda batch: calls[batch])
            except PeerError as error:
                say(f"failed: {shape} {name} {class_name}: {error}")
                continue
            say(f"{shape} {name} {class_name}: {best}")
            found[f"{shape} {name} {class_name}"] = best
    (options.dir / "batches.json").write_text(json.dumps(found, indent=1) + "\n")


def run(options: argparse.Namespace) -> None:
    shapes, classes = selection(options.shapes, SHAPES, "shape"), selection(options.classes, CLASSES, "class")
    options.cells = selection(options.cell, CELLS, "cell")
    threads = [int(count) for count in options.threads.split(",")]
    program = limits.build(options.dir)
    rows: list[Row] = []
    start = time.perf_counter()
    try:
        for shape, count, class_name in product(shapes, threads, classes):
            if any(cell != "start" for cell in options.cells):
                collect(rows, session(options, shape, class_name, count, program))
            if "start" in options.cells and count == max(threads):
                collect(rows, starts(options, shape, class_name, count, program))
    except KeyboardInterrupt:
        say("encoders: stopped; what is there is reported")
    hidden = {str(options.dir): "DIR", str(options.lock): "LOCK", str(options.out): "OUT"}
    arguments = [hidden.get(argument, argument) for argument in sys.argv[1:]]
    skipped = sorted({f"{name} {class_name} of {shape}: not prepared"
                      for shape, class_name, name in product(shapes, classes, selection(options.peers, PEERS, "peer"))
                      if class_name in PEERS[name].precisions and name not in prepared(options, shape, class_name)})
    result = {"date": time.strftime("%Y-%m-%d"), "commit": commit(), "machine": machine.describe(),
              "command": shlex.join(["python", "bench/encoders.py", *arguments]), "skipped": skipped,
              "minutes": round((time.perf_counter() - start) / 60, 1), "rows": rows,
              "others": {shape: json.loads((options.dir / shape / "about.json").read_text())["others"]
                         for shape in shapes}}
    page = report.markdown(result)
    print(page)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_name(options.out.name + ".json").write_text(json.dumps(result, indent=1) + "\n")
        options.out.with_name(options.out.name + ".md").write_text(page)
        say(f"written: {options.out}.json and {options.out}.md")


def collect(rows: list[Row], more: Iterator[Row]) -> None:
    for row in more:
        if row["kind"] == "failed":
            say(f"failed: {row['shape']} {row['label']} {row['class']}: {row['error']}")
        rows.append(row)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dir", type=Path, required=True, help="folder of environments and weights, outside the tree")
    common.add_argument("--shapes", default=",".join(SHAPES), help="default: all")
    common.add_argument("--peers", default=",".join(PEERS), help="default: all")
    command = commands.add_parser("prepare", parents=[common], help="make what `run` needs")
    command.add_argument("--vocabulary", type=Path, default=VOCABULARY, help="the vocab.txt of bert-base-uncased")
    command.add_argument("--torch-from", type=Path, help="a site-packages that has torch, instead of another copy")
    command.set_defaults(action=prepare)
    command = commands.add_parser("tune", parents=[common], help="find each engine's batch")
    command.set_defaults(action=tune)
    command = commands.add_parser("run", parents=[common], help="check and time")
    command.add_argument("--classes", default=",".join(CLASSES), help="default: all")
    command.add_argument("--cell", default=",".join(CELLS), help=f"of {', '.join(CELLS)}; default: all")
    command.add_argument("--threads", default="2,1", help="default: 2,1; starts are those of the most")
    command.add_argument("--rounds", type=int, default=5, help="default: 5, and as many starts at least")
    command.add_argument("--quick", action="store_true", help="MiniLM-L6 alone, two threads, three rounds")
    command.add_argument("--lock", type=Path, help="file to lock while timing, as flock(1) does")
    command.add_argument("--patience", type=float, default=60, help="seconds to wait for an idle machine; default: 60")
    command.add_argument("--out", type=Path, help="results without suffix; default: bench/results/encoders-DATE-COMMIT")
    command.add_argument("--no-out", action="store_true", help="print the page, write nothing")
    command.set_defaults(action=run)
    options = parser.parse_args()
    options.dir = options.dir.resolve()
    if options.action is run:
        if options.quick:
            options.shapes, options.threads, options.rounds = "minilm-l6", "2", 3
        name = f"encoders-{time.strftime('%Y-%m-%d')}-{commit().split()[0]}"
        options.out = None if options.no_out else options.out or BENCH / "results" / name
    return options


if __name__ == "__main__":
    chosen = parse()
    chosen.action(chosen)
