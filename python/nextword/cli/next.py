"""`nextword next`: the most probable next tokens with bars, under one setting or under several side by side."""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nextword.cli.arguments import (
    add_prompt,
    allowed_special,
    decoded,
    flag,
    given_prompt,
    load,
    number,
    positive,
    shown_prompt,
    token_text,
)
from nextword.cli.terminal import bar, columns, print_json, progress, style

HELP = "show the most probable next tokens as a table"
EXAMPLES = """examples:
  nextword next "The cat sat on the"
  nextword next "The cat sat on the" --temperature 0.2,1,2
  nextword next "The cat sat on the" --top-p 0.9,0.5 --top 5"""

TINY, HUGE = 1e-6, 1e6
FILTERS: tuple[tuple[str, Any, float, float, str, str, str], ...] = (
    ("temperature", float, TINY, HUGE, "numbers above 0", "T", "divide the logits by T (1)"),
    ("top_k", int, 0, 2**31 - 1, "whole numbers from 0", "K", "keep only the K most probable; 0: all"),
    ("top_p", float, 0, 1, "numbers 0 .. 1", "P", "keep only the most probable that together reach P"),
    ("min_p", float, 0, 1, "numbers 0 .. 1", "P", "keep only those with P times the greatest probability"),
    ("typical_p", float, TINY, 1, "numbers above 0, at most 1", "P", "keep only the most typical that reach P"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword next` takes."""
    add_prompt(parser, "")
    parser.add_argument("--top", type=positive, default=10, metavar="N", help="show N tokens at most (10)")
    group = parser.add_argument_group("settings; several values, separated by commas, stand side by side")
    for name, kind, low, high, wanted, metavar, text in FILTERS:
        group.add_argument(flag(name), type=_several(kind, low, high, wanted), metavar=f"{metavar},...", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _several(kind: Any, low: float, high: float, wanted: str) -> Callable[[str], list[Any]]:
    def convert(text: str) -> list[Any]:
        return [number(part, kind, low, high, wanted) for part in text.split(",")]

    return convert


def run(args: argparse.Namespace) -> int:
    """Print what the arguments ask for; returns the exit code."""
    from nextword.arithmetic import ops
    from nextword.decoding.sampling import probabilities
    from nextword.decoding.settings import Sampling

    lm = load(args)
    prompt = given_prompt(args.prompt, lm, None)
    with progress("reading the prompt"):
        # An empty prompt starts as `generate` starts it.
        begun = prompt or lm.generate(prompt, max_new_tokens=0).prompt_tokens
        logits = lm.logits(begun, last_only=True, **allowed_special(args))
    given = {name: getattr(args, name) for name, *_ in FILTERS if getattr(args, name) is not None}
    every = [dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())]
    found = [probabilities(logits, Sampling(**{"temperature": 1.0, **one})) for one in every]
    shares = [dict(zip(kept.tolist(), p.tolist(), strict=True)) for kept, p in found]
    # The rows: the most probable tokens without any setting, which keep their order under every temperature.
    best = ops.top(logits, args.top).tolist()
    best = [token for token in best if any(token in one for one in shares)]
    if args.json:
        tables = [
            {**one, "next": [{"token": t, "text": decoded(lm, t), "probability": share.get(t, 0.0)} for t in best]}
            for one, share in zip(every, shares, strict=True)
        ]
        print_json(prompt=prompt, **({"next": tables[0]["next"]} if len(tables) == 1 else {"settings": tables}))
        return 0
    print(style(shown_prompt(prompt), "1", sys.stdout))
    if len(every) == 1:
        rows = [(t, f"'{token_text(lm, t)}'", shares[0].get(t, 0.0)) for t in best if t in shares[0]]
        lines = table(rows, len(shares[0]), 1 - sum(share for *_, share in rows))
    else:
        varied = [name for name, values in given.items() if len(values) > 1]
        heads = [" ".join(f"{name}={one[name]:g}" for name in varied) for one in every]
        lines = side_by_side([(f"'{token_text(lm, t)}'", [one.get(t, 0.0) for one in shares]) for t in best], heads)
    for line in lines:
        print(line)
    return 0


def table(rows: Sequence[tuple[int, str, float]], kept: int, rest: float) -> Iterator[str]:
    """The rows as lines with bars; the longest bar takes what the terminal's width leaves. kept: how many tokens have
    a probability at all; rest: what the rows leave of it."""
    wide = max(columns(text) for _, text, _ in rows)
    room = max(8, min(40, shutil.get_terminal_size().columns - wide - 26))
    for token, text, share in rows:
        label = text + " " * (wide - columns(text))
        shown = style(bar(share / rows[0][2], room), "36", sys.stdout)
        yield f"  {label}  {token:>6}  {share:7.2%}  {shown}".rstrip()
    if len(rows) < kept:
        yield style(f"  the other {kept - len(rows):,} tokens: {max(rest, 0):.2%}", "2", sys.stdout)


def side_by_side(rows: Sequence[tuple[str, list[float]]], heads: Sequence[str]) -> Iterator[str]:
    """A column of probabilities with bars for each setting; "-" where a setting cuts the token."""
    wide = max(columns(text) for text, _ in rows)
    cell = max(18, *(len(head) for head in heads))
    greatest = max(share for _, shares in rows for share in shares)
    yield style("  " + " " * wide + "".join(f"  {head:<{cell}}" for head in heads), "2", sys.stdout).rstrip()
    for text, shares in rows:
        cells = []
        for share in shares:
            shown = bar(share / greatest, cell - 9)
            number_ = f"{share:7.2%}" if share else f"{'-':>7}"
            cells.append(f"{number_}  {style(shown, '36', sys.stdout)}{' ' * (cell - 9 - columns(shown))}")
        yield ("  " + text + " " * (wide - columns(text)) + "  " + "  ".join(cells)).rstrip()
    rest = [max(0.0, 1 - sum(shares[i] for _, shares in rows)) for i in range(len(heads))]
    yield style("  " + f"{'others':<{wide}}" + "".join(f"  {share:7.2%}{'':{cell - 7}}" for share in rest),
                "2", sys.stdout).rstrip()
