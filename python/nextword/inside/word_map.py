"""A map of words: their embeddings on a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nextword.arithmetic.arrays import Doubles, Floats
from nextword.inside.host import Host
from nextword.inside.pictures import Pictured
from nextword.inside.plane import Axes, Plane, plane
from nextword.inside.scatter import Scatter
from nextword.inside.words import Word, embedding, word_ids, word_text
from nextword.machine import memory
from nextword.machine.shown import shown


@dataclass(frozen=True, eq=False)
class WordMap(Pictured):
    """Words on a plane.

    texts: of the words. vectors: float32 [words, width], their embeddings. points: float64 [words, 2], coordinates.
    plane: its axes and where its centre lies, the words' mean.
    """

    texts: list[str]
    vectors: Floats
    points: Doubles
    plane: Plane

    def picture(self) -> Scatter:
        """A dot a word."""
        return Scatter(self.points, self.texts, self.plane.labels, title="embeddings", note=self.plane.note)


def word_map(host: Host, words: Sequence[Word], axes: Axes = None) -> WordMap:
    """Words on a plane; see `LanguageModel.word_map`."""
    if isinstance(words, str) or not isinstance(words, list | tuple) or len(words) < 2:
        raise ValueError(f"word_map: words must be a list of at least two words, got {shown(words)}")
    ids = [word_ids("word_map", "each word", host, word) for word in words]
    # float32, in float64 with what is taken off, and the decomposition's three
    memory.require("word_map", f"a map of {len(words):,} words", 44 * len(words) * host.model.width, "take fewer words")
    vectors = np.stack([embedding(host, one) for one in ids])
    found = plane("word_map", host, vectors, axes)
    return WordMap([word_text(host, one) for one in ids], vectors, found.points(vectors), found)
