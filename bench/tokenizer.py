"""The tokenizer against public ones in the same run: GPT-2's vocabulary, rounds interleaved, medians.

Run: python bench/tokenizer.py [--rounds 5] [--only english,short,...] [--threads 2] [--out FILE.json]
Needs ../shared/data; peers: pip install tiktoken fastokens gigatoken wordchipper rustbpe tokenizers, those there are;
`pieces` needs sentencepiece and tokenizers, `words` (WordPiece) tokenizers.

Before anything is timed the ids are compared with tiktoken's. Unseen: the tokenizer has encoded other text of the same
kind. Repeat: the same text again. Cold: the first call of a fresh process. Rates are MB of UTF-8 per second.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
BYTES = 8_000_000  # of each text that is timed, where there is so much
SENTENCE = "The quick brown fox jumps over the lazy dog, doesn't it?"


def read(*patterns):
    files = [file for pattern in patterns for file in sorted(DATA.glob(pattern))]
    return "".join(file.read_text("utf-8") for file in files)


def corpora(name):
    """(text to warm up with, text to time) of one kind; no part of one is in the other."""
    if name == "code":
        library = Path(sysconfig.get_path("stdlib"))
        files = sorted(library.glob("*.py")) + sorted(library.glob("*/*.py"))
        text = "".join(file.read_text("utf-8", "ignore") for file in files if "site-packages" not in file.parts)
        text = text.replace("<|", "< |")  # some peers take names of special tokens in text for the tokens
    else:
        text = {
            "english": lambda: read("stories/en/*.txt", "corpora/english/*.txt", "corpora/tinyshakespeare.txt"),
            "german": lambda: read("stories/de/*.txt", "corpora/german/*"),
            "cjk": lambda: read("corpora/multilingual/japanese_rust_book.md"),
        }[name]()
    half = len(text) // 2
    warm, timed = text[:half], text[half:]
    return warm[:BYTES], timed[:BYTES]


def seconds(work):
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    result = work()
    spent = time.perf_counter() - start
    gc.enable()
    del result
    return spent


def interleaved(works, rounds):
    """Median seconds of each of {name: work}, one after the other in each round."""
    spent = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            spent[name].append(seconds(work))
    return {name: statistics.median(times) for name, times in spent.items()}


class Run:
    def __init__(self, args):
        sys.path.insert(0, str(HERE))
        import tokenizer_peers

        self.args, self.rows = args, []
        self.peers, self.trainers = {}, tokenizer_peers.TRAINERS
        for name, peer in tokenizer_peers.PEERS.items():
            try:
                peer(DATA)
                self.peers[name] = peer
            except ImportError as error:
                print(f"left out: {name} ({error})", file=sys.stderr)

    def report(self, work, values, unit, better=max):
        """One row: the value of each peer, and ours over the best of the others."""
        others = {name: value for name, value in values.items() if name != "nextword"}
        ratio = None
        if others and "nextword" in values:
            best = better(others.values())
            ratio = values["nextword"] / best if better is max else best / values["nextword"]
        self.rows.append({"work": work, "unit": unit, "values": values, "times_best_peer": ratio})
        cells = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(f"{work:34s} [{unit}]  {cells}" + (f"   x{ratio:.2f}" if ratio else ""), flush=True)

    def make(self):
        return {name: peer(DATA) for name, peer in self.peers.items()}

    def text(self, name):
        warm, timed = corpora(name)
        size = len(timed.encode()) / 1e6
        expected = self.peers["tiktoken"](DATA).list(timed) if "tiktoken" in self.peers else None
        for peer, it in self.make().items():
            if expected is not None and list(it.list(timed)) != expected:
                raise SystemExit(f"{peer} gives other ids than tiktoken on {name}")
        lists, arrays, repeat_lists, repeat_arrays = {}, {}, {}, {}
        for _ in range(self.args.rounds):
            for peer, make in self.peers.items():
                it = make(DATA)
                it.list(warm)
                lists.setdefault(peer, []).append(seconds(lambda it=it: it.list(timed)))
                repeat_lists.setdefault(peer, []).append(seconds(lambda it=it: it.list(timed)))
                if it.array:
                    it = make(DATA)
                    it.array(warm)
                    arrays.setdefault(peer, []).append(seconds(lambda it=it: it.array(timed)))
                    repeat_arrays.setdefault(peer, []).append(seconds(lambda it=it: it.array(timed)))
        for kind, spent in (("list, unseen", lists), ("list, repeat", repeat_lists), ("array, unseen", arrays),
                            ("array, repeat", repeat_arrays)):  # fmt: skip
            self.report(f"{name}, {kind}", {p: size / statistics.median(t) for p, t in spent.items()}, "MB/s")
        self.cold(name, size)

    def cold(self, name, size):
        spent = {peer: [] for peer in self.peers}
        for _ in range(self.args.rounds):
            for peer in self.peers:
                spent[peer].append(self.worker("cold", peer, name))
        self.report(f"{name}, list, cold", {p: size / statistics.median(t) for p, t in spent.items()}, "MB/s")

    def worker(self, *arguments):
        command = [sys.executable, __file__, "--worker", *arguments]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def short(self):
        warm, timed = corpora("english")
        texts = [timed[i : i + 200] for i in range(0, 2_000_000, 200)]
        size = sum(len(text.encode()) for text in texts) / 1e6
        its = self.make()
        for it in its.values():
            it.list(warm)
            it.list(timed)
        works = {name: lambda it=it: [it.list(text) for text in texts] for name, it in its.items()}
        spent = interleaved(works, self.args.rounds)
        self.report("10,000 texts of 200 bytes, lists", {name: size / s for name, s in spent.items()}, "MB/s")
        for text in ("Hello world", SENTENCE):

            def calls(encode, text=text):
                for _ in range(20_000):
                    encode(text)

            spent = interleaved({name: lambda it=it: calls(it.list) for name, it in its.items()}, self.args.rounds)
            label = f"one call of {len(text)} bytes, list"
            self.report(label, {name: s / 20_000 * 1e6 for name, s in spent.items()}, "us", min)

    def decode(self):
        its = self.make()
        ids = list(its["nextword"].list(corpora("english")[1]))[:1_000_000]
        text = its["nextword"].decode(ids)
        assert all(it.decode(ids) == text for it in its.values())
        spent = interleaved({name: lambda it=it: it.decode(ids) for name, it in its.items()}, self.args.rounds)
        self.report("decode one million ids", {name: s * 1e3 for name, s in spent.items()}, "ms", min)

    def batch(self):
        timed = corpora("english")[1]
        texts = [timed[i : i + 10_000] for i in range(0, len(timed), 10_000)]
        for threads in sorted({1, self.args.threads}):
            names = list(self.peers)
            spent = {name: [] for name in names}
            for _ in range(self.args.rounds):
                for name in names:
                    spent[name].append(self.worker("batch", name, str(threads)))
            size = len(timed.encode()) / 1e6
            label = f"batch of {len(texts)} texts, {threads} thread{'s'[: threads > 1]}"
            self.report(label, {name: size / statistics.median(t) for name, t in spent.items()}, "MB/s")

    def worst(self):
        for letter, label in (("a", "a"), (" ", "blank"), ("^", "^"), ("中", "one CJK character")):
            for millions in (1, 2, 4, 8):
                text = letter * (millions * 1_000_000 // len(letter.encode()))
                peers = self.peers if millions == 1 else {"nextword": self.peers["nextword"]}
                spent = {}
                for name, make in peers.items():
                    times = []
                    for _ in range(self.args.rounds if name != "tiktoken" else 1):
                        it = make(DATA)
                        it.list("x")
                        times.append(seconds(lambda it=it, text=text: it.list(text)))
                    spent[name] = statistics.median(times)
                size = len(text.encode()) / 1e6
                self.report(f"{label} x {millions} MB, first call", {n: size / s for n, s in spent.items()}, "MB/s")

    def load(self):
        spent = {peer: [] for peer in self.peers}
        for _ in range(self.args.rounds):
            for peer in self.peers:
                spent[peer].append(self.worker("load", peer))
        milliseconds = {p: statistics.median(t) * 1e3 for p, t in spent.items()}
        self.report("load a vocabulary to the first call, after the import", milliseconds, "ms", min)

    def pieces(self):
        import tokenizer_pieces

        for label, works in tokenizer_pieces.encoders(DATA).items():
            for name in ("english", "german", "cjk"):
                texts = [line for line in corpora(name)[1][:4_000_000].split("\n") if line]
                if wrong := tokenizer_pieces.differing(works, texts):
                    raise SystemExit(f"{label}: {len(wrong)} lines of {name} have other ids, the first {wrong[0]!r}")
                size = sum(len(text.encode()) for text in texts) / 1e6
                timed = {peer: lambda work=work, texts=texts: work(texts) for peer, work in works.items()}
                spent = interleaved(timed, self.args.rounds)
                self.report(f"{label}, {name}, lines, lists", {p: size / s for p, s in spent.items()}, "MB/s")

    def words(self):
        import tokenizer_words

        for label, works in tokenizer_words.encoders(DATA).items():
            for name in ("english", "german", "cjk"):
                texts = [line for line in corpora(name)[1][:4_000_000].split("\n") if line]
                if len({json.dumps(work(texts)) for work in works.values()}) != 1:
                    raise SystemExit(f"{label}: not all give the same ids on {name}")
                size = sum(len(text.encode()) for text in texts) / 1e6
                timed = {peer: lambda work=work, texts=texts: work(texts) for peer, work in works.items()}
                spent = interleaved(timed, self.args.rounds)
                self.report(f"{label}, {name}, lines, lists", {p: size / s for p, s in spent.items()}, "MB/s")

    def train(self):
        text = "".join(corpora("english")) + corpora("code")[0][:4_000_000]
        texts = [text[i : i + 10_000] for i in range(0, len(text), 10_000)]
        size = len(text.encode()) / 1e6
        for vocabulary in (8192, 32768):
            values = {}
            for name, train in self.trainers.items():
                try:
                    values[name] = statistics.median(
                        seconds(lambda t=train, n=vocabulary: t(texts, n)) for _ in range(3)
                    )
                except ImportError as error:
                    print(f"left out: {name} ({error})", file=sys.stderr)
            self.report(f"train {vocabulary} tokens on {size:.0f} MB", values, "s", min)


def worker(kind, name, *rest):
    """What needs a fresh process; prints seconds."""
    sys.path.insert(0, str(HERE))
    if kind == "load":
        import tokenizer_peers

        importlib.import_module(tokenizer_peers.PEERS[name].module)  # a process imports once, whatever it loads
        start = time.perf_counter()
        tokenizer_peers.PEERS[name](DATA).list("Hello world, this is a test.")
        print(time.perf_counter() - start)
        return
    if kind == "batch":
        os.environ["RAYON_NUM_THREADS"] = rest[0]
    import tokenizer_peers

    it = tokenizer_peers.PEERS[name](DATA)
    if kind == "cold":
        timed = corpora(rest[0])[1]
        timed.encode()
        it.list("x")
        print(seconds(lambda: it.list(timed)))
    else:
        timed = corpora("english")[1]
        texts = [timed[i : i + 10_000] for i in range(0, len(timed), 10_000)]
        it.batch(texts, int(rest[0]))
        print(statistics.median(seconds(lambda: it.batch(texts, int(rest[0]))) for _ in range(5)))


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="english,german,code,cjk,short,decode,batch,worst,load,train,pieces,words")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not DATA.exists():
        raise SystemExit("bench/tokenizer.py: needs ../shared/data beside the checkout")
    os.environ["RAYON_NUM_THREADS"] = "1"
    run = Run(args)
    for part in args.only.split(","):
        if part in ("english", "german", "code", "cjk"):
            run.text(part)
        else:
            getattr(run, part)()
    if args.out:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE
        ).stdout
        machine = {"processor": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()}
        from nextword.files import whole

        found = {"machine": machine, "commit": commit.strip(), "rows": run.rows}
        whole.write("bench", {args.out: json.dumps(found, indent=1) + "\n"})


def cpu_name():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
