"""Words as vectors: a token's embedding, the tokens whose embeddings are nearest to a vector, and a - b + c."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Doubles, Floats
from nextword.arithmetic.vectors import KINDS, Similarity, descending, similarity
from nextword.inside.host import Host, shown_token, token_of
from nextword.inside.pictures import Bars, Pictured
from nextword.machine.shown import is_integer, shown
from nextword.models.layers import Embedding
from nextword.models.parts import parts_of
from nextword.text.ids import check_ids, fragment
from nextword.text.no_vocabulary import NoVocabularyError

Word = str | int | Sequence[int]
"""The text of one token, its id, or the ids of several, whose embeddings are averaged."""

PIECE = 4096  # embeddings that are compared at once


@dataclass(frozen=True, eq=False)
class Neighbours(Pictured):
    """The tokens whose embeddings are most similar to a vector, the most similar first.

    of: what they are near to, in words. tokens: ids. texts: of each. similarities: float64 [tokens]. kind: by which
    measure, see `nextword.similarity`. Iterates over pairs of text and similarity.
    """

    of: str
    tokens: list[int]
    texts: list[str]
    similarities: Doubles
    kind: Similarity

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(list(zip(self.texts, self.similarities.tolist(), strict=True)))

    def __len__(self) -> int:
        return len(self.tokens)

    def picture(self) -> Bars:
        """A bar a token."""
        return Bars(self.texts, self.similarities.tolist(), f"nearest to {self.of}", self.kind.replace("_", " "))


def embeddings(model: Any, ids: Sequence[int] | NDArray[np.integer[Any]]) -> Floats:
    """The embeddings of tokens, without their positions: float32 [tokens, width]."""
    layer = next(parts_of(model, Embedding))
    found: Floats = layer.ops.embedding(np.asarray(ids, np.int64), None, layer.tokens, None)
    return found


def word_ids(op: str, what: str, host: Host, word: Word) -> list[int]:
    """The tokens that a word in an argument stands for, at least one.

    Raises ValueError for a text of several tokens, with those and the way out; TypeError or IndexError for other ids.
    """
    if isinstance(word, str) and host.tokenizer is not None:
        ids = fragment(host.tokenizer, word)
        if len(ids) != 1:
            raise ValueError(f"{op}: {what} must be one token, got {word!r}, which is {len(ids)}"
                             f"{_way_out(host, word, ids)}")
        return ids
    if isinstance(word, str):
        raise NoVocabularyError(f"{op}: a text needs", "pass token ids")
    if is_integer(word):
        return [token_of(op, what, host, word)]  # type: ignore[arg-type]
    every: Any = word
    fits = isinstance(word, list | tuple | np.ndarray) and len(word) and all(map(is_integer, word))
    if not fits:
        raise TypeError(f"{op}: {what} must be the text of one token, its id, or the ids of a word, got {shown(word)}")
    ids = [int(i) for i in every]
    check_ids(op, what, ids, host.model.vocabulary)
    return ids


def word_text(host: Host, ids: Sequence[int]) -> str:
    """The text of a word's tokens."""
    return "".join(shown_token(host, token) for token in ids)


def embedding(host: Host, word: Word, op: str = "embedding", what: str = "word") -> Floats:
    """A word's embedding: float32 [width], of several tokens their mean. Errors as `word_ids`."""
    found = embeddings(host.model, word_ids(op, what, host, word))
    return found[0] if len(found) == 1 else np.asarray(found.mean(0, dtype=np.float64), np.float32)


def neighbours(host: Host, word: Word | NDArray[np.floating[Any]], count: int = 10, exclude: bool = True,
               kind: Similarity = "cosine") -> Neighbours:
    """The tokens nearest to a word or a vector; see `LanguageModel.neighbours`."""
    if isinstance(word, np.ndarray) and np.issubdtype(word.dtype, np.floating):
        width = embeddings(host.model, [0]).shape[1]
        if word.shape != (width,):
            raise ValueError(f"neighbours: word must be a word or a vector [{width}], got shape {list(word.shape)}")
        return _nearest("neighbours", host, word, "the vector", count, [], kind)
    ids = word_ids("neighbours", "word", host, word)  # type: ignore[arg-type]
    return _nearest("neighbours", host, embedding(host, ids), word_text(host, ids), count, ids if exclude else [], kind)


def analogy(host: Host, start: Word, minus: Word, plus: Word, count: int = 10, exclude: bool = True,
            kind: Similarity = "cosine") -> Neighbours:
    """The tokens nearest to start - minus + plus; see `LanguageModel.analogy`."""
    given = {"start": start, "minus": minus, "plus": plus}
    ids = [word_ids("analogy", what, host, word) for what, word in given.items()]
    a, b, c = (np.asarray(embedding(host, one), np.float64) for one in ids)
    first, second, third = (word_text(host, one) for one in ids)
    taken = [token for one in ids for token in one] if exclude else []
    return _nearest("analogy", host, a - b + c, f"{first} -{second} +{third}", count, taken, kind)


def _nearest(op: str, host: Host, vector: NDArray[np.floating[Any]], of: str, count: int, without: list[int],
             kind: Similarity) -> Neighbours:
    size = host.model.vocabulary
    if not is_integer(count) or count < 1:
        raise ValueError(f"{op}: count must be an integer from 1 on, got {shown(count)}")
    if kind not in KINDS:
        raise ValueError(f"{op}: kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    found = np.empty(size)
    for begin in range(0, size, PIECE):
        some = np.arange(begin, min(begin + PIECE, size))
        found[some] = similarity(vector, embeddings(host.model, some), kind)
    found[without] = np.nan
    order = [int(i) for i in descending(found)[:count] if not np.isnan(found[i])]
    return Neighbours(of, order, [shown_token(host, i) for i in order], found[order], kind)


def _way_out(host: Host, word: str, ids: list[int]) -> str:
    """The tokens of a text, and what to pass in its place."""
    if not ids:
        return "; pass a word"
    assert host.tokenizer is not None
    shown_ids = " ".join(repr(shown_token(host, token)) for token in ids)
    spaced = f" {word.strip()}"
    if word != spaced and len(fragment(host.tokenizer, spaced)) == 1:
        return f": {shown_ids}; with a space before it, {spaced!r} is one"
    return f": {shown_ids}; pass the ids {ids} for the mean of their embeddings, or another word"
