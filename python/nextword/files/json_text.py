"""JSON as it is written, everywhere: what is no number (infinite, NaN) is null. Reading it is the readers' own."""

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(x: Any, **options: Any) -> str:
    """A value as JSON, with the options of `json.dumps`; NumPy's arrays are lists, and its numbers numbers.

    >>> json_text({"p": [0.5, float("-inf")], "of": ("a", 1)})
    '{"p": [0.5, null], "of": ["a", 1]}'
    """
    return json.dumps(_plain(x), allow_nan=False, **options)


def _plain(x: Any) -> Any:
    if hasattr(x, "tolist"):
        x = x.tolist()
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    if isinstance(x, Mapping):
        return {key: _plain(value) for key, value in x.items()}
    return [_plain(value) for value in x] if isinstance(x, list | tuple) else x
