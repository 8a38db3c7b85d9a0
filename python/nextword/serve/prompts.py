"""The forms in which texts come: a text, texts, ids, lists of ids, or none. JSON types alone do not tell them apart."""

from __future__ import annotations

from typing import Any

from nextword.serve.bounds import PROMPTS
from nextword.serve.errors import wrong

Given = str | list[int]
FORMS = "a text, a list of texts, a list of token ids or a list of such lists"


def prompts(param: str, value: Any, most: int = PROMPTS) -> list[Given]:
    """Each text, as it is or as ids. None is one without a token. Raises Refused that names `param`.

    >>> prompts("prompt", None), prompts("prompt", "a"), prompts("prompt", [1, 2]), prompts("prompt", [[1], [2, 3]])
    ([[]], ['a'], [[1, 2]], [[1], [2, 3]])
    """
    if value is None:
        return [[]]
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise wrong(param, FORMS, value)
    if _is_id(value[0]):
        return [_ids(param, value)]
    if len(value) > most:
        raise wrong(param, f"at most {most} texts", f"{len(value)} texts")
    if isinstance(value[0], str):
        for one in value:
            if not isinstance(one, str):
                raise wrong(param, FORMS, one)
        return list(value)
    return [_ids(param, one) for one in value]


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ids(param: str, value: Any) -> list[int]:
    if not isinstance(value, list) or not value:
        raise wrong(param, FORMS, value)
    for one in value:
        if not _is_id(one):
            raise wrong(param, FORMS, one)
    return value
