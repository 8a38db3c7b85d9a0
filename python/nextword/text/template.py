"""What stands around a text, or two, that a model reads: special tokens, and the type of each part.

Putting ids together is in with_specials.py.
"""

from __future__ import annotations

from typing import NamedTuple

FIRST, SECOND = -1, -2  # in the place of an id: the first text, the second


class Part(NamedTuple):
    """id: of a special token, or FIRST or SECOND. type: of its tokens (token_type_ids)."""

    id: int
    type: int = 0


class Template(NamedTuple):
    """single: the parts of one text, with FIRST once. pair: those of two, with FIRST and SECOND once each,
    or none where no two belong together.
    trims: whether blanks at the ends of a token are no part of its offsets; after_prefix: as add_prefix_space of
    RobertaProcessing and ByteLevel, which counts the blank that was put before a text.
    """

    single: tuple[Part, ...] = (Part(FIRST),)
    pair: tuple[Part, ...] = (Part(FIRST), Part(SECOND, 1))
    trims: bool = False
    after_prefix: bool = False

    @property
    def beginning(self) -> tuple[int, ...]:
        """The ids before a single text."""
        return tuple(part.id for part in self.single[: self._at()])

    @property
    def ending(self) -> tuple[int, ...]:
        """The ids behind a single text."""
        return tuple(part.id for part in self.single[self._at() + 1 :])

    def _at(self) -> int:
        return next(i for i, part in enumerate(self.single) if part.id == FIRST)


NONE = Template()


def around(before: tuple[int, ...], after: tuple[int, ...]) -> Template:
    """The template of ids before and after every text, as language models have it; of a pair each text gets them."""
    begin, end = ([Part(id) for id in ids] for ids in (before, after))
    second = [part._replace(type=1) for part in begin], [part._replace(type=1) for part in end]
    single = (*begin, Part(FIRST), *end)
    return Template(single, (*single, *second[0], Part(SECOND, 1), *second[1]))


def bert(cls: int, sep: int) -> Template:
    """[CLS] A [SEP] B [SEP], the types of the second text 1."""
    single = (Part(cls), Part(FIRST), Part(sep))
    return Template(single, (*single, Part(SECOND, 1), Part(sep, 1)))


def roberta(cls: int, sep: int, trims: bool = True, after_prefix: bool = True) -> Template:
    """<s> A </s></s> B </s>, all types 0."""
    single = (Part(cls), Part(FIRST), Part(sep))
    return Template(single, (*single, Part(sep), Part(SECOND), Part(sep)), trims, after_prefix)


def bert_twice(cls: int, sep: int) -> Template:
    """[CLS] A [SEP] [SEP] B [SEP], all types 0: as tokenizers has DeBERTa's."""
    single = (Part(cls), Part(FIRST), Part(sep))
    return Template(single, (*single, Part(sep), Part(SECOND), Part(sep)))
