"""Text for a terminal: progress, colour, column widths, JSON. Knows no model."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from nextword.files.json_text import json_text

PATIENCE = 1.0  # seconds


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Say on stderr what takes longer than `PATIENCE`: with running seconds on a terminal, else one line.

    Yields a function to call with (done, total): from then on a terminal shows a bar, percentage and time left.
    """
    import threading

    stop = threading.Event()
    started = time.perf_counter()
    out = sys.stderr
    state: list[tuple[int, int]] = []

    def show() -> None:
        if stop.wait(PATIENCE):
            return
        if not out.isatty():
            print(f"nextword: {label} ...", file=out, flush=True)
            return
        while not stop.wait(0.2):
            spent = time.perf_counter() - started
            line = progress_line(label, *state[-1], spent) if state else f"{label} ... {spent:.0f} s"
            print(f"\r{line}\x1b[K", end="", file=out, flush=True)
        print("\r\x1b[K", end="", file=out, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield lambda done, total: state.__setitem__(slice(None), [(done, total)])
    finally:
        stop.set()
        thread.join()


def progress_line(label: str, done: int, total: int, seconds: float) -> str:
    """A label, a bar, the percentage and the time left if the rest goes as fast."""
    share = done / total if total else 1.0
    left = round(seconds / share - seconds) if share else 0
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
    return f"{label} {bar(share, 30, sys.stderr):30} {share:4.0%}" + (f"  {clock} left" if share else "")


def bar(share: float, room: int, stream: TextIO | None = None) -> str:
    """A bar that fills its share of `room` columns."""
    blocks = " ▏▎▍▌▋▊▉█" if can_print("█▏", stream) else " #"
    filled, part = divmod(round(share * room * (len(blocks) - 1)), len(blocks) - 1)
    return (blocks[-1] * filled + blocks[part]).rstrip()


def coloured(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def style(text: str, code: str, stream: TextIO) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if text and coloured(stream) else text


def can_print(text: str, stream: TextIO | None = None) -> bool:
    try:
        text.encode((stream or sys.stdout).encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def columns(text: str) -> int:
    """The terminal columns that a text takes."""
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def printable(piece: bytes) -> str:
    """A token's bytes for the eye: line breaks, controls and bytes that are no character are written as escapes."""
    text = piece.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_json(**fields: Any) -> None:
    """Print one JSON object, in characters that stdout can show."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json_text(fields, ensure_ascii=ascii_only))
