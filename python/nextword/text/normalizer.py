"""What is done to a text before it is split: Unicode's normal forms, and other steps that Hugging Face has."""

from __future__ import annotations

import base64
import functools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, cast

Step = tuple[str, ...]

_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_ARGUMENTS = dict.fromkeys(_FORMS, 0) | {"Lowercase": 0, "Prepend": 1, "Replace": 2, "StripAccents": 0}
_HERE = (*_FORMS, "Lowercase", "StripAccents")  # needs tables of Unicode: not done in C++
_CORE = ("Bert", "Blanks", "Collapse", "Spaced", "Words", "Strip", "Precompiled", "SentencePiece")

Aligned = Callable[[str, bool], tuple[str, list[tuple[int, int, bool]]]]


def core_steps(steps: Iterable[Step]) -> list[tuple[str | bytes, ...] | Aligned]:
    """Steps as _core.Bpe takes them: names with arguments for those of csrc/text/rewrite.h, functions for the others.

    Beside those of Normalizer: ("Blanks",): U+2581 becomes a blank; ("Collapse", to): each run of blanks; ("Spaced",):
    white space in a row, each newline and tab become a blank; ("Words",): each run of white space becomes a blank, none
    at the ends; ("Strip", left, right): white space at the ends;
    ("Bert", cleans, parts ideographs, strips accents, lowers): BERT's, by the tables of Hugging Face;
    ("Precompiled", rules): SentencePiece's rules, in base64, as Hugging Face applies them;
    ("SentencePiece", rules, prefix, collapses, *kept): all that SentencePiece does. Flags are "true" and "false".
    """
    found: list[tuple[str | bytes, ...] | Aligned] = []
    here: list[Step] = []
    for step in (*steps, None):
        if step is not None and step[0] not in _CORE:
            Normalizer([step])  # ValueError where it is none
        if step is not None and step[0] in _HERE:
            here.append(step)
            continue
        if here:
            found.append(Normalizer(here).aligned)
            here = []
        if step is not None and step[0] in ("Precompiled", "SentencePiece"):
            found.append((step[0], base64.b64decode(step[1]), *step[2:]))
        elif step is not None:
            found.append(step)
    return found


class Normalizer:
    """Steps that change a text, one after the other.

    steps: ("NFC",), ("NFD",), ("NFKC",), ("NFKD",): Unicode's normal forms (UAX #15), by the tables of this Python.
    ("Lowercase",): each character on its own. ("StripAccents",): no marks.
    ("Prepend", text): before a text that is not empty.
    ("Replace", old, new): each `old`.

    Raises ValueError for a step that is none of these.

    >>> normalize = Normalizer([("NFC",), ("Lowercase",), ("Replace", "a", "oo")])
    >>> normalize("BE\\u0301TA")
    'bétoo'
    """

    def __init__(self, steps: Iterable[Sequence[str]]) -> None:
        self.steps: tuple[Step, ...] = tuple(tuple(step) for step in steps)
        for step in self.steps:
            good = bool(step) and all(isinstance(part, str) for part in step)
            if not good or _ARGUMENTS.get(step[0]) != len(step) - 1 or (step[0] == "Replace" and not step[1]):
                raise ValueError(
                    f"Normalizer: a step must be one of {', '.join(_ARGUMENTS)} with its texts, "
                    f'such as ("NFC",) or ("Replace", "a", "b"), got {step!r}'
                )

    def __call__(self, text: str) -> str:
        """The text after all steps."""
        for step in self.steps:
            text = _apply(step, text)
        return text

    def aligned(self, text: str, wanted: bool = True) -> tuple[str, list[tuple[int, int, bool]]]:
        """The same, and which bytes of UTF-8 belong together: (end in the result, end in `text`, whether equal).

        wanted: whether anybody asks for them; else the list is empty.

        >>> Normalizer([("NFC",)]).aligned("ne\\u0301e")
        ('née', [(1, 1, True), (3, 4, False), (4, 5, True)])
        """
        if not wanted:
            return self(text), []
        chunks = [(c, len(c.encode()), True) for c in text]
        for step in self.steps:
            chunks = list(_composed(chunks, _pieces(step, "".join(chunk[0] for chunk in chunks))))
        ends: list[tuple[int, int, bool]] = []
        done = original = 0
        for changed, size, same in chunks:
            done, original = done + len(changed.encode()), original + size
            if same and ends and ends[-1][2]:
                ends.pop()
            ends.append((done, original, same))
        return "".join(chunk[0] for chunk in chunks), ends


def _form(step: Step) -> Literal["NFC", "NFD", "NFKC", "NFKD"]:
    return cast(Literal["NFC", "NFD", "NFKC", "NFKD"], step[0])


def _is_no_mark(c: str) -> bool:
    return unicodedata.category(c)[0] != "M"


def _lower(text: str) -> str:
    return "".join(c.lower() for c in text)  # str.lower of the whole writes a final sigma


def _apply(step: Step, text: str) -> str:
    if step[0] in _FORMS:
        return unicodedata.normalize(_form(step), text)
    if step[0] == "Lowercase":
        return text.lower() if text.isascii() else _lower(text)
    if step[0] == "StripAccents":
        return "".join(filter(_is_no_mark, text))
    if step[0] == "Prepend":
        return step[1] + text if text else text
    return text.replace(step[1], step[2])


def _pieces(step: Step, text: str) -> Iterator[tuple[int, str]]:
    """The text as parts that the step changes on their own: how many characters, and what becomes of them."""
    if step[0] in _FORMS:
        begin = 0
        for at in range(1, len(text) + 1):
            if at == len(text) or _begins(text[at]):
                yield at - begin, unicodedata.normalize(_form(step), text[begin:at])
                begin = at
    elif step[0] == "Replace":
        parts = text.split(step[1])
        for number, part in enumerate(parts):
            if number:
                yield len(step[1]), step[2]
            yield from ((1, c) for c in part)
    elif step[0] == "StripAccents":
        yield from ((1, c if _is_no_mark(c) else "") for c in text)
    else:
        for number, c in enumerate(text):
            yield 1, (step[1] + c if number == 0 else c) if step[0] == "Prepend" else c.lower()


@functools.lru_cache(4096)
def _begins(c: str) -> bool:
    """Whether no normal form lets `c` touch what is before it: neither does it compose with that, nor is it reordered.

    Only marks, and vowels and finals of Hangul and Kirat Rai, are ever the second part of a composition.
    """
    first = unicodedata.normalize("NFKD", c)[0]
    touches = "\u1161" <= first <= "\u1175" or "\u11a8" <= first <= "\u11c2" or "\U00016d63" <= first <= "\U00016d6a"
    return not touches and unicodedata.category(first)[0] != "M"


def _composed(
    chunks: Iterable[tuple[str, int, bool]], pieces: Iterator[tuple[int, str]]
) -> Iterator[tuple[str, int, bool]]:
    """What becomes of chunks (text, bytes of the original, whether equal) when their text changes piece by piece."""
    before = after = ""
    original, taken, same = 0, 0, True
    for text, size, equal in chunks:
        before, original, same = before + text, original + size, same and equal
        while taken < len(before):
            count, changed = next(pieces)
            taken, after = taken + count, after + changed
        if taken == len(before):
            yield after, original, same and before == after
            before = after = ""
            original, taken, same = 0, 0, True
