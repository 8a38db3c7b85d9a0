"""A text cut into passages of a bounded number of tokens, with where they stand in it. Reads no files."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["Passage", "passages"]

Count = Callable[[Sequence[str]], Sequence[int]]  # the tokens of each of several texts

_PARAGRAPH = re.compile(r"\s*\n[^\S\n]*\n\s*")  # what stands between two
# Likewise; CJK writes no space behind the signs that end a sentence.
_SENTENCE = re.compile("(?:(?<=[.!?\u2026])|(?<=[.!?\u2026][\"'\u201d\u2019)\\]]))\\s+|(?<=[\u3002\uff01\uff1f])|\n+")


class Passage(NamedTuple):
    """A part of a text: text[start:end], in characters; its first one stands in this line, counted from 1."""

    start: int
    end: int
    line: int


def passages(text: str, count: Count, most: int) -> list[Passage]:
    """Cut a text into passages of at most `most` tokens, in their order; white space at their edges is left out.

    A passage is as many whole paragraphs as fit, a paragraph that is too long as many sentences, and a sentence that is
    too long is halved, at a space where there is one. count: the tokens of texts; a passage has at most the sum of its
    parts' ones.
    Raises ValueError if `most` is below 1.

    >>> def words(texts):
    ...     return [len(text.split()) for text in texts]
    >>> text = "One two. Three four five.\\n\\nSix.\\n\\nSeven eight."
    >>> [(text[p.start : p.end], p.line) for p in passages(text, words, 3)]
    [('One two.', 1), ('Three four five.', 1), ('Six.\\n\\nSeven eight.', 3)]
    """
    if most < 1:
        raise ValueError(f"passages: most must be a number of tokens, at least 1, got {most}")
    parts = [*_fitting(text, [(0, len(text))], [_between(_PARAGRAPH), _between(_SENTENCE), _halves], count, most)]
    found: list[Passage] = []
    line, seen = 1, 0
    for start, end in _joined(parts, most):
        line += text.count("\n", seen, start)
        seen = start
        found.append(Passage(start, end, line))
    return found


_Span = tuple[int, int]
_Cut = Callable[[str, int, int], list[_Span]]


def _fitting(text: str, spans: list[_Span], cuts: list[_Cut], count: Count,
             most: int) -> Iterator[tuple[int, int, int]]:
    """Spans of at most `most` tokens, each with how many it has; what is too long is cut by the first of `cuts`, its
    parts by those that follow."""
    spans = [one for one in (_stripped(text, *span) for span in spans) if one[0] < one[1]]
    for (start, end), tokens in zip(spans, count([text[a:b] for a, b in spans]), strict=True):
        parts = cuts[0](text, start, end) if tokens > most else []
        if len(parts) > 1:
            yield from _fitting(text, parts, cuts[1:] or cuts, count, most)
        elif tokens > most and len(cuts) > 1:
            yield from _fitting(text, [(start, end)], cuts[1:], count, most)
        else:
            yield start, end, tokens  # one character is never cut


def _joined(parts: list[tuple[int, int, int]], most: int) -> Iterator[_Span]:
    """Neighbours put together as long as they fit."""
    begin, last, tokens = 0, 0, 0
    for start, end, more in parts:
        if last and tokens + more <= most:
            last, tokens = end, tokens + more
            continue
        if last:
            yield begin, last
        begin, last, tokens = start, end, more
    if last:
        yield begin, last


def _between(gap: re.Pattern[str]) -> _Cut:
    def cut(text: str, start: int, end: int) -> list[_Span]:
        gaps = [found.span() for found in gap.finditer(text, start, end)]
        edges = [start, *(edge for span in gaps for edge in span), end]
        return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]

    return cut


def _halves(text: str, start: int, end: int) -> list[_Span]:
    """In the middle, or at the space nearest to it."""
    middle = (start + end) // 2
    before, after = text.rfind(" ", start, middle), text.find(" ", middle, end)
    near = [one for one in (before, after) if start < one < end - 1]
    at = min(near, key=lambda one: abs(one - middle)) if near else middle
    return [(start, at), (at, end)] if start < at < end else [(start, end)]


def _stripped(text: str, start: int, end: int) -> _Span:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - (len(part) - len(part.rstrip()))
