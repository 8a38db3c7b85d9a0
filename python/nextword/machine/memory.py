"""How much memory may still be taken, and an error before it is taken where more would be needed. Takes none itself."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from nextword.machine.cgroups import ROOT, groups

SMALL = 100 * 2**20  # bytes that are not worth the files that say what there is



def require(op: str, what: str, needed: int, way_out: str) -> None:
    """Raises MemoryError that names `what` if it needs more bytes than there are; nothing is read for a small need.

    >>> require("generate", "n=10", 1000, "ask for less")
    """
    if needed <= SMALL:
        return
    there = available()
    if there is not None and needed > there:
        raise MemoryError(f"{op}: {what} would take {said(needed)} of memory, and {said(there)} are available; "
                          f"{way_out}")


def fitting(most: int, needed: Callable[[int], int]) -> int:
    """How many of up to `most` things to hold at once, at least one: all of them if there is the memory, else as many
    as half of it takes. needed: the bytes that so many take.

    >>> fitting(10, lambda count: 1000 * count)
    10
    """
    if needed(most) <= SMALL:
        return most
    there = available()
    if there is None or needed(most) <= there:
        return most
    return max(1, bisect_right(range(1, most + 1), there // 2, key=needed))


def said(size: int) -> str:
    """Bytes as one reads them.

    >>> said(3 * 10**9), said(2 * 10**14)
    ('3.0 GB', '200,000.0 GB')
    """
    return f"{size / 1e9:,.1f} GB"


def available() -> int | None:
    """Bytes that may still be taken: what the system calls available, or what the limits of the process's control
    groups leave of it, the least of them. None where nothing says so."""
    found = list(_of_groups())
    system = _of_system()
    if system is not None:
        found.append(system)
    return max(0, min(found)) if found else None


def _of_system() -> int | None:
    """MemAvailable of Linux; elsewhere all memory that there is."""
    amount = _table(ROOT / "proc/meminfo").get("MemAvailable:")
    if amount is not None:
        return amount * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # as on Windows
        return None


def _of_groups() -> Iterator[int]:
    """What each control group from the process's own up to the topmost leaves; cached files do not count as taken."""
    for folder in groups("memory", ROOT):
        for limit, use, cached in (("memory.max", "memory.current", "inactive_file"),
                                   ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")):
            most, taken = _number(folder / limit), _number(folder / use)
            if most is not None and taken is not None:
                yield most - taken + _table(folder / "memory.stat").get(cached, 0)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def _table(path: Path) -> dict[str, int]:
    """The lines of a name and a number that a file has."""
    try:
        rows = [line.split()[:2] for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
