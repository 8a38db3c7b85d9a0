"""The body of a request, read field by field: each has a type and a range, and an error names it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nextword.page.errors import Refused

BODY = 2**20  # bytes of a request, at most
PROMPT = 200_000  # characters
WORD = 2_000  # characters of a word, a continuation or a short prompt
DEEPEST = 32  # brackets within each other


class Fields:
    """The fields of a JSON object. op: how errors call the request."""

    def __init__(self, op: str, body: Any, names: Sequence[str]) -> None:
        if not isinstance(body, Mapping):
            raise Refused("bad_argument", f"{op}: the body must be a JSON object, got {type(body).__name__}")
        for name in body:
            if name not in names:
                raise wrong(op, str(name)[:40], f"one of {', '.join(names)}", "another name")
        self.op, self._body = op, body

    def has(self, name: str) -> bool:
        """Whether the field is given and not null."""
        return self._body.get(name) is not None

    def text(self, name: str, longest: int, default: str | None = None) -> str:
        """A string of at most so many characters, without lone surrogates."""
        value = self._body.get(name, default)
        if not isinstance(value, str) or len(value) > longest:
            raise wrong(self.op, name, f"a text of at most {longest} characters", value)
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise wrong(self.op, name, "text without lone surrogates", value)
        return value

    def texts(self, name: str, most: int, longest: int) -> list[str]:
        """1 to `most` strings."""
        value = self._body.get(name)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise wrong(self.op, name, f"a list of 1 to {most} texts", value)
        return [Fields(self.op, {name: one}, [name]).text(name, longest) for one in value]

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number low .. high."""
        value = self._body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise wrong(self.op, name, f"a whole number {low} .. {high}", value)
        return value

    def integers(self, name: str, most: int, low: int, high: int) -> list[int]:
        """Up to `most` whole numbers low .. high."""
        value = self._body.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise wrong(self.op, name, f"a list of at most {most} whole numbers", value)
        for one in value:
            if isinstance(one, bool) or not isinstance(one, int) or not low <= one <= high:
                raise wrong(self.op, name, f"whole numbers {low} .. {high}", one)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._body.get(name, default)
        if not isinstance(value, bool):
            raise wrong(self.op, name, "true or false", value)
        return value

    def one_of(self, name: str, names: Sequence[str], default: str) -> str:
        """One of the names."""
        value = self._body.get(name, default)
        if not isinstance(value, str) or value not in names:
            raise wrong(self.op, name, f"one of {', '.join(names)}", value)
        return value

    def table(self, name: str) -> dict[str, Any]:
        """An object; empty where none is given."""
        value = self._body.get(name) or {}
        if not isinstance(value, dict):
            raise wrong(self.op, name, "an object", value)
        return value

    def objects(self, name: str, most: int) -> list[dict[str, Any]]:
        """Up to `most` objects; none where none are given."""
        value = self._body.get(name) or []
        if not isinstance(value, list) or len(value) > most or not all(isinstance(one, dict) for one in value):
            raise wrong(self.op, name, f"a list of at most {most} objects", value)
        return value

    def raw(self, name: str) -> Any:
        """Whatever is there, for who checks it himself."""
        return self._body.get(name)


def wrong(op: str, name: str, expected: str, got: Any) -> Refused:
    """The error of one field."""
    shown = repr(got)
    return Refused("bad_argument", f"{op}: {name} must be {expected}, got {shown[:80]}", argument=name)


def parsed(op: str, body: bytes) -> Any:
    """A JSON text, which is small and not deep."""
    if len(body) > BODY:
        raise Refused("too_large", f"{op}: the body must have at most {BODY} bytes, got {len(body)}")
    depth = 0
    for byte in body:  # an upper bound: brackets in strings count, too
        depth += byte in b"[{"
        depth -= byte in b"]}"
        if depth > DEEPEST:
            break
    try:
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        return json.loads(body or b"{}", parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Refused("bad_argument", f"{op}: the body must be JSON, {str(error)[:80]}", argument="body") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
