"""`nextword score`: perplexity and bits per byte of a file or a text, and its tokens coloured by surprise."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.cli.arguments import add_model, add_special, allowed_special, count, load, written_ids
from nextword.cli.terminal import coloured, print_json, printable, progress, style
from nextword.cli.user_text import file_text, from_argument, stdin_text

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel
    from nextword.tasks.score import Score

HELP = "say how well the model foresees a text: perplexity and bits per byte"
EXAMPLES = """examples:
  nextword score story.txt
  nextword score --tokens "The cat sat on the mat.\""""

# Surprise in bits below which a token has this colour: 1 bit is a coin that fell, 12 bits one of 4,096.
_COLOURS = ((2.0, "30;42"), (5.0, "30;46"), (8.0, "30;43"), (12.0, "30;45"), (math.inf, "30;41"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword score` takes."""
    add_model(parser)
    parser.add_argument("text", nargs="*", metavar="FILE|TEXT",
                        help="a file in UTF-8, or the text; - reads stdin, as no text does where stdin is no terminal; "
                             "file and stdin count to their last byte")
    add_special(parser, "the text")
    parser.add_argument("--text", action="store_true", dest="literally", help="FILE|TEXT is a text, also if so named")
    parser.add_argument("--window", type=count, metavar="N", help="let the model see N tokens at once (all it can)")
    parser.add_argument(
        "--stride",
        type=count,
        metavar="N",
        help="move the window on by N tokens: fewer give each token more context and take longer (half a window)",
    )
    parser.add_argument("--tokens", action="store_true", help="show each token with its surprise in bits")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what the arguments ask for; returns the exit code. Raises ValueError and OSError for the user to read."""
    text = given(args.text, args.literally)
    lm = load(args)
    whole = written_ids(text, "the text", lm) if lm.tokenizer is None else text
    with progress("scoring") as tell:
        found = lm.score(whole, window=args.window, stride=args.stride, progress=tell, **allowed_special(args))
    if args.json:
        print_json(**as_json(found, lm))
        return 0
    if args.tokens:
        print(*_shown(found, lm), sep="\n", end="\n\n")
    print(f"tokens         {found.count:,}")
    print(f"perplexity     {found.perplexity:,.2f} a token")
    if found.bytes is not None:
        each = "" if found.bits_per_byte is None else f"{found.bits_per_byte:.3f} "
        print(f"bits per byte  {each}({found.bytes:,} bytes)")
    print(f"log-prob       {found.logprob:,.2f} ({found.logprob / found.count:.3f} a token)")
    return 0


def given(words: list[str], literally: bool = False) -> str:
    """The text: of the file that a lone word names, of stdin for a lone `-`, or the words themselves.

    Raises ValueError where it is not clear which is meant, or where there is no text.
    """
    if words in ([], ["-"]):
        return _some(stdin_text(asked=bool(words)), "stdin")
    text = _some(" ".join(words), "what is given")
    if not literally:
        for word in words:
            if not _is_path(word):
                continue
            path = Path(word)
            if len(words) > 1:
                raise ValueError(f"score: {word} is a file or a folder among several words; give one file, or --text")
            if path.is_dir():
                raise ValueError(f"score: {word} is a folder; give one file")
            return _some(file_text(path), word)
        if len(words) == 1 and not any(c.isspace() for c in text) and (Path(text).suffix or "/" in text.rstrip("/")):
            raise ValueError(f"score: there is no file {text}; to score these characters as a text, add --text")
    return from_argument(text)


def _is_path(word: str) -> bool:
    try:
        return Path(word).exists()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        return False


def _some(text: str | None, name: str) -> str:
    if text is None:
        raise ValueError('score: no text; give a file, "some text", or text on stdin')
    if not text:
        raise ValueError(f"score: no text, {name} is empty")
    return text


def as_json(found: Score, lm: LanguageModel) -> dict[str, object]:
    """All fields as `print_json` takes them."""
    fields: dict[str, object] = {
        "count": found.count,
        "bytes": found.bytes,
        "perplexity": found.perplexity,
        "bits_per_byte": found.bits_per_byte,
        "logprob": found.logprob,
        "window": found.window,
        "stride": found.stride,
        "start": found.start,
        "tokens": found.tokens,
        "logprobs": found.logprobs,
    }
    if lm.tokenizer is not None:
        fields["pieces"] = [lm.tokenizer.decode_bytes([id]).decode("utf-8", "replace") for id in found.tokens]
    return fields


def _shown(found: Score, lm: LanguageModel) -> Iterator[str]:
    """On a terminal the text in colours with a legend, else a line for each token."""
    surprise = [-x / math.log(2) for x in found.logprobs.tolist()]
    pieces = [str(id).encode() if lm.tokenizer is None else lm.tokenizer.decode_bytes([id]) for id in found.tokens]
    if not coloured(sys.stdout):
        for piece, bits in zip(pieces, surprise, strict=True):
            yield f"{bits:8.2f}  '{printable(piece)}'".replace("     nan", "       -")
        return
    line = ""
    for piece, bits in zip(pieces, surprise, strict=True):
        code = next((colour for limit, colour in _COLOURS if bits < limit), "30;41") if bits == bits else "2"
        line += style(printable(piece), code, sys.stdout) + ("" if lm.tokenizer else " ")
        if piece.endswith(b"\n"):
            yield line
            line = ""
    if line:
        yield line
    low, legend = 0.0, []
    for limit, colour in _COLOURS:
        name = f"{low:.0f}-{limit:.0f} bits" if limit < math.inf else f"{low:.0f} bits and more"
        legend.append(style(f" {name} ", colour, sys.stdout))
        low = limit
    yield ""
    yield " ".join(legend)
