"""The body of a request as a struct: JSON read once, and errors that name the field."""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar

import msgspec
import numpy as np

from nextword.serve.bounds import CONTAINERS
from nextword.serve.errors import Refused, unsupported
from nextword.serve.requests import UNSUPPORTED

Request = TypeVar("Request", bound=msgspec.Struct)


def read(kind: type[Request], body: bytes) -> Request:
    """A struct of its kind. Raises Refused that names the field.

    >>> from nextword.serve.requests import DetokenizeRequest
    >>> read(DetokenizeRequest, b'{"tokens": [1.0, 2]}').tokens
    [1, 2]
    """
    if _containers(body) > CONTAINERS:
        raise Refused(400, f"the body must have at most {CONTAINERS} lists and objects", None, "invalid_json")
    try:
        data = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Refused(400, f"the body must be JSON: {str(error)[:120]}", None, "invalid_json") from None
    if not isinstance(data, dict):
        raise Refused(400, "the body must be a JSON object", None, "invalid_json")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _field(str(error), kind, data) from None


def _containers(body: bytes) -> int:
    """How many lists and objects JSON has. Brackets in texts are looked at only where there are many in all."""
    count = body.count(b"[") + body.count(b"{")
    if count <= CONTAINERS:
        return count
    signs = np.frombuffer(body.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    within = np.logical_xor.accumulate(signs == ord('"'))  # a text
    return int(np.count_nonzero(((signs == ord("[")) | (signs == ord("{"))) & ~within))


def _number(text: str) -> int | float:
    """A number with a point or an exponent. JSON schema counts 1.0 among the integers, and so does this."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large for a number")
    return int(value) if value.is_integer() and abs(value) <= 2**53 else value


_DECODER = msgspec.json.Decoder(float_hook=_number)
_PLACE = re.compile(r" - at `(?:key` in `)?\$\.?(.*?)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*?)`)?$", re.S)
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$\.?(.*?)`)?$")


def _field(said: str, kind: type[msgspec.Struct], data: dict[str, Any]) -> Refused:
    """The error in the words of this server. said: msgspec's, which ends in the place."""
    if found := _UNKNOWN.match(said):
        name = _joined(found[2], found[1])
        return Refused(400, f"{name[:100]} is no parameter of this request; there are "
                       f"{', '.join(kind.__struct_fields__)}" if not found[2] else f"{name[:100]} is no parameter",
                       name[:100], "unknown_parameter")
    if found := _MISSING.match(said):
        name = _joined(found[2], found[1])
        return Refused(400, f"{name} must be given", name, "missing_required_parameter")
    found = _PLACE.search(said)
    path = found[1] if found else ""
    name = path.split(".")[0].split("[")[0]
    if name in UNSUPPORTED and data.get(name) is not None:
        return unsupported(name, UNSUPPORTED[name])
    if path.endswith(".type") and "messages" in path:
        return Refused(400, f"{path} must be text: the model reads text alone", "messages", "unsupported_parameter")
    wanted = _PLACE.sub("", said)
    return Refused(400, f"{path or 'the body'}: {wanted[0].lower()}{wanted[1:300]}", name or None, "invalid_value")


def _joined(path: str | None, name: str) -> str:
    return f"{path}.{name}" if path else name
