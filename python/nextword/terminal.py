"""Text for a terminal: progress, colour, column widths, JSON. Knows no model."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO


@contextlib.contextmanager
def progress(label: str) -> Iterator[None]:
    """Say on stderr what takes longer than a second: with running seconds on a terminal, else one line."""
    import threading

    done = threading.Event()
    started = time.perf_counter()
    out = sys.stderr

    def show() -> None:
        if done.wait(1.0):
            return
        if not out.isatty():
            print(f"nextword: {label} ...", file=out, flush=True)
            return
        while not done.wait(0.2):
            print(f"\r{label} ... {time.perf_counter() - started:.0f} s", end="", file=out, flush=True)
        print("\r\x1b[K", end="", file=out, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def coloured(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def style(text: str, code: str, stream: TextIO) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if text and coloured(stream) else text


def can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
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
    import json

    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(fields, ensure_ascii=ascii_only, default=lambda x: x.tolist()))
