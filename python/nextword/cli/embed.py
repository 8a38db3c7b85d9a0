"""`nextword embed`: the vectors of texts, as JSON lines, or in a file of JSON lines, CSV or NumPy's."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

from nextword.cli.arguments import place, positive
from nextword.cli.terminal import progress
from nextword.cli.texts import add_encoder, add_texts, given_texts, load_encoder, noting
from nextword.cli.user_text import said

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
        vectors = encoder.embed(texts, args.prompt, max_length=args.max_length, progress=tell)
    if args.out is None:
        print(_lines(texts, vectors), end="")
        return 0
    whole.write("embed", {Path(args.out): _npy(vectors) if kind == ".npy" else
                          _csv(texts, vectors) if kind == ".csv" else _lines(texts, vectors)})
    print(f"{args.out}: {len(texts):,} vectors of {vectors.shape[1]} numbers")
    return 0


def _lines(texts: list[str], vectors: Any) -> str:
    return "".join(json.dumps({"text": text, "embedding": [float(str(x)) for x in row]}) + "\n"
                   for text, row in zip(texts, vectors, strict=True))


def _csv(texts: list[str], vectors: Any) -> str:
    out = io.StringIO()
    write = csv.writer(out)
    write.writerow(["text", *range(vectors.shape[1])])
    write.writerows([text, *map(str, row)] for text, row in zip(texts, vectors, strict=True))
    return out.getvalue()


def _npy(vectors: Any) -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.save(out, vectors)
    return out.getvalue()
