"""Numbers, tokens and tables as HTML: text escaped, no script, right in dark and light."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SIGNS = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}
MINUS = "\N{MINUS SIGN}"
MOST_ROWS = 200  # of a table that is shown


def number(x: Any) -> str:
    """A number with four significant digits and a minus sign that is no hyphen; anything else as text.

    >>> number(0.0), number(1.23456), number(12345.678), number(float("inf")), number(7)
    ('0', '1.235', '12,346', '∞', '7')
    >>> number(-0.5) == f"{MINUS}0.5"
    True
    """
    if isinstance(x, str):
        return x
    value = float(x)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    whole = value.is_integer() and abs(value) < 1e15
    text = f"{value:,.0f}" if whole or 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", MINUS)


def visible(token: str) -> str:
    """A token's text with signs for what would not be seen: spaces, line ends, control and direction characters.

    >>> visible(" girl\\n"), visible("\\u202e")
    ('·girl⏎', '�')
    """
    return "".join(SIGNS.get(c) or ("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\u200d" else c)
                   for c in token)


def escaped(text: str) -> str:
    """Text as the content or an attribute of HTML."""
    return html.escape(visible_controls(text), quote=True)


def visible_controls(text: str) -> str:
    """Text whose control and direction characters are seen; spaces stay.

    >>> visible_controls("a b\\x00")
    'a b�'
    """
    return "".join(c if c in " \n" else visible(c) for c in text)


@dataclass(frozen=True)
class Table:
    """Rows of texts and numbers under a head.

    rows: what is no text is shown as a number, to the right; 200 rows at most, the others are counted. note: a line
    below. numbers: columns of numbers that are texts already.

    >>> Table(["token", "p"], [[" a", 0.25]]).html().count("<td")
    1
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    note: str = ""
    numbers: Sequence[int] = field(default=(), repr=False)

    def html(self) -> str:
        """One `<table>`; the first column heads the rows."""
        head = "".join(f'<th scope="col" style="text-align:left;padding:.15em .6em">{escaped(x)}</th>'
                       for x in self.head)
        rows = "".join(f"<tr>{''.join(self._cell(i, x) for i, x in enumerate(row))}</tr>"
                       for row in self.rows[:MOST_ROWS])
        left = len(self.rows) - MOST_ROWS
        notes = [self.note] if self.note else []
        notes += [f"{left:,} more rows"] if left > 0 else []
        caption = f'<caption style="text-align:left;font-weight:600">{escaped(self.caption)}</caption>'
        foot = f'<p style="margin:.2em 0;opacity:.85">{escaped("; ".join(notes))}</p>' if notes else ""
        return (f'<table style="border-collapse:collapse;background:transparent;color:inherit">'
                f"{caption if self.caption else ''}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{foot}")

    def _cell(self, column: int, x: Any) -> str:
        right = column in self.numbers or not isinstance(x, str)
        style = f"padding:.15em .6em;text-align:{'right' if right else 'left'};font-variant-numeric:tabular-nums"
        tag = ("td", "td") if column else ('th scope="row"', "th")
        return f'<{tag[0]} style="{style};font-weight:inherit">{escaped(number(x))}</{tag[1]}>'
