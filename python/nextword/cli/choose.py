"""`nextword choose`: continuations of a prompt side by side, with their probabilities."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import Any

from nextword.cli.arguments import add_model, add_special, allowed_special, load, written_ids
from nextword.cli.terminal import bar, columns, print_json, printable, progress, style
from nextword.cli.user_text import from_argument, given_text

HELP = "say how probable each of several continuations is"
EXAMPLES = """example:
  nextword choose "The doctor said that" " he" " she" " they\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword choose` takes."""
    add_model(parser)
    parser.add_argument("prompt", help="the text that is continued; - reads it from stdin")
    parser.add_argument("choices", nargs="+", metavar="CHOICE", help='a continuation as written: mostly " word"')
    add_special(parser, "the texts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what the arguments ask for; returns the exit code. Raises ValueError with a message for the user."""
    words = [str(given_text([args.prompt])), *map(from_argument, args.choices)]
    lm = load(args)
    texts: list[Any] = words if lm.tokenizer is not None else [written_ids(text, "texts", lm) for text in words]
    with progress("reading the prompt"):
        found = lm.choose(texts[0], texts[1:], **allowed_special(args))
    if args.json:
        rows = [
            {
                "text": one.text,
                "tokens": one.tokens,
                "logprob": one.logprob,
                "logprobs": one.logprobs,
                "probability": one.probability,
                "share": one.share,
                "whole": one.whole,
            }
            for one in found
        ]
        print_json(prompt=texts[0], choices=rows)
        return 0
    prompt, *choices = words
    labels = [f"'{printable(text.encode())}'" for text in choices]
    wide = max(map(columns, labels))
    room = max(8, min(40, shutil.get_terminal_size().columns - wide - 26))
    most = max(one.share for one in found) or 1.0
    print(style(prompt, "1", sys.stdout))
    print(style(f"  {'':{wide}}  probability    share", "2", sys.stdout))
    for label, one in sorted(zip(labels, found, strict=True), key=lambda pair: -pair[1].share):
        filled = style(bar(one.share / most, room), "36", sys.stdout)
        shown = f"{one.probability:.4%}" if one.probability >= 1e-4 else f"{one.probability:.2e}"
        print(f"  {label}{' ' * (wide - columns(label))}  {shown:>11}  {one.share:7.2%}  {filled}".rstrip())
    inside = [label for label, text, one in zip(labels, choices, found, strict=True)
              if one.whole is False or (one.whole and prompt[-1:].isalpha() and text[0].isalpha())]  # fmt: skip
    if inside:
        print(f"nextword: {', '.join(inside)} goes on within a word of the prompt; should it begin with a space?",
              file=sys.stderr)  # fmt: skip
    return 0
