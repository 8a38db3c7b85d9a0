"""`nextword tokenize`: a text as coloured tokens, the merges that make a word, encodings side by side.

The command line calls add_arguments and run; the tokenizer of a model is handed in by it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from nextword.cli.arguments import add_model, add_special, allowed_special, load, place
from nextword.cli.terminal import can_print, coloured, columns, print_json, style
from nextword.cli.user_text import from_argument, stdin_text
from nextword.text.encodings import ENCODINGS
from nextword.text.ids import token_text
from nextword.text.merges import merge_order, merge_steps
from nextword.text.tokenizer import Tokenizer

HELP = "show how a text is cut into tokens"
EXAMPLES = """examples:
  nextword tokenize "Once upon a time"
  nextword tokenize --steps together"""

_COLOURS = ("30;42", "30;43", "30;44", "30;45", "30;46")
_DEMO = Path(__file__).parents[1] / "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword tokenize` takes."""
    add_model(parser, threads=False)
    parser.add_argument("text", nargs="*",
                        help="the text; - reads it from stdin, as no text does where stdin is no terminal, to the last "
                             "byte")
    add_special(parser, "the text")
    parser.add_argument("--vocab", metavar="PATH", type=place,
                        help="use this vocabulary: a folder or a file (the demo's)")
    parser.add_argument(
        "--encoding",
        metavar="NAMES",
        help=f"compare published encodings, separated by commas, or all: {', '.join(ENCODINGS)}",
    )
    parser.add_argument("--encodings-folder", metavar="PATH", type=place,
                        help="read their rank files there ($NEXTWORD_ENCODINGS)")
    parser.add_argument("--steps", action="store_true", help="show merge by merge how each word comes together")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what the arguments ask for; returns the exit code.

    Raises ValueError and FileNotFoundError with a message for the user.
    """
    text = _text(args.text)
    tokenizers = _tokenizers(args)
    if args.json:
        found = {name: _as_json(one, text, args) for name, one in tokenizers.items()}
        print_json(text=text, **({"encodings": found} if args.encoding else next(iter(found.values()))))
        return 0
    for name, one in tokenizers.items():
        ids = one.encode(text, **allowed_special(args))
        if len(tokenizers) > 1:
            print(style(f"{name}: {_counted(text, ids)}", "1", sys.stdout))
        print(_pieces(one, ids))
        print(" ".join(map(str, ids)))
        if len(tokenizers) == 1:
            print(style(_counted(text, ids), "2", sys.stdout))
        if args.steps:
            print(*_steps_lines(one, text, args.special), sep="\n")
        if len(tokenizers) > 1:
            print()
    return 0


def _tokenizers(args: argparse.Namespace) -> dict[str, Tokenizer]:
    if sum(map(bool, (args.model, args.vocab, args.encoding))) > 1:
        raise ValueError("tokenize: give one of --model, --vocab and --encoding")
    if args.encoding:
        names = list(ENCODINGS)[1:] if args.encoding == "all" else args.encoding.split(",")
        return {name: Tokenizer.from_encoding(name, path=args.encodings_folder) for name in names}
    if args.model is None:
        return {"": Tokenizer.load(args.vocab or _DEMO)}
    lm = load(args)
    if lm.tokenizer is None:
        raise ValueError(f"tokenize: {args.model} holds no vocabulary ({lm.no_tokenizer})")
    return {"": lm.tokenizer}


def _text(words: list[str]) -> str:
    text = from_argument(" ".join(words)) if words not in ([], ["-"]) else stdin_text(asked=bool(words))
    if text is None:
        raise ValueError('tokenize: no text; write nextword tokenize "some text", or give text on stdin')
    return text


def _counted(text: str, ids: list[int]) -> str:
    size = len(text.encode())
    each = f", {size / len(ids):.2f} bytes a token" if ids else ""
    return f"{len(ids):,} tokens for {len(text):,} characters, {size:,} bytes{each}"


def _shown(token: bytes) -> str:
    """A token as one can see it: white space as signs, bytes that are no character in hexadecimal."""
    signs = (
        {" ": "·", "\n": "⏎", "\t": "→", "\r": "␍"} if can_print("·⏎→␍") else {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    )

    def shown(c: str) -> str:
        if 0xDC80 <= ord(c) <= 0xDCFF:  # how Python decodes a byte that is part of no character
            return f"<{ord(c) - 0xDC00:02X}>"
        return signs.get(c, c if c.isprintable() and can_print(c) else f"<U+{ord(c):04X}>")

    return "".join(map(shown, token.decode("utf-8", "surrogateescape")))


def _pieces(tokenizer: Tokenizer, ids: list[int]) -> str:
    colour = coloured(sys.stdout)
    parts = []
    for i, id in enumerate(ids):
        shown = _shown(tokenizer.token_bytes(id))
        newline = "\n" if tokenizer.token_bytes(id).endswith(b"\n") and i + 1 < len(ids) else ""
        parts.append(style(shown, _COLOURS[i % len(_COLOURS)], sys.stdout) + (newline if colour else ""))
    return ("" if colour else "|").join(parts)


def _pieces_to_merge(tokenizer: Tokenizer, text: str, special: bool) -> Iterator[bytes]:
    """The pieces that are merged by themselves: all, or with `special` those between special tokens."""
    names = sorted(tokenizer.special_tokens, key=len, reverse=True) if special else []
    for part in re.split("|".join(map(re.escape, names)), text) if names else [text]:
        yield from tokenizer.pieces(part)


def _steps_lines(tokenizer: Tokenizer, text: str, special: bool) -> Iterator[str]:
    seen: set[bytes] = set()
    order = merge_order(tokenizer)
    for piece in _pieces_to_merge(tokenizer, text, special):
        if piece in seen or len(piece) < 2:
            continue
        seen.add(piece)
        if len(piece) > 64:
            yield f"\n{_shown(piece[:40])}...: {len(piece)} bytes, too long to show step by step"
            continue
        steps = list(merge_steps(tokenizer, piece, order))
        wide = max(columns(" ".join(map(_shown, parts))) for parts, _, _ in steps)
        yield ""
        for parts, pair, made in steps:
            line = " ".join(map(_shown, parts))
            if pair is None:
                yield f"  {style(line, '1', sys.stdout)}"
            else:
                arrow = f"{_shown(pair[0])} + {_shown(pair[1])} = {_shown(pair[0] + pair[1])} ({made})"
                yield f"  {line}{' ' * (wide - columns(line))}   {style(arrow, '2', sys.stdout)}"


def _as_json(tokenizer: Tokenizer, text: str, args: argparse.Namespace) -> dict[str, object]:
    ids, offsets = tokenizer.encode_with_offsets(text, **allowed_special(args))
    found: dict[str, object] = {
        "tokens": ids,
        "pieces": [token_text(tokenizer, id) for id in ids],
        "bytes": [tokenizer.token_bytes(id).hex() for id in ids],
        "offsets": offsets,
        "count": len(ids),
    }
    if args.steps:
        order = merge_order(tokenizer)
        found["steps"] = [
            [
                [part.decode("utf-8", "backslashreplace") for part in parts]
                for parts, _, _ in merge_steps(tokenizer, piece, order)
            ]
            for piece in _pieces_to_merge(tokenizer, text, args.special)
        ]
    return found
