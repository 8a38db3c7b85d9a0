#!/usr/bin/env python
"""Measures the demo model and writes the numbers and samples of its card: README.md in the model's folder.

    python tools/demo_card.py --corpus ../shared/data/stories --curve build/train_demo/curve.csv

What it makes stands in README.md between two comments; the rest of the card is written by hand. Needs no PyTorch.
"""

from __future__ import annotations

import argparse
import csv
import lzma
import re
import time
import zlib
from pathlib import Path

import numpy as np

import nextword
from nextword.files import whole

BEGIN, END = "<!-- begin: tools/demo_card.py -->", "<!-- end: tools/demo_card.py -->"

OPENINGS = [
    "Once upon a time there was a king who had three sons.",
    "In a little house at the edge of the forest there lived an old woman",
    '"Who are you?" asked the fox.',
    "The children ran down to the railway station as fast as they could, for",
    "Long ago, in Japan, there lived a fisherman whose name was",
    "The princess opened the little golden box, and out of it came",
    '"I will give you anything you wish," said the dwarf, "if you',
    "It was a cold winter night, and the little girl",
    "The giant looked at Jack and said,",
    "One morning the cat and the mouse",
    "Es war einmal ein König, der hatte eine Tochter,",
    "In einem kleinen Dorfe lebte ein armer Schneider,",
    '"Wer bist du?" fragte der Wolf.',
    "Als Heidi am Morgen erwachte,",
    "Da sprach die alte Frau zu dem Mädchen:",
    "Der Junge saß auf dem Rücken der Gans und",
    "Es waren einmal zwei Brüder, der eine reich und der andere arm.",
    "Am Abend, als die Kinder im Bett lagen,",
    "Tief im Wald stand ein altes Schloß, darin",
    "Die Mutter stand am Fenster und",
]


# --- what to compare with -----------------------------------------------------------------------------------------


class FiveGram:
    """Bytes foreseen from the four before them: interpolated Kneser-Ney (Chen and Goodman 1998), one discount an order.

    An order is a sorted array of its n-grams, each packed into an integer, with their counts. The orders below the
    fifth count in how many different places an n-gram stands, not how often.
    """

    def __init__(self, texts: list[bytes]) -> None:
        grams = np.concatenate([self.packed(text, 5) for text in texts])
        keys, counts = np.unique(grams, return_counts=True)
        self.orders = []
        for order in range(5, 0, -1):
            ones, twos = (int((counts == n).sum()) for n in (1, 2))
            discount = ones / (ones + 2 * twos) if ones else 0.5
            contexts, first = np.unique(keys >> 8, return_index=True)
            totals = np.add.reduceat(counts, first)
            kinds = np.diff(np.append(first, len(keys)))
            self.orders.append((order, keys, counts, contexts, totals, kinds, discount))
            keys, counts = np.unique(keys & (256 ** (order - 1) - 1), return_counts=True)

    @staticmethod
    def packed(text: bytes, order: int) -> np.ndarray:
        """For each byte of the text, it and the `order - 1` before it as one integer; before the text stand zeros."""
        padded = np.frombuffer(bytes(order - 1) + text, dtype=np.uint8).astype(np.int64)
        return sum(padded[i : len(text) + i] << 8 * (order - 1 - i) for i in range(order))

    def bits_per_byte(self, text: bytes) -> float:
        probability = np.full(len(text), 1 / 256)
        for order, keys, counts, contexts, totals, kinds, discount in reversed(self.orders):
            grams = self.packed(text, order)
            place = np.minimum(np.searchsorted(keys, grams), len(keys) - 1)
            count = np.where(keys[place] == grams, counts[place], 0)
            place = np.minimum(np.searchsorted(contexts, grams >> 8), len(contexts) - 1)
            total, kind = totals[place], kinds[place]
            mixed = (np.maximum(count - discount, 0) + discount * kind * probability) / total
            probability = np.where(contexts[place] == grams >> 8, mixed, probability)
        return float(-np.log2(probability).mean())


