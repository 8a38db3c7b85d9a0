"""Texts that a user hands to a command: words, escapes, stdin, files. One place that reads and checks them."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from nextword.cli.terminal import progress

LIMIT = 1 << 28  # bytes of a text; a model would read as much for days
ESCAPES = r"\n \t \r \\ \xNN \uNNNN"


def from_argument(text: str) -> str:
    """A word of the command line: its bytes as UTF-8, whatever the locale. Raises ValueError where they are not."""
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError as error:
        start = error.start
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise ValueError(f"the text is not valid UTF-8 after {text[:start]!r}") from None


def said(text: str) -> str:
    """A text of the command line. A converter for argparse."""
    try:
        return from_argument(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def unescaped(text: str) -> str:
    r"""A text in which \n, \t, \r, \\, \xNN (a byte) and \uNNNN stand for what a shell makes hard to type.

    A converter for argparse: an empty text and any other escape are errors.

    >>> unescaped(r"a\tb\u00e9\xc3\xa9\\n")
    'a\tbéé\\n'
    """
    try:
        found = _ESCAPE.sub(_character, from_argument(text))
        found = found.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"expected escapes that make UTF-8 text, got {text!r}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not found:
        raise argparse.ArgumentTypeError("expected a text, got an empty one")
    return found


_UNIT = "u[0-9a-fA-F]{4}"
_ESCAPE = re.compile(rf"\\(x[0-9a-fA-F]{{2}}|{_UNIT}(?:\\{_UNIT})*|.?)", re.S)


def _character(found: re.Match[str]) -> str:
    name = found[1]
    if len(name) == 1 and name in "ntr\\":
        return {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}[name]
    if name[:1] == "x" and len(name) == 3:
        value = int(name[1:], 16)
        return chr(value if value < 0x80 else 0xDC00 + value)  # a byte as "surrogateescape" has it
    if name[:1] == "u" and len(name) > 1:  # several in a row: a pair of surrogates is one character
        units = b"".join(int(unit[1:], 16).to_bytes(2, "little") for unit in re.findall(_UNIT, name))
        return units.decode("utf-16-le")
    raise ValueError(f"expected one of the escapes {ESCAPES}, got {found[0]!r}; write \\\\ for a backslash")


def given_text(words: list[str]) -> str | None:
    """The words as one text; what stdin holds for a lone `-`, or where there are no words and stdin is no terminal.

    A byte order mark and one line end at the end of stdin are dropped. None where nothing is given: no words, and stdin
    is a terminal, empty, closed or cannot be read.
    """
    if words and words != ["-"]:
        return from_argument(" ".join(words))
    text = stdin_text(asked=bool(words))
    return text if text is None else re.sub(r"\r?\n\Z", "", text)


def stdin_text(asked: bool) -> str | None:
    """All of stdin but a byte order mark, or None where there is nothing. asked: the user named it, so that it is an
    error where it cannot be read, and empty where it is empty."""
    stream: Any = sys.stdin
    try:
        terminal = bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        terminal = False
    if terminal and not asked:
        return None
    try:
        if stream is None or getattr(stream, "closed", False):
            raise OSError("it is closed")
        if not hasattr(stream, "buffer"):  # an object in its place that gives characters
            text = str(stream.read())
            return text.removeprefix("\ufeff") if text or asked else None
        with contextlib.nullcontext() if terminal else progress("reading stdin"):
            raw = _read(stream.buffer, "stdin")
    except OSError as error:
        if asked:
            raise ValueError(f"stdin cannot be read: {error.strerror or error}") from None
        return None
    return None if not raw and not asked else _decoded(raw, "stdin")


def stdin_lines(asked: bool) -> Iterator[str]:
    """The lines of stdin as they come, without their ends and a byte order mark; none where it is closed. asked:
    nothing else is given, so that it is an error where it cannot be read. Raises ValueError for bytes that are not
    UTF-8 and a line that is too long."""
    stream: Any = sys.stdin
    if stream is None or getattr(stream, "closed", False):
        return
    source = getattr(stream, "buffer", stream)
    number = 0
    try:
        while line := source.readline(LIMIT + 1):
            number += 1
            if len(line) > LIMIT:
                raise ValueError(f"line {number} of stdin holds more than {LIMIT >> 20} MiB; give a part of it")
            text = line if isinstance(line, str) else _decoded(line, f"line {number} of stdin")
            yield (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
    except OSError as error:
        if not asked and not number:
            return
        raise ValueError(f"stdin cannot be read: {error.strerror or error}") from None


def file_text(path: Path) -> str:
    """All of a text file, or of a pipe, but a byte order mark. Raises OSError or ValueError that names it."""
    with path.open("rb") as file:
        if stat.S_ISCHR(os.fstat(file.fileno()).st_mode) or stat.S_ISBLK(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is a device; give a file")
        return _decoded(_read(file, str(path)), str(path))


def _read(file: BinaryIO, name: str) -> bytes:
    parts: list[bytes] = []
    for part in _parts(file):
        parts.append(part)
        if sum(map(len, parts)) > LIMIT:
            raise ValueError(f"{name} holds more than {LIMIT >> 20} MiB; give a part of it")
    return b"".join(parts)


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(1 << 24):
        yield part


def _decoded(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text from byte {error.start} on") from None
