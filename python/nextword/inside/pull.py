"""Where contexts pull a word: its vector after each layer, compared with reference words and drawn on a plane.

A word sees what stands before it and nothing else: contexts that differ behind it leave it the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Doubles, Floats
from nextword.arithmetic.vectors import cosine_similarity
from nextword.inside.host import Host, prompt_ids, shown_token
from nextword.inside.pictures import Pictured
from nextword.inside.plane import Axes, Plane, plane
from nextword.inside.scatter import Scatter
from nextword.inside.tables import Table, visible
from nextword.inside.words import Word, embedding, word_ids, word_text
from nextword.machine import memory
from nextword.machine.shown import shown
from nextword.models.passes import read
from nextword.models.trace import trace
from nextword.text.ids import Prompt


@dataclass(frozen=True, eq=False)
class Pull(Pictured):
    """A word's way through the layers in several contexts.

    contexts, positions: the contexts, and where in each the word's last token stands. towards: the reference words.
    names: of the activations that are the rows, the sum of embeddings before the first layer, then what follows each.
    vectors: float32 [contexts, rows, width], those activations at the word. references: float32 [words, width], the
    embeddings of the reference words.
    cosines: float64 [contexts, rows, words], of the word's vector and each reference word.
    between: float64 [rows, contexts, contexts], of the word's vectors in two contexts: 1 where they are the same.
    plane: two axes; path: float64 [contexts, rows, 2], points: float64 [words, 2], coordinates on it of the vectors and
        of the references, each divided by its length, as a cosine does.
    same: pairs of contexts in which the same stands before the word, so that they cannot differ.
    """

    word: str
    contexts: list[Prompt]
    positions: list[int]
    towards: list[str]
    names: list[str]
    vectors: Floats
    references: Floats
    cosines: Doubles
    between: Doubles
    plane: Plane
    path: Doubles
    points: Doubles
    same: list[tuple[int, int]]

    def picture(self) -> Scatter:
        """The reference words as points, the word's way in each context as a path."""
        notes = [f"contexts {i} and {j} are the same up to the word" for i, j in self.same]
        notes += [self.plane.note] if self.plane.note else []
        paths = [(_text(context), path) for context, path in zip(self.contexts, self.path, strict=True)]
        return Scatter(self.points, self.towards, self.plane.labels, paths, f"{self.word}: directions of its vectors",
                       "; ".join(["a path begins before the first layer, at the ring", *notes]))

    def table(self) -> Table:
        """The cosines, a row an activation, a column a context and reference word."""
        texts = [_text(context) for context in self.contexts]
        head = ["activation", *(f"{visible(word)} in “{text}”" for word in self.towards for text in texts)]
        rows = [[name, *self.cosines[:, row].T.ravel().tolist()] for row, name in enumerate(self.names)]
        return Table(head, rows, f"cosine of {self.word} and other words")

    def _repr_html_(self) -> str:
        return self.picture().html() + self.table().html()


def pull(host: Host, word: Word, contexts: Sequence[Prompt], towards: Sequence[Word], axes: Axes = None) -> Pull:
    """A word's vectors in contexts; see `LanguageModel.pull`."""
    for what, given in (("contexts", contexts), ("towards", towards)):
        if not isinstance(given, list | tuple) or not given:
            raise ValueError(f"pull: {what} must be a list of at least one, got {shown(given)}")
    named = [word_ids("pull", "each of towards", host, one) for one in towards]
    references = np.stack([embedding(host, ids) for ids in named])
    up_to = [_up_to(host, word, context) for context in contexts]
    model = host.model
    names = ["h.0.resid_pre", *(f"h.{layer}.resid_post" for layer in range(model.layers))]
    rows = len(names) * (11 * len(contexts) + max(map(len, up_to)))  # kept and drawn; recorded of one context
    memory.require("pull", f"a word in {len(contexts):,} contexts", 4 * model.width * rows, "take fewer or shorter")
    vectors = np.empty((len(contexts), len(names), model.width), np.float32)
    for i, ids in enumerate(up_to):
        with trace(model, names) as found:
            read(model, np.array(ids, np.int64), model.cache(1, len(ids)))
        for row, name in enumerate(names):
            vectors[i, row] = found[name][-1]
    between = np.stack([cosine_similarity(rows, rows) for rows in vectors.swapaxes(0, 1)])
    directions, ends = _unit(vectors), _unit(references)
    through = plane("pull", host, np.concatenate([directions.reshape(-1, model.width), ends]), axes)
    same = [(i, j) for j in range(len(up_to)) for i in range(j) if up_to[i] == up_to[j]]
    text = word.strip() if isinstance(word, str) else word_text(host, word_ids("pull", "word", host, word))
    return Pull(text, list(contexts), [len(ids) - 1 for ids in up_to], [word_text(host, ids) for ids in named], names,
                vectors, references, cosine_similarity(vectors, references), between, through,
                through.points(directions), through.points(ends), same)


def _up_to(host: Host, word: Word, context: Prompt) -> list[int]:
    """The ids of a context up to the last token of the word where it stands last."""
    ids = prompt_ids("pull", host, context)
    if isinstance(word, str) and isinstance(context, str):
        if not word.strip():
            raise ValueError(f"pull: word must be a word, got {word!r}")
        found = [one.end() for one in re.finditer(rf"(?<!\w){re.escape(word.strip())}(?!\w)", context)]
        if not found:
            raise ValueError(f"pull: each context must hold the word {word.strip()!r}, got {context!r}")
        assert host.tokenizer is not None
        _, offsets = host.tokenizer.encode_with_offsets(context, add_special_tokens=False)
        end = len(context[: found[-1]].encode())
        within = sum(begin < end for begin, _ in offsets)
        return ids[: len(ids) - len(offsets) + within]
    wanted = word_ids("pull", "word", host, word)
    for end in range(len(ids), len(wanted) - 1, -1):
        if ids[end - len(wanted) : end] == wanted:
            return ids[:end]
    raise ValueError(f"pull: each context must hold the ids {wanted} of the word, got "
                     f"{shown(context)} with {[shown_token(host, i) for i in ids][:12]}")


def _unit(vectors: Any) -> Doubles:
    x = np.asarray(vectors, np.float64)
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def _text(context: Any) -> str:
    return context if isinstance(context, str) else str(list(context))
