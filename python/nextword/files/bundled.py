"""Models that come with the package, by names that are neither a hub id's nor usual for a folder."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["BUNDLED", "bundled"]

_DEMO = Path(__file__).parents[1] / "demo"
_PREFIX = "nextword:"  # a hub id has no colon
BUNDLED = {f"{_PREFIX}demo": _DEMO, f"{_PREFIX}nano-sort": _DEMO / "nano_sort"}


def bundled(name: str | os.PathLike[str]) -> Path | None:
    """The folder of a bundled model, None for a name that is not meant for one. Raises FileNotFoundError for one of
    that form that there is not.

    >>> bundled("nextword:nano-sort").name, bundled("gpt2")
    ('nano_sort', None)
    """
    if not isinstance(name, str) or not name.startswith(_PREFIX):
        return None
    if name not in BUNDLED:
        raise FileNotFoundError(f"weights: the package holds no {name!r}, but {' and '.join(BUNDLED)}; "
                                f"for a folder of that name write './{name}'")
    return BUNDLED[name]
