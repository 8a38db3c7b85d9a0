"""`nextword embed`: the vectors of texts, as JSON lines, or in a file of JSON lines, CSV or NumPy's."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.cli.arguments import place, positive
from nextword.cli.terminal import progress
from nextword.cli.texts import add_encoder, add_texts, given_texts, load_encoder, noting
from nextword.cli.user_text import said

if TYPE_CHECKING:
    from nextword.arithmetic.arrays import Floats
    from nextword.tasks.text_encoder import TextEncoder

    Piece = tuple[list[str], Floats]
    Progress = Callable[[int, int], None]

PIECE = 4096  # texts whose vectors are held at once

HELP = "make vectors of texts, to compare them by meaning"
EXAMPLES = """examples:
  nextword embed --model all-MiniLM-L6-v2 "A man is eating food."
  nextword embed --model all-MiniLM-L6-v2 --file texts.txt --out vectors.npy"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword embed` takes."""
    add_encoder(parser, "the encoder of sentence vectors")
    add_texts(parser, several="the texts")
    parser.add_argument("--prompt", metavar="NAME|TEXT", type=said,
                        help="put this before each text: a prompt that the model's files name, or a text")
    parser.add_argument("--max-length", type=positive, metavar="N",
                        help="cut texts at N tokens (what the model's files say)")
    parser.add_argument("--out", metavar="FILE", type=place,
                        help="write a file instead: .npy for float32 [texts, width], .jsonl or .csv with the texts")


def run(args: argparse.Namespace) -> int:
    """Print or write the vectors; returns the exit code. Raises ValueError and OSError for the user to read."""
    from nextword.files import whole

    kind = Path(args.out).suffix.lower() if args.out else ".jsonl"
    if kind not in (".npy", ".jsonl", ".csv"):
        raise ValueError(f"--out must end in .npy, .jsonl or .csv, got {args.out!r}")
    texts, encoder = given_texts(args), load_encoder(args)
    with progress("embedding") as tell, noting():
        pieces = _pieces(encoder, texts, args, tell)
        if args.out is None:
            for some, vectors in pieces:
                print(_lines(some, vectors), end="")
        else:
            write = {".npy": _write_npy, ".csv": _write_csv, ".jsonl": _write_lines}[kind]
            whole.write("embed", {Path(args.out): lambda path: write(path, (len(texts), encoder.width), pieces)})
    if args.out is not None:
        print(f"{args.out}: {len(texts):,} vectors of {encoder.width} numbers")
    return 0


def _pieces(encoder: TextEncoder, texts: list[str], args: argparse.Namespace, tell: Progress) -> Iterator[Piece]:
    """Some texts and their vectors at a time, so that memory stays the same however many there are."""
    for begin in range(0, len(texts), PIECE):
        some = texts[begin : begin + PIECE]
        yield some, encoder.embed(some, args.prompt, max_length=args.max_length)
        tell(begin + len(some), len(texts))


def _lines(texts: list[str], vectors: Floats) -> str:
    return "".join(json.dumps({"text": text, "embedding": [float(str(x)) for x in row]}) + "\n"
                   for text, row in zip(texts, vectors, strict=True))


def _write_lines(path: Path, shape: tuple[int, int], pieces: Iterable[Piece]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for texts, vectors in pieces:
            file.write(_lines(texts, vectors))


def _write_csv(path: Path, shape: tuple[int, int], pieces: Iterable[Piece]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file)
        write.writerow(["text", *range(shape[1])])
        for texts, vectors in pieces:
            write.writerows([text, *map(str, row)] for text, row in zip(texts, vectors, strict=True))


def _write_npy(path: Path, shape: tuple[int, int], pieces: Iterable[Piece]) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for _, vectors in pieces:
            file.write(vectors.astype("<f4", copy=False).tobytes())
