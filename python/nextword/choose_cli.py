"""`nextword choose`: continuations of a prompt side by side, with their probabilities."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from typing import Any

from nextword.arguments import add_model, checked_text, load, written_ids
from nextword.terminal import bar, columns, print_json, printable, progress, style

HELP = "say how probable each of several continuations is"
EXAMPLES = """example:
  nextword choose "The doctor said that" " he" " she" " they\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword choose` takes."""
    add_model(parser)
    parser.add_argument("prompt", help="the text that is continued")
    parser.add_argument("choices", nargs="+", metavar="CHOICE", help='a continuation as written: mostly " word"')
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what the arguments ask for; returns the exit code. Raises ValueError with a message for the user."""
    texts: list[Any] = [checked_text(text) for text in (args.prompt, *args.choices)]
    lm = load(args)
    if lm.tokenizer is None:
        texts = [written_ids(text, "texts", lm) for text in texts]
    prompt, *choices = texts
    with progress("reading the prompt"):
        found = lm.choose(prompt, choices)
    if args.json:
        rows = [
            {
                "text": one.text,
                "tokens": one.tokens,
                "logprob": one.logprob if math.isfinite(one.logprob) else None,
                "logprobs": [x if math.isfinite(x) else None for x in one.logprobs.tolist()],
                "probability": one.probability,
                "share": one.share,
                "whole": one.whole,
            }
            for one in found
        ]
        print_json(prompt=prompt, choices=rows)
        return 0
    labels = [f"'{printable(text.encode())}'" for text in args.choices]
    wide = max(map(columns, labels))
    room = max(8, min(40, shutil.get_terminal_size().columns - wide - 26))
    most = max(one.share for one in found) or 1.0
    print(style(args.prompt, "1", sys.stdout))
    print(style(f"  {'':{wide}}  probability    share", "2", sys.stdout))
    for label, one in sorted(zip(labels, found, strict=True), key=lambda pair: -pair[1].share):
        filled = style(bar(one.share / most, room), "36", sys.stdout)
        shown = f"{one.probability:.4%}" if one.probability >= 1e-4 else f"{one.probability:.2e}"
        print(f"  {label}{' ' * (wide - columns(label))}  {shown:>11}  {one.share:7.2%}  {filled}".rstrip())
    inside = [label for label, text, one in zip(labels, args.choices, found, strict=True)
              if one.whole is False or (one.whole and args.prompt[-1].isalpha() and text[0].isalpha())]  # fmt: skip
    if inside:
        print(f"nextword: {', '.join(inside)} goes on within a word of the prompt; should it begin with a space?",
              file=sys.stderr)  # fmt: skip
    return 0
