"""Standard output and error that a command can rely on, whatever was closed, piped or put in their place."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class Output:
    """A text stream that has all that commands call, over one that may be None or lack some of it.

    A character that the stream's encoding lacks is written as "?". What cannot be written raises OSError with a message
    for the user, BrokenPipeError where the reader went away; with `quiet` it is dropped.
    """

    def __init__(self, stream: Any, name: str, quiet: bool = False) -> None:
        self.stream, self.name, self.quiet = stream, name, quiet

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @property
    def encoding(self) -> str:
        """The stream's; "utf-8" for one that takes characters as they are."""
        name = getattr(self.stream, "encoding", None) or "utf-8"
        try:
            return codecs.lookup(name).name
        except (LookupError, TypeError):
            return "ascii"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return bool(self.stream.isatty())
        except (AttributeError, ValueError, OSError):
            return False

    def write(self, text: str) -> int:
        """Write all of it."""
        with self._told():
            if self.stream is None:
                raise OSError(errno.EBADF, "it is closed")
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                self.stream.write(text.encode("ascii", "replace").decode())
        return len(text)

    def flush(self) -> None:
        """Hand on what is written, where the stream holds it back."""
        with self._told():
            if hasattr(self.stream, "flush"):
                self.stream.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: a file object that was closed
            if self.quiet:
                give_up(self)
                return
            if isinstance(error, BrokenPipeError):
                raise
            raise OSError(f"{self.name} cannot be written: {getattr(error, 'strerror', None) or error}") from None


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """sys.stdout and sys.stderr as `Output`, the second quiet: a message that nobody can read stops nothing."""
    before = sys.stdout, sys.stderr
    lenient = [(stream, stream.errors) for stream in before if hasattr(stream, "reconfigure")]
    sys.stdout, sys.stderr = cast(TextIO, Output(before[0], "stdout")), cast(TextIO, Output(before[1], "stderr", True))
    try:
        for stream, _ in lenient:
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream, errors in lenient:
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)


def give_up(stream: Any) -> None:
    """Let what a stream still holds go nowhere: Python would try again at exit, and complain again."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
