"""What a request is refused with: OpenAI's error object, `{"error": {message, type, param, code}}`, and its status."""

from __future__ import annotations

import re
from typing import Any

from nextword.machine.shown import shown

# status -> type, as OpenAI's API and its clients know them; others from 500 on are server_error.
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
         499: "cancelled"}
# What the library calls it, and what a request does.
NAMES = {"max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens", "json_schema": "response_format",
         "text": "input", "choice": "choices"}


class Refused(Exception):  # noqa: N818 - it says what happened
    """A request that is not answered as asked. param: the field at fault; code: a word for programs; headers: further
    ones of the response."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None,
                 headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, headers

    @property
    def type(self) -> str:
        """The kind of error.

        >>> Refused(400, "").type, Refused(503, "").type
        ('invalid_request_error', 'server_error')
        """
        return TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")

    def answer(self) -> dict[str, Any]:
        """The body.

        >>> Refused(400, "n: too many", "n", "invalid_value").answer()["error"]["param"]
        'n'
        """
        return {"error": {"message": str(self), "type": self.type, "param": self.param, "code": self.code}}


def wrong(param: str, expected: str, got: Any, code: str = "invalid_value") -> Refused:
    """The error of one field: what was expected, and what was given, shortened."""
    return Refused(400, f"{param} must be {expected}, got {shown(got)[:80]}", param, code)


def unsupported(param: str, why: str) -> Refused:
    """The error of a field that this server knows and does not have."""
    return Refused(400, f"{param} is not supported: {why}", param, "unsupported_parameter")


def refused(error: BaseException, fields: tuple[str, ...] = ()) -> Refused:
    """What an exception becomes. The library's begin with the operation and name the argument, as in "sampling: n must
    be ..."; what does not is a fault of the program. fields: of the request, one of which `param` is.

    >>> refused(ValueError("sampling: max_new_tokens must be >= 0, got -1"), ("max_tokens",)).param
    'max_tokens'
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, MemoryError):
        return Refused(507, str(error) or "out of memory", None, "out_of_memory")
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, ImportError):
        return Refused(400, said, _param(said, fields), "missing_extra")
    of_library = isinstance(error, ValueError | TypeError | IndexError | OverflowError)
    found = re.match(r"[A-Za-z][\w.]*: ", said)
    if of_library and found:
        return Refused(400, said[:2000], _param(said, fields), "invalid_value")
    return Refused(500, f"an error of the server ({type(error).__name__})", None, "internal_error")


def _param(said: str, fields: tuple[str, ...]) -> str | None:
    for word in re.findall(r"\w+", said):
        name: str = NAMES.get(word, word)
        if name in fields:
            return name
    return None
