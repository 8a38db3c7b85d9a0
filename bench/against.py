"""GPT-2 124M, or a Llama, on the CPU: nextword against other engines, same weights, checked first, then timed in turns.

  python bench/against.py prepare --dir DIR     environments, random weights and every engine's own format, under DIR
  python bench/against.py run --dir DIR         checks, times, writes bench/results/
See bench/README.md for what is measured and how.
"""

import argparse
import importlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from peers import limits, machine, report, rounds, shape
from peers.registry import CLASSES, PEERS, VARIANTS, WORKS, Peer, prompts

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent


def python_of(folder: Path, name: str) -> Path:
    return folder / "venvs" / name / "bin" / "python"


def data_of(options: argparse.Namespace) -> Path:
    """The weights of the shape."""
    found: Path = options.dir / ("data" if options.shape == "gpt2" else f"data-{options.shape}")
    return found


def converted_mark(data: Path, name: str, precision: str) -> Path:
    """Its presence says that the peer's format of this precision is complete."""
    return data / "converted" / f"{name}-{precision}"


def selection(text: str, known: Any, what: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"against: unknown {what} {name!r}; known are {', '.join(known)}")
    return names


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def install(folder: Path, name: str, peer: Peer, source: Path) -> None:
    """A virtual environment of its own. The engine of this repository is built and converts anew each time."""
    python, mark = python_of(folder, name), folder / "venvs" / name / "installed"
    if mark.exists() and not peer.ours:
        return
    say(f"installing {name}")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
    for arguments in peer.packages:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments],
                       cwd=source, env=os.environ | dict(peer.build), check=True)
    mark.write_text(commit_of(source) if peer.ours else "")


def worker_run(python: Path, script: str, *arguments: str, text: str | None = None) -> str:
    result = subprocess.run([python, BENCH / "peers" / script, *arguments], input=text, check=True, text=True,
                            stdout=subprocess.PIPE)
    return result.stdout


def prepare(options: argparse.Namespace) -> None:
    folder, data = options.dir, data_of(options)
    failed = []
    names = [name for name in selection(options.peers, PEERS, "peer") if shape.SHAPE.kind in PEERS[name].kinds]
    for name in dict.fromkeys(["numpy", *names]):  # the weights and the reference are NumPy's
        try:
            install(folder, name, PEERS[name], options.source)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: {error}")
    if not (data / "reference.json").exists():
        say("writing the weights and the reference's greedy ids")
        data.mkdir(parents=True, exist_ok=True)
        worker_run(python_of(folder, "numpy"), "weights.py", str(data))
        write_reference(python_of(folder, "numpy"), data)
    for class_name in selection(options.classes, CLASSES, "class"):
        for name in names:
            for precision in PEERS[name].precisions.get(class_name, ()):
                mark = converted_mark(data, name, precision)
                python = python_of(folder, name)
                made = mark.exists() and not PEERS[name].ours
                if made or not python.exists() or not PEERS[name].converts:
                    continue
                say(f"converting the weights for {name} {precision}")
                mark.parent.mkdir(exist_ok=True)
                try:
                    worker_run(python, "worker.py", PEERS[name].script, precision, "convert", str(data))
                    mark.touch()
                except subprocess.CalledProcessError as error:
                    failed.append(f"{name} {precision}: {error}")
    if failed:
        raise SystemExit("against: not prepared, `run` will skip them:\n  " + "\n  ".join(failed))


def write_reference(python: Path, data: Path) -> None:
    questions = [(name, prompts(work, variant), min(work.new, rounds.CHECKED))
                 for name, work in WORKS.items() for variant in range(VARIANTS)]
    text = json.dumps([question[1:] for question in questions])
    answers = json.loads(worker_run(python, "numpy_.py", str(data), text=text))
    reference: dict[str, Any] = {}
    for (name, *_), ids in zip(questions, answers, strict=True):
        reference.setdefault(name, []).append(ids)
    (data / "reference.json").write_text(json.dumps(reference))


def commit_of(source: Path) -> str:
    def git(*arguments: str) -> str:
        result = subprocess.run(["git", "-C", source, *arguments], capture_output=True, text=True, check=False)
        return result.stdout.strip()

    commit = git("rev-parse", "--short=10", "HEAD") or "unknown"
    return f"{commit} with changes" if git("status", "--short", "--untracked-files=no") else commit


def entries_of(options: argparse.Namespace, class_name: str, skipped: dict[str, str]) -> list[rounds.Entry]:
    """`--peers` may name a peer several times as name:suffix, each with its own `--python name:suffix=PATH`."""
    pythons = dict(pair.split("=", 1) for pair in options.python)
    entries = []
    for label in options.peers.split(","):
        name = label.split(":")[0]
        selection(name, PEERS, "peer")
        python = Path(pythons[label]) if label in pythons else python_of(options.dir, name)
        precisions = PEERS[name].precisions.get(class_name, ())
        if shape.SHAPE.kind not in PEERS[name].kinds:
            skipped[label] = f"its module knows no {shape.SHAPE.kind}"
            continue
        if label not in pythons and not (options.dir / "venvs" / name / "installed").exists():
            skipped[label] = "not installed"
            continue
        for precision in precisions:
            title = label if len(precisions) == 1 else f"{label} {precision}"
            if not PEERS[name].converts or converted_mark(data_of(options), name, precision).exists():
                entries.append(rounds.Entry(title, PEERS[name], precision, python))
            else:
                skipped[title] = f"its {precision} weights are not prepared"
    return entries


