"""Numbers as rows of a generated C++ table, in lines of at most 120 columns."""

import itertools
import textwrap
from collections.abc import Iterable


def ranges(codes: list[int]) -> str:
    """{first,last} of each run of neighbours."""
    runs = [[code for _, code in run] for _, run in itertools.groupby(enumerate(codes), key=lambda at: at[1] - at[0])]
    return lines(f"{{{run[0]:#x},{run[-1]:#x}}}" for run in runs)


def rows(values: list[int]) -> str:
    """{length, value} of each run of equal values."""
    return lines(f"{{{len(list(run))},{value}}}" for value, run in itertools.groupby(values))


def lines(parts: Iterable[str]) -> str:
    """Parts with commas between them."""
    return textwrap.fill(", ".join(parts), 120, initial_indent="    ", subsequent_indent="    ")


def in_blocks(values: list[int], block: int) -> tuple[list[int], list[int]]:
    """The number of the block that each `block` neighbours share with others like them, and the blocks."""
    known: dict[tuple[int, ...], int] = {}
    index = [known.setdefault(tuple(values[at : at + block]), len(known)) for at in range(0, len(values), block)]
    assert len(known) < 256, "the first level holds bytes"
    return index, [value for one in known for value in one]
