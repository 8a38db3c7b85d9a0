"""What the page is refused with: a code that it words in its language, a status of HTTP, and a message for a log."""

from __future__ import annotations

import re
from typing import Any

# code -> status. The page has a text for each, in every language.
CODES = {
    "bad_argument": 400,  # argument, message
    "empty_prompt": 400,
    "too_long": 400,  # tokens, window
    "no_tokenizer": 400,
    "not_one_token": 400,  # argument, word, tokens
    "unknown_intervention": 400,  # name
    "key": 401,
    "origin": 403,
    "not_found": 404,
    "method": 405,
    "gone": 410,  # run: evicted, send it again
    "too_large": 413,
    "not_json": 415,
    "host": 421,
    "not_finite": 422,  # name: the first activation that is not finite
    "busy": 429,  # waiting
    "cancelled": 499,
    "internal": 500,
    "memory": 507,
}


class Refused(Exception):  # noqa: N818 - it says what happened
    """A request that is not answered. code: one of `CODES`; more: what the page says with it."""

    def __init__(self, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code, self.status, self.more = code, CODES[code], more

    def answer(self) -> dict[str, Any]:
        """As `answers.Failure`, in JSON.

        >>> Refused("too_long", "run: 618 tokens", tokens=618, window=512).answer()
        {'error': {'code': 'too_long', 'message': 'run: 618 tokens', 'tokens': 618, 'window': 512}}
        """
        return {"error": {"code": self.code, "message": str(self), **self.more}}


def refused(error: BaseException) -> Refused:
    """What an exception becomes. The library's begin with the operation, as in "lens: top must be ..."; others are
    faults of the program."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, MemoryError):
        return Refused("memory", str(error) or "out of memory")
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    of_library = isinstance(error, ValueError | TypeError | IndexError | KeyError | OverflowError | RuntimeError)
    if of_library and re.match(r"[A-Za-z][\w.\[\]]*: ", said):
        return Refused("bad_argument", said[:500])
    return Refused("internal", type(error).__name__)
