"""Who may ask the API: host, origin, key and type of body are held against what the server was started with."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from nextword.page.asgi import Headers, among, is_json, names_us, says_more
from nextword.serve.bounds import BODY
from nextword.serve.errors import Refused

OPEN = ("/health/live",)  # paths that need no key


class Guard:
    """What a request must have.

    keys: any of them lets in; none asks for none. names: of the host, with port. Keys are compared as their SHA-256,
    all of them each time, so that time tells nothing.

    >>> guard = Guard(["secret"], ["127.0.0.1:80"])
    >>> guard.client({b"authorization": [b"Bearer secret"]}, "/v1/models") == guard.client({}, "/health/live")
    False
    """

    def __init__(self, keys: Iterable[str], names: Iterable[str]) -> None:
        self._keys = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._names = {name.lower().encode() for name in names}
        self._origins = {b"http://" + name for name in self._names}

    def admit(self, method: str, path: str, headers: Headers) -> str:
        """The client of a request, a word for each key. Raises Refused."""
        if not names_us(headers, self._names):
            raise Refused(421, "this server answers to its own names alone; --allow-host adds one", None,
                          "unknown_host")
        if not among(headers, b"origin", self._origins) or not among(
                headers, b"sec-fetch-site", (b"same-origin", b"none")):
            raise Refused(403, "this server answers to no foreign page", None, "foreign_origin")
        return self.client(headers, path)

    def body(self, headers: Headers) -> None:
        """Raises Refused for a body that is no JSON, or is announced as too large."""
        if not is_json(headers):
            raise Refused(415, "the body must be of Content-Type application/json", None, "unsupported_media_type")
        if says_more(headers, BODY):
            raise too_large()

    def client(self, headers: Headers, path: str) -> str:
        """A word for the key that a request has. Raises Refused for none, or a wrong one."""
        if not self._keys or path in OPEN:
            return ""
        given = headers.get(b"authorization", [])
        scheme, _, key = given[0].strip().partition(b" ") if len(given) == 1 else (b"", b"", b"")
        found = hashlib.sha256(key.strip()).digest()
        right = [hmac.compare_digest(found, one) for one in self._keys]
        if scheme.lower() != b"bearer" or not key.strip() or not any(right):
            raise Refused(401, "a key is needed: Authorization: Bearer KEY", None, "invalid_api_key",
                          (("www-authenticate", "Bearer"),))
        return found.hex()[:12]


def too_large() -> Refused:
    """The error of a body that is too long."""
    return Refused(413, f"the body must have at most {BODY} bytes", None, "body_too_large")


def api_keys(text: str) -> list[str]:
    """The keys of a file or a variable: one a line, or with commas between them; lines that begin with # say nothing.

    >>> api_keys("# mine\\none, two\\n\\n")
    ['one', 'two']
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [key.strip() for line in lines for key in line.split(",") if key.strip()]