def run(options: argparse.Namespace) -> None:
    names = selection(options.work, WORKS, "work")
    warm, new_process = ([n for n in names if (WORKS[n].kind == "fresh") == fresh] for fresh in (False, True))
    reference = data_of(options) / "reference.json"
    if not reference.exists():
        raise SystemExit(f"against: {reference} is missing; run `prepare --dir {options.dir}` first")
    log = options.dir / "log"
    log.mkdir(exist_ok=True)
    setting = rounds.Setting(data_of(options), log, options.lock, options.patience,
                             json.loads(reference.read_text()))
    program = limits.build(options.dir)
    rows: list[rounds.Row] = []
    skipped: dict[str, str] = {}
    try:
        for class_name in selection(options.classes, CLASSES, "class"):
            entries = entries_of(options, class_name, skipped)
            for threads, process in product(map(int, options.threads.split(",")), range(options.processes)):
                if warm:
                    collect(rows, rounds.session(class_name, entries, warm, threads, options.rounds, process,
                                                 program, setting))
            for threads, process in product(map(int, options.threads.split(",")), range(options.rounds)):
                if new_process:
                    collect(rows, rounds.fresh(class_name, entries, new_process, threads, process, program, setting))
    except KeyboardInterrupt:
        say("against: stopped; what is there is reported")
    versions = {row["label"].split()[0]: row["versions"] for row in rows if "versions" in row}
    built = options.dir / "venvs" / "nextword" / "installed"
    if "nextword" in versions and built.exists():
        versions["nextword"]["built from"] = built.read_text()
    result = {
        "shape": shape.SHAPE.title, "date": time.strftime("%Y-%m-%d"), "commit": commit_of(ROOT),
        "machine": machine.describe(),
        "command": shlex.join(["python", "bench/against.py", *hide(options, sys.argv[1:])]),
        "versions": versions, "skipped": skipped, "summary": report.summarise(rows), "rows": rows,
    }
    page = report.markdown(result)
    print(page)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_name(options.out.name + ".json").write_text(json.dumps(result, indent=1) + "\n")
        options.out.with_name(options.out.name + ".md").write_text(page)
        say(f"written: {options.out}.json and {options.out}.md")


def collect(rows: list[rounds.Row], more: Iterable[rounds.Row]) -> None:
    for row in more:
        if row["kind"] == "failed":
            say(f"failed: {row['label']}: {row['error']}")
        rows.append(row)


def hide(options: argparse.Namespace, arguments: list[str]) -> list[str]:
    """The command without this machine's folders."""
    names = {str(options.dir): "DIR", str(options.lock): "LOCK", str(options.out): "OUT"}
    names |= {pair: f"{pair.split('=')[0]}=PYTHON" for pair in options.python}
    return [names.get(argument, argument) for argument in arguments]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dir", type=Path, required=True, help="folder of environments and weights, outside the tree")
    common.add_argument("--shape", choices=shape.SHAPES, default="gpt2", help="default: gpt2")
    common.add_argument("--peers", default=",".join(PEERS), help="default: all")
    common.add_argument("--classes", default="fp32", help=f"of {', '.join(CLASSES)}; default: fp32")
    command = commands.add_parser("prepare", parents=[common], help="make what `run` needs")
    command.add_argument("--source", type=Path, default=ROOT, help="the checkout of nextword to build; default: this")
    command.set_defaults(action=prepare)
    command = commands.add_parser("run", parents=[common], help="check and time")
    command.add_argument("--work", default=",".join(WORKS), help=f"of {', '.join(WORKS)}; default: all")
    command.add_argument("--threads", default="2,1", help="default: 2,1")
    command.add_argument("--rounds", type=int, default=5, help="per process; start and memory: fresh processes")
    command.add_argument("--processes", type=int, default=3, help="of each peer, one after the other; default: 3")
    command.add_argument("--lock", type=Path, help="file to lock while timing, as flock(1) does")
    command.add_argument("--patience", type=float, default=60, help="seconds to wait for an idle machine; default: 60")
    command.add_argument("--python", action="append", default=[], metavar="LABEL=PATH",
                         help="another interpreter for a peer, or for a second build of it: nextword:old=PATH")
    command.add_argument("--out", type=Path, help="results without suffix; default: bench/results/against-DATE-COMMIT")
    command.add_argument("--no-out", action="store_true", help="print the page, write nothing")
    command.set_defaults(action=run)
    options = parser.parse_args()
    options.dir = options.dir.resolve()
    os.environ[shape.VARIABLE] = options.shape  # for the workers, too
    importlib.reload(shape)
    if options.action is run:
        of = "" if options.shape == "gpt2" else f"{options.shape}-"
        name = f"against-{of}{time.strftime('%Y-%m-%d')}-{commit_of(ROOT).split()[0]}"
        options.out = None if options.no_out else options.out or BENCH / "results" / name
    else:
        options.source = options.source.resolve()
    return options


if __name__ == "__main__":
    chosen = parse()
    chosen.action(chosen)
