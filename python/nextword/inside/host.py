"""Who is looked into: a model with its tokenizer; and what prompts, words and places mean to it, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from nextword.machine.shown import is_integer, shown
from nextword.models.model import Model
from nextword.text.ids import Prompt, Special, fragment, token_ids, token_text
from nextword.text.no_vocabulary import NoVocabularyError
from nextword.text.tokenizer import Tokenizer


class Host(Protocol):
    """A model and its tokenizer, as a LanguageModel has them."""

    @property
    def model(self) -> Model:
        """The model."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Its tokenizer, None without a vocabulary."""

    @property
    def generate(self) -> Any:
        """Continues prompts; see LanguageModel."""


def prompt_ids(op: str, host: Host, prompt: Prompt, allowed_special: Special = ()) -> list[int]:
    """The ids of a prompt, at least one and at most the context window; before a text stands what begins texts.

    Raises ValueError or IndexError that names `op`.
    """
    model = host.model
    ids = token_ids(op, "prompt", prompt, host.tokenizer, model.vocabulary, allowed_special, begins=True)
    if not 1 <= len(ids) <= model.limit:
        raise ValueError(f"{op}: prompt must be 1 .. {model.limit} tokens (the context window), got {len(ids)}; "
                         f"{'shorten it' if ids else 'give it a word'}")
    return ids


def token_of(op: str, what: str, host: Host, token: str | int) -> int:
    """The id of a token that an argument names, by a text that is one token or by its id.

    Raises ValueError for a text of several tokens, or of none; IndexError for an id that is not in the vocabulary.
    """
    if isinstance(token, str):
        if host.tokenizer is None:
            raise NoVocabularyError(f"{op}: a text needs", "pass a token id")
        ids: Sequence[int] = fragment(host.tokenizer, token)
        if len(ids) != 1:
            raise ValueError(f"{op}: {what} must be one token, got {token!r}, which is {len(ids)} tokens"
                             f"{' ' + str([*ids]) if ids else ''}; pass the id of one")
        return ids[0]
    if not is_integer(token):
        raise TypeError(f"{op}: {what} must be the text of one token or its id, got {shown(token)}")
    if not 0 <= token < host.model.vocabulary:
        raise IndexError(f"{op}: {what} must be a token id 0 .. {host.model.vocabulary - 1}, got {token}")
    return int(token)


def place(op: str, what: str, value: int, size: int) -> int:
    """A layer, head, position or neuron, 0-based; negative ones count from the end. Raises TypeError or IndexError.

    >>> place("lens", "position", -1, 7)
    6
    """
    if not is_integer(value):
        raise TypeError(f"{op}: {what} must be an integer, got {shown(value)}")
    if not -size <= value < size:
        raise IndexError(f"{op}: {what} must be {-size} .. {size - 1}, got {value}")
    return int(value) % size


def places(op: str, what: str, values: int | Sequence[int] | None, size: int) -> list[int]:
    """Several of them: all for None, one for an integer."""
    if values is None:
        return list(range(size))
    if isinstance(values, str) or not (is_integer(values) or hasattr(values, "__iter__")):
        raise TypeError(f"{op}: {what} must be an integer, several or None, got {shown(values)}")
    several: Any = [values] if is_integer(values) else values
    return [place(op, what, one, size) for one in several]


def shown_token(host: Host, token: int) -> str:
    """A token's text; its id in brackets without a vocabulary."""
    return f"[{token}]" if host.tokenizer is None else token_text(host.tokenizer, token)
