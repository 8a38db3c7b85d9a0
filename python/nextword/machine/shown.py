"""Values in the words of error messages: short enough to be read, whatever they are."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def is_integer(x: Any) -> bool:
    """Whether x is a Python or NumPy integer; True and False are none."""
    return isinstance(x, int | np.integer) and not isinstance(x, bool)


def shown(value: Any) -> str:
    """repr, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def quoted(name: str) -> str:
    """The name in quotation marks, a long one cut.

    >>> quoted("x" * 1000)[-4:]
    "x..'"
    """
    return repr(name if len(name) <= 100 else name[:98] + "..")


def listed(names: Iterable[str], most: int = 4) -> str:
    """The first of the names, and how many more there are.

    >>> listed(["a", "b", "c", "d"], most=2)
    "'a', 'b' and 2 more"
    """
    known = list(names)
    shown = ", ".join(quoted(name) for name in known[:most])
    return shown if len(known) <= most else f"{shown} and {len(known) - most:,} more"
