"""What reads the hidden states of an encoder: heads of masked words, of classes and of tags, and the pooler."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.models.layers import ActivatedLinear, LayerNorm, Linear
from nextword.models.tap import NOBODY, Tap


class MaskedWords:
    """Logits of the word at a token: a layer, an activation, a norm and the vocabulary."""

    def __init__(self, dense: ActivatedLinear, norm: LayerNorm, words: Linear) -> None:
        self.dense, self.norm, self.words = dense, norm, words

    def __call__(self, hidden: Floats, tap: Tap = NOBODY) -> Floats:
        """hidden: [rows, width] of some tokens. Returns float32 [rows, vocabulary]."""
        h = self.norm(self.dense.activated(hidden, tap, "head.fc"))
        return tap("logits", self.words(h))


class Classes:
    """Logits of the classes of a text, by its first token: one layer, or two with an activation between them."""

    def __init__(self, ops: ModuleType, dense: ActivatedLinear | None, out: Linear) -> None:
        self.ops, self.dense, self.out = ops, dense, out

    def __call__(self, hidden: Floats, fresh: Ints, tap: Tap = NOBODY) -> Floats:
        """hidden: [tokens, width] of texts one after the other, fresh: [texts], how many tokens each has. Returns
        float32 [texts, classes]."""
        h = first(self.ops, hidden, fresh)
        if self.dense is not None:
            h = tap("pooled", self.dense.activated(h, tap, "head.fc"))
        return tap("logits", self.out(h))


class Tags:
    """Logits of the classes of each token."""

    def __init__(self, out: Linear) -> None:
        self.out = out

    def __call__(self, hidden: Floats, tap: Tap = NOBODY) -> Floats:
        """hidden: [tokens, width]. Returns float32 [tokens, classes]."""
        return tap("logits", self.out(hidden))


class Pooler:
    """tanh(dense(the first token)), which some encoders were trained with: what transformers calls pooler_output."""

    def __init__(self, ops: ModuleType, dense: ActivatedLinear) -> None:
        self.ops, self.dense = ops, dense

    def __call__(self, hidden: Floats, fresh: Ints) -> Floats:
        """hidden: [tokens, width] of texts one after the other. Returns float32 [texts, width]."""
        return self.dense.activated(first(self.ops, hidden, fresh), NOBODY, "")


@dataclass
class Heads:
    """The heads that an encoder's file has; None for those that it lacks."""

    masked: MaskedWords | None = None
    classes: Classes | None = None
    tags: Tags | None = None
    pooler: Pooler | None = None

    def named(self) -> str:
        """Which there are, in words."""
        words = {"masked": "masked words (fill_mask)", "classes": "classes of a text (classify, rerank)",
                 "tags": "classes of tokens (tag)"}  # fmt: skip
        found = [text for name, text in words.items() if getattr(self, name) is not None]
        return " and ".join(found) or "none but its hidden states (embed, similarity, hidden)"


def first(ops: ModuleType, hidden: Floats, fresh: Ints) -> Floats:
    """The first row of each text."""
    found: Any = ops.pool(hidden, np.ascontiguousarray(fresh, np.int64), "first")
    return np.asarray(found)
