"""What the commands of encoders share: the texts that they are given, as words or in a file, and the encoder."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextword.arithmetic.formats import DTYPES
from nextword.cli.arguments import place, thread_count
from nextword.cli.terminal import progress
from nextword.cli.user_text import file_text, from_argument, stdin_text

if TYPE_CHECKING:
    from nextword.tasks.text_encoder import TextEncoder

WAY = "a Hugging Face folder, such as all-MiniLM-L6-v2, which `python tools/real_models.py minilm` fetches"


def add_encoder(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --model, --dtype and --threads. what: the encoder that is wanted."""
    parser.add_argument("--model", metavar="PATH_OR_ID", type=place,
                        help=f"{what}: a folder, or a hub id")
    parser.add_argument("--dtype", choices=DTYPES, help="hold the weights so (as they are stored, or float32)")
    parser.add_argument("--threads", type=thread_count, metavar="N", help="use N threads (see `nextword doctor`)")


def load_encoder(args: argparse.Namespace) -> TextEncoder:
    """The encoder that is asked for. Raises ValueError that says where to get one if none is."""
    import nextword

    if args.model is None:
        raise ValueError(f"no encoder; give --model {WAY}")
    with progress(f"loading {args.model}"):
        return nextword.load(args.model, args.dtype, args.threads, task="encode")


def add_texts(parser: argparse.ArgumentParser, *, several: str) -> None:
    """Add the texts, --file and --field. several: what they are."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help=f"{several}, each in quotes")
    parser.add_argument("--file", metavar="FILE", type=place,
                        help="take them from a file: lines, objects of a .jsonl, rows of a .csv with names in its "
                             "first; - reads lines of stdin")
    parser.add_argument("--field", metavar="NAME", type=place, default="text",
                        help="of objects and rows take the field of this name (text)")


@contextlib.contextmanager
def noting() -> Iterator[None]:
    """Say on stderr what the library warns of, such as texts that were cut."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for one in found:
        print(f"nextword: {one.message}", file=sys.stderr)


def given_texts(args: argparse.Namespace) -> list[str]:
    """The texts. Raises ValueError or OSError where there are none, or where they cannot be read."""
    texts = [from_argument(one) for one in args.texts]
    if args.file == "-":
        texts += [line for line in (stdin_text(asked=True) or "").splitlines() if line.strip()]
    elif args.file is not None:
        try:
            texts += read_texts(Path(args.file), args.field)
        except OSError as error:
            raise ValueError(f"--file {args.file} cannot be read: {error.strerror or error}") from None
    if not texts:
        raise ValueError("no texts; give some in quotes, or a --file of them")
    return texts


def read_texts(path: Path, field: str = "text") -> list[str]:
    """The texts of a file: of .jsonl and .csv the field of each object or row, else its lines that are not empty.

    Raises ValueError that names the line where one has no such text.
    """
    whole, kind = file_text(path), path.suffix.lower()
    if kind == ".csv":
        rows = csv.DictReader(io.StringIO(whole))
        return [_field(row, field, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    lines = [(number, line) for number, line in enumerate(whole.splitlines(), 1) if line.strip()]
    return [_object(line, field, f"{path}, line {number}") if kind == ".jsonl" else line for number, line in lines]


def _object(line: str, field: str, where: str) -> str:
    try:
        return _field(json.loads(line), field, where)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError(f"--file: {where} is no JSON; a .jsonl holds one object in each line") from None


def _field(row: Any, field: str, where: str) -> str:
    found = row.get(field) if isinstance(row, dict) else row if isinstance(row, str) else None
    if not isinstance(found, str):
        raise ValueError(f"--file: {where} has no text {field!r}; name its field with --field")
    return found
