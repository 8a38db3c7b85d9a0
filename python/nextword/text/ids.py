"""Texts and token ids: prompts and other arguments as ids of a model's vocabulary, and ids as text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.machine.shown import is_integer, shown
from nextword.text.no_vocabulary import NoVocabularyError
from nextword.text.surrogates import joined
from nextword.text.tokenizer import Tokenizer

Prompt = str | Sequence[int] | NDArray[np.integer[Any]]  # a text or its ids
Special = str | Iterable[str] | None  # None: no special token; else as Tokenizer.encode takes allowed_special


def is_batch(texts: Any) -> bool:
    """Whether this is a list of texts, not one text or the ids of one."""
    return isinstance(texts, list | tuple) and (not texts or not is_integer(texts[0]))


def token_ids(op: str, what: str, text: Any, tokenizer: Tokenizer | None, size: int, allowed_special: Special = (),
              begins: bool = False) -> list[int]:
    """The ids of a text, or of a sequence of ids, checked.

    op, what: how an error calls the operation and the argument. size: of the model's vocabulary. allowed_special: the
    special tokens whose names in a text stand for them ("all", or some); by default text stays text. begins: whether a
    text starts here, so that the ids that the tokenizer begins every text with are put in front; those that end a text
    are never appended, as it is to go on.
    Raises ValueError for a text without a tokenizer, TypeError for anything else, IndexError for an id beyond `size`.
    """
    if isinstance(text, str):
        if tokenizer is None:
            raise NoVocabularyError(f"{op}: a text needs", "pass token ids")
        ids = tokenizer.encode(text, allowed_special=allowed_special or (), add_special_tokens=False)
        if begins:
            ids = [*tokenizer.beginning, *ids]
    else:
        if isinstance(text, np.ndarray):
            fits = text.ndim == 1 and (not text.size or np.issubdtype(text.dtype, np.integer))
        else:
            fits = isinstance(text, list | tuple | range) and all(map(is_integer, text))
        if not fits:
            raise TypeError(f"{op}: {what} must be a text or a list of integer token ids, got {type(text).__name__}")
        ids = [int(i) for i in text]
    check_ids(op, what, ids, size)
    return ids


def check_ids(op: str, what: str, ids: Sequence[int], size: int) -> None:
    """Raises IndexError, which names the first, unless all are ids of a vocabulary of this size."""
    if ids and not (min(ids) >= 0 and max(ids) < size):
        wrong = next(i for i in ids if not 0 <= i < size)
        raise IndexError(f"{op}: {what} must hold token ids 0 .. {size - 1}, got {wrong}")


def fragment(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text that stands by itself in an argument: of a string that is exactly an added token's, that token,
    special or not; of any other as the tokenizer cuts it, nothing put before or behind.

    >>> import nextword
    >>> fragment(nextword.load().tokenizer, "<|endoftext|>"), fragment(nextword.load().tokenizer, " time")
    ([0], [670])
    """
    named = _added(tokenizer).get(joined(text))
    return [named] if named is not None else tokenizer.encode(text, add_special_tokens=False)


def added_token(tokenizer: Tokenizer | None, text: str) -> int | None:
    """The id of the added token that has exactly this text; None if none has."""
    return None if tokenizer is None else _added(tokenizer).get(joined(text))


@lru_cache(maxsize=4)
def _added(tokenizer: Tokenizer) -> dict[str, int]:
    return {token.content: token.id for token in tokenizer.added_tokens}


def end_tokens(op: str, eos: Any, own: frozenset[int], tokenizer: Tokenizer | None, size: int) -> frozenset[int]:
    """The end tokens that `eos` asks for. own: the model's, for "config". Raises ValueError that names the argument."""
    if isinstance(eos, str) and eos == "config":
        return own
    every = [] if eos is None else [eos] if isinstance(eos, str) or is_integer(eos) else eos
    if not isinstance(every, Collection) or isinstance(every, bytes | dict):
        every = [None]
    found = set()
    for one in every:
        ids: Sequence[Any] = [one]
        if isinstance(one, str) and tokenizer is not None:
            ids = fragment(tokenizer, one)
        if len(ids) != 1 or not is_integer(ids[0]) or not 0 <= ids[0] < size:
            told = f"{one!r}, which is {len(ids)} tokens" if len(ids) != 1 else shown(eos)
            raise ValueError(f"{op}: eos must be a token id 0 .. {size - 1}, the text of one token, a list of those, "
                             f'None or "config", got {told}; stop= takes any strings')
        found.add(int(ids[0]))
    return frozenset(found)


def text_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    """Text of any ids, those without a text as replacement characters."""
    try:
        return tokenizer.decode(tokens)
    except IndexError:
        return "".join(token_text(tokenizer, token) for token in tokens)


def text_after(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    """The same of ids that go on after others: the blank of their first word stays, which decode may leave out."""
    try:
        return tokenizer.decode_bytes(tokens).decode("utf-8", "replace")
    except IndexError:
        return "".join(token_text(tokenizer, token) for token in tokens)


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token's text; bytes that are no text of their own as replacement characters."""
    try:
        return tokenizer.decode_bytes([token]).decode("utf-8", "replace")
    except IndexError:  # models pad their vocabulary
        return "\ufffd"
