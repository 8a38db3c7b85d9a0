"""What all encoders share: texts of token ids in, a row for each token out. Graphs are elsewhere, heads in heads.py."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops as fast_ops
from nextword.arithmetic import recorder
from nextword.arithmetic.arrays import Floats, Ints
from nextword.arithmetic.formats import PackedBytes
from nextword.machine import stop
from nextword.models.heads import Heads
from nextword.models.network import Network, row_of_ids
from nextword.models.rows import Rows
from nextword.models.tap import NOBODY, Tap
from nextword.models.trace import tap_of


class Texts(NamedTuple):
    """The tokens of a pass, those of all texts one after the other: there is no padding."""

    ids: Ints  # [tokens]
    places: Ints  # [tokens], counted through each text
    types: Ints  # [tokens], which of a pair's texts each is of
    fresh: Ints  # [texts], how many tokens each has


class Encoder(Network):
    """An encoder: token ids in, what it makes of each token, seen from both sides, out.

    Activations have the same names in all of them, and those of decoders as far as they have such a step: tokens,
    places, types, embed_norm, embed, h.0.resid_pre, h.0.attn.q, .k, .v, .scores, .weights, .z, .out, h.0.resid_mid,
    h.0.mlp.fc, .act, .out, h.0.resid_post, hidden, ...

    weights, config, ops, dtype: as of a Network.
    """

    types: int  # of tokens; 1 or less: there is but one
    outputs: Heads  # what reads the hidden states: of masked words, of classes, of tags, the pooler

    def __init__(self, weights: Mapping[str, NDArray[Any] | PackedBytes], config: Any = None, *,
                 ops: ModuleType = fast_ops, dtype: str | None = None) -> None:
        super().__init__(weights, config, ops=ops, dtype=dtype)

    @classmethod
    def own_name(cls, stored: str) -> str | None:
        """The name by which `assemble` asks for a stored tensor; older files call a norm's numbers gamma and beta."""
        name = super().own_name(stored)
        if name is not None:
            for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
                name = name.removesuffix(old) + new if name.endswith(old) else name
        return name

    @abstractmethod
    def graph(self, texts: Texts, tap: Tap) -> Floats:
        """The last hidden states [tokens, width]."""

    def __call__(self, batch: Sequence[NDArray[Any]], types: Sequence[NDArray[Any]] | None = None,
                 tap: Tap | None = None) -> Floats:
        """Run texts through the encoder in one pass.

        batch: int ids [tokens] of each text, of any lengths, at least one; types: of the same shapes, which of a pair's
        texts each token is of; None: all of the first. tap: what this call shows its activations to (None: what the
        context says, see `nextword.trace`).
        Returns float32 [tokens, width], the last hidden states of all texts one after the other. The bits of a text's
        rows do not depend on the others. Threads may call at once.
        Raises IndexError if an id is not in the vocabulary, a type unknown or a text longer than the window, ValueError
        if ids are no integers, a text is empty or types have other shapes, StoppedError if another thread has stopped
        it.
        """
        texts = self._texts(batch, types)
        tap = tap_of(self) if tap is None else tap
        if not tap.looks and hasattr(self.ops, "Program"):
            found: Floats = self.program().run(texts.ids, np.arange(len(texts.fresh)), texts.fresh,
                                               np.empty(0, np.int64), [], None, stop.current(), types=texts.types)
            return found
        number = np.repeat(np.arange(len(texts.fresh)), texts.fresh)
        rows = Rows(object(), number, np.ones(len(number), np.int64), texts.places, texts.fresh[number])
        return self.graph(texts, tap.at(rows))

    def show_one(self, tap: Tap) -> None:
        """Run a text of one token."""
        self([np.zeros(1, np.int64)], None, tap)

    def _texts(self, batch: Sequence[NDArray[Any]], types: Sequence[NDArray[Any]] | None) -> Texts:
        rows = [row_of_ids(ids) for ids in batch]
        fresh = np.array([len(ids) for ids in rows], np.int64)
        if fresh.size and not 1 <= fresh.min() <= fresh.max() <= self.limit:
            kind: type[Exception] = ValueError if fresh.min() < 1 else IndexError
            raise kind(f"encoder: a text must have 1 .. {self.limit} tokens, got {fresh.min()} .. {fresh.max()}")
        ids = np.concatenate(rows) if rows else np.empty(0, np.int64)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.vocabulary:
            raise IndexError(f"encoder: ids must be 0 .. {self.vocabulary - 1}, got {ids.min()} .. {ids.max()}")
        places = np.concatenate([np.arange(n) for n in fresh] or [ids])
        kinds = np.zeros(len(ids), np.int64)
        if types is not None:
            given = [row_of_ids(one) for one in types]
            if [len(one) for one in given] != fresh.tolist():
                raise ValueError(f"encoder: types must have the {fresh.tolist()} tokens of the texts, "
                                 f"got {[len(one) for one in given]}")
            kinds = np.concatenate(given) if given else kinds
            if kinds.size and not 0 <= kinds.min() <= kinds.max() < max(1, self.types):
                raise IndexError(f"encoder: types must be 0 .. {max(1, self.types) - 1}, "
                                 f"got {kinds.min()} .. {kinds.max()}")
        return Texts(ids, places, kinds, fresh)

    def recorded(self, program: Any) -> Any:
        """The graph as a program: what a pass brings is not known yet."""
        ids, places, types = (recorder.Numbers(program, name) for name in ("ids", "places", "types"))
        given: Any = Texts(ids, places, types, recorder.Unknown("tokens of each text"))  # type: ignore[arg-type]
        return self.graph(given, NOBODY)