def quality(lm: nextword.LanguageModel, corpus: Path) -> list[str]:
    training = [file.read_bytes() for language in ("en", "de") for file in sorted((corpus / language).glob("*.txt"))]
    baseline = FiveGram(training)
    rows = [
        "| held-out book | bytes | `nextword score FILE` | 5-gram of bytes, trained alike | `xz -9` |",
        "|---|---|---|---|---|",
    ]
    for file in sorted((corpus / "valid").glob("*.txt")):
        data = file.read_bytes()
        found = lm.score(data.decode("utf-8")).bits_per_byte
        packed = 8 * len(lzma.compress(data, preset=9)) / len(data)
        rows.append(
            f"| {file.stem} | {len(data):,} | **{found:.3f}** | {baseline.bits_per_byte(data):.3f} | {packed:.3f} |"
        )
    return rows


# --- the other parts ----------------------------------------------------------------------------------------------


def curve(file: Path, rows: int = 24) -> list[str]:
    """About `rows` lines of the loss curve, evenly spaced, and always its last."""
    with file.open(newline="") as handle:
        header, *table = list(csv.reader(handle))
    every = max(1, len(table) // rows)
    kept = [row for number, row in enumerate(table, 1) if number % every == 0 or number == len(table)]
    columns = ["step", "tokens", "learning rate", "training, nats a token", *header[4:]]
    cells = ([f"{int(row[0]):,}", f"{int(row[1]):,}", f"{float(row[2]):.1e}", *row[3:]] for row in kept)
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *(f"| {' | '.join(c)} |" for c in cells)]


def size(folder: Path) -> list[str]:
    files = [folder / name for name in ("config.json", "model.safetensors", "vocab.json", "merges.txt")]
    raw = {file.name: file.read_bytes() for file in files}
    deflated = {name: len(zlib.compress(data, 6)) for name, data in raw.items()}
    rows = [f"| {name} | {len(data):,} | {deflated[name]:,} |" for name, data in raw.items()]
    total = f"| together | {sum(map(len, raw.values())):,} | {sum(deflated.values()):,} |"
    return ["| file | bytes | deflated, as in a wheel |", "|---|---|---|", *rows, total]


def longest_copy(text: str, corpus: str) -> int:
    """Words of the longest run in `text` that stands in `corpus` too, both with single spaces."""
    words, best = text.split(), 0
    for start in range(len(words)):
        while start + best < len(words) and f" {' '.join(words[start : start + best + 1])} " in corpus:
            best += 1
    return best


def samples(lm: nextword.LanguageModel, corpus: Path) -> list[str]:
    books = " ".join(f.read_text(encoding="utf-8") for f in sorted(corpus.glob("*/*.txt")) if f.parent.name != "valid")
    known = f" {' '.join(books.split())} "
    lines = []
    for seed, opening in enumerate(OPENINGS, 1):
        out = lm.generate(opening, max_new_tokens=120, temperature=0.8, top_p=0.95, seed=seed)
        text = opening + out.text
        lines += [f"{seed}. **{opening}**{out.text}".rstrip().replace("\n\n", "\n\n   "), ""]
        lines += [f"   (longest run of words that also stands in the training text: {longest_copy(text, known)})", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--model", type=Path, default=Path(nextword.__file__).parent / "demo", help="the model's folder"
    )
    parser.add_argument(
        "--corpus", type=Path, default=Path("../shared/data/stories"), help="folder with en, de and valid"
    )
    parser.add_argument("--curve", type=Path, default=Path("build/train_demo/curve.csv"), help="what training left")
    args = parser.parse_args()
    began = time.monotonic()
    lm = nextword.load(args.model)
    loaded = 1000 * (time.monotonic() - began)
    sections = {
        "Quality": ["Bits per byte, lower is better:", "", *quality(lm, args.corpus)],
        "Size": [*size(args.model)],
        "Loss curve": ["Bits per byte of the books on one window of sixteen:", "", *curve(args.curve)],
        "Samples": [
            "Unedited: the seed is the number, temperature 0.8, top-p 0.95, up to 120 tokens, the opening in bold.",
            "",
            *samples(lm, args.corpus),
        ],
    }
    made = "\n\n".join(f"## {title}\n\n" + "\n".join(lines).rstrip() for title, lines in sections.items())
    card = args.model / "README.md"
    old = card.read_text(encoding="utf-8") if card.exists() else f"{BEGIN}\n{END}\n"
    new = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{made}\n\n{END}", old, flags=re.DOTALL)
    whole.write("demo_card", {card: new})
    print(f"{card}: loaded in {loaded:.0f} ms, measured in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
