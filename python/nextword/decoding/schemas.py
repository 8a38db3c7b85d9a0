"""JSON schemas as arguments: read, and their size bounded before they are compiled. Compiling them is in grammar."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from nextword.machine.shown import is_integer

DEPTH = 120  # levels of nesting; the compiler's own parser ends at 128
VALUES = 1_000_000  # in the whole schema
# What holds for one value at once is compiled into one automaton, whose size multiplies with each part: 16 patterns
# take a quarter of a second at worst, 20 take 5 seconds; a multiple of 100,000 takes one second, of 1,000,000 twenty.
TOGETHER = 16
MULTIPLE = 100_000
FOLLOWED = 2 * TOGETHER  # times that a $ref is followed in one allOf: enough to see that it is too much

_SAME = ("allOf", "anyOf", "oneOf")  # their schemas hold for the value itself
_EACH = ("properties", "patternProperties")


def read_schema(schema: Any) -> dict[str, Any]:
    """A schema, or the JSON text of one, as a dict. Raises ValueError for what is none, or too large to be compiled."""
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except RecursionError:
            raise ValueError(f"Grammar: json_schema must not be nested deeper than {DEPTH} levels") from None
        except ValueError as error:
            raise ValueError(f"Grammar: json_schema is not JSON: {error}") from None
    if isinstance(schema, bool):
        schema = {} if schema else {"enum": []}
    if not isinstance(schema, Mapping):
        raise ValueError(f"Grammar: json_schema must be an object, got {type(schema).__name__}")
    _check_size(schema)
    for one in _schemas(schema):
        if "multipleOf" in one:
            _check_multiples([one["multipleOf"]])
        if "allOf" in one:
            _check_together(schema, one)
    return dict(schema)


def _check_size(schema: Any) -> None:
    waiting, seen = [(schema, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > DEPTH:
            raise ValueError(f"Grammar: json_schema must not be nested deeper than {DEPTH} levels; name parts of it in "
                             "$defs and refer to them")
        if seen > VALUES:
            raise ValueError(f"Grammar: json_schema must hold at most {VALUES:,} values")
        waiting += [(inner, depth + 1) for inner in _inner(value)]


def _inner(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _schemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a schema."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield value
        waiting += _inner(value)


def _check_together(whole: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    """Raises ValueError if too much holds for one value: what the schemas of an allOf, with all their alternatives, say
    of the same place in a text."""
    patterns: Counter[tuple[str, ...]] = Counter()
    multiples: dict[tuple[str, ...], list[Any]] = {}
    followed: Counter[str] = Counter()
    waiting: list[tuple[Any, tuple[str, ...]]] = [(root, ())]
    while waiting:
        one, place = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        patterns[place] += sum(name in one for name in ("pattern", "format", "not"))
        if "multipleOf" in one:
            multiples.setdefault(place, []).append(one["multipleOf"])
            _check_multiples(multiples[place])
        if patterns[place] > TOGETHER:
            raise ValueError(f"Grammar: json_schema: at most {TOGETHER} patterns, formats and exclusions may hold for "
                             "one value through allOf, alternatives counted; write them as one pattern")
        reference = one.get("$ref")
        if isinstance(reference, str) and followed[reference] < FOLLOWED:
            followed[reference] += 1
            waiting.append((_referred(whole, reference), place))
        for name in _SAME:
            waiting += [(inner, place) for inner in _inner(one.get(name))]
        for name in _EACH:
            inner = one.get(name)
            waiting += [(value, (*place, key)) for key, value in inner.items()] if isinstance(inner, Mapping) else []
        for name in ("items", "additionalProperties"):
            waiting.append((one.get(name), (*place, name)))
        waiting += [(inner, (*place, f"{i}")) for i, inner in enumerate(_inner(one.get("prefixItems")))]


def _referred(whole: Mapping[str, Any], reference: str) -> Any:
    """What "#/$defs/name" stands for; None where it is not in this schema."""
    found: Any = whole
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if reference.startswith("#") else None


def _check_multiples(given: list[Any]) -> None:
    """Raises ValueError if a number must be a multiple of too much."""
    from fractions import Fraction

    numbers = [Fraction(str(x)) for x in given if (is_integer(x) or isinstance(x, float)) and math.isfinite(x) and x]
    unit = math.lcm(*(x.denominator for x in numbers))
    if math.lcm(*(int(x * unit) for x in numbers)) > MULTIPLE:
        raise ValueError(f"Grammar: json_schema: multipleOf must be at most {MULTIPLE:,}, that of all that hold for "
                         f"one value together, got {', '.join(map(str, given))}")
