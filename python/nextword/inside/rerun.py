"""A prompt's pass through a model, and further passes with changed activations, each begun at the lowest changed layer.
What is changed, and what is made of the logits, is elsewhere."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.machine import memory
from nextword.models.model import Inputs, Model, Past
from nextword.models.passes import CHUNK
from nextword.models.rows import Rows
from nextword.models.trace import Array, Rule, Tap, tap_of

Variant = Sequence[Rule]  # what is changed in one pass, each rule with the name of its activation
Progress = Callable[[int, int], None]
MOST = 2**20
"""Tokens that one scan may send through a model: half an hour's work for GPT-2 124M on two cores."""

_IN_LAYER = re.compile(r"h\.(\d+)\.")


class Watch(Tap):
    """Shows what has these names to a function, which keeps what it wants of it; nothing is changed."""

    looks = True

    def __init__(self, names: Iterable[str], see: Callable[[str, Array], None]) -> None:
        self._names, self._see = frozenset(names), see

    def wants(self, name: str) -> bool:
        """Whether the name is one of them."""
        return name in self._names

    def __call__(self, name: str, x: Array) -> Array:
        """Show one activation."""
        if name in self._names:
            self._see(name, x)
        return x


class Edits(Tap):
    """Changes activations of sequences of equal length that go through a model side by side, each by rules of its own.

    rows: those of one sequence.
    """

    looks = replaces = True

    def __init__(self, variants: Sequence[Variant], rows: Rows) -> None:
        self._count, self._rows = len(variants), rows
        self._rules: dict[str, dict[int, list[Rule]]] = {}
        for number, variant in enumerate(variants):
            for rule in variant:
                self._rules.setdefault(rule.name or "", {}).setdefault(number, []).append(rule)

    def wants(self, name: str) -> bool:
        """Whether one of the sequences has it changed."""
        return name in self._rules

    def __call__(self, name: str, x: Array) -> Array:
        """Change one activation of all sequences where it belongs to one that has it changed."""
        if name not in self._rules:
            return x
        new = x.reshape(*x.shape[:-2], self._count, -1, x.shape[-1]).copy()  # [..., sequences, tokens, features]
        rows = self._rows if new.shape[-2] == len(self._rows.slots) else self._rows.only(slice(-1, None))
        for number in self._rules[name]:
            new[..., number, :, :] = self.changed(name, new[..., number, :, :], number, rows)
        return new.reshape(x.shape)

    def changed(self, name: str, x: Array, number: int, rows: Rows) -> Array:
        """An activation of one sequence, x itself where nothing changes it."""
        for rule in self._rules.get(name, {}).get(number, ()):
            x = rule.applied(name, x, rows, {})
        return x

    def only(self, some: Any) -> Tap:
        """The tap for what is shown of one sequence alone, the rows of this slice."""
        return _Alone(self, some.start // len(self._rows.slots), self._rows)


class _Alone(Tap):
    """Changes activations of one of the sequences."""

    looks = replaces = True

    def __init__(self, edits: Edits, number: int, rows: Rows) -> None:
        self._edits, self._number, self._rows = edits, number, rows

    def __call__(self, name: str, x: Array) -> Array:
        return self._edits.changed(name, x, self._number, self._rows)


class Rerun:
    """A prompt that a model has read once, and reads again with changes; layers below a change are not computed again.

    ids: the prompt's, at least one, at most the context window. keep: names of activations that `kept` holds as the prompt's own pass has them.
    logits: float32 [vocabulary], those behind the last token of the prompt's own pass.
    A pass has the bits that it would have alone and from the first layer on: see the numeric promise. It uses caches of
    its own, and what traces of the calling context ask for is not shown to them.
    Raises MemoryError for more activations than there is memory, RuntimeError within a trace that replaces some.
    """

    def __init__(self, op: str, model: Model, ids: Sequence[int], keep: Iterable[str] = ()) -> None:
        if tap_of(model).replaces:
            raise RuntimeError(f"{op}: it must stand outside of a trace that replaces activations; "
                               "end the trace, and say here what is changed")
        self.op, self.model, self.ids = op, model, np.array(ids, np.int64)
        self.kept: dict[str, Array] = {}
        rows = len(ids) * (model.layers * model.width + model.widest)
        memory.require(op, f"the activations of {len(ids)} tokens", 4 * rows, "shorten the prompt")
        self._entering: list[Floats] = []  # what goes into each layer [tokens, width], and at last out of all
        cache, watch = model.cache(1, len(ids)), Watch(keep, self.kept.__setitem__)
        inputs, past = self._inputs(1), Past(cache, np.zeros(1, np.int64), np.array([len(ids)]))
        x = model.begin(inputs, watch)
        for layer in range(model.layers):
            self._entering.append(x)
            x = model.block(layer, x, past, watch)
        self._entering.append(x)
        self.logits: Floats = model.end(x[inputs.wanted], watch)[0]

    def changed(self, variants: Iterable[Variant]) -> Iterator[Floats]:
        """float32 [vocabulary] for each variant, in their order: the logits behind the last token of its pass.

        Variants that follow one another and begin at the same layer go through the model together.
        """
        cache = None
        for group, start in self._groups(variants):
            if cache is None or len(cache.lengths) < len(group):
                cache = self.model.cache(len(group), len(self.ids))
            cache.lengths[:] = 0
            slots = np.arange(len(group))
            yield from self._run(group, start, Past(cache, slots, np.full(len(group), len(self.ids))))

    def _run(self, group: Sequence[Variant], start: int, past: Past) -> Floats:
        tokens = len(self.ids)
        rows = Rows(self, np.zeros(tokens, np.int64), np.arange(tokens), np.full(tokens, tokens))
        model, tap, inputs = self.model, Edits(group, rows), self._inputs(len(group))
        x = model.begin(inputs, tap) if start < 0 else np.tile(self._entering[start], (len(group), 1))
        for layer in range(max(0, start), model.layers):
            x = model.block(layer, x, past, tap)
        logits: Floats = model.end(x[inputs.wanted], tap)
        return logits

    def _inputs(self, count: int) -> Inputs:
        """The tokens of the prompt so many times; the last of each gives logits."""
        tokens = len(self.ids)
        return Inputs(np.tile(self.ids, count), np.tile(np.arange(tokens), count),
                      np.arange(1, count + 1) * tokens - 1)

    def _groups(self, variants: Iterable[Variant]) -> Iterator[tuple[list[Variant], int]]:
        """Neighbours that begin at the same layer, CHUNK tokens of them or one, and that layer."""
        group: list[Variant] = []
        most, at = max(1, CHUNK // len(self.ids)), 0
        for variant in variants:
            start = self.start(variant)
            if group and (start != at or len(group) == most):
                yield group, at
                group = []
            group.append(variant)
            at = start
        if group:
            yield group, at

    def start(self, variant: Variant) -> int:
        """The layer from which on a variant is computed: -1 is before the first, `layers` behind the last."""
        return min((self._layer(rule.name or "") for rule in variant), default=self.model.layers)

    def _layer(self, name: str) -> int:
        found = _IN_LAYER.match(name)
        return int(found[1]) if found else self.model.layers if name == "logits" else -1


def bounded(op: str, runs: int, tokens: int, way_out: str) -> None:
    """Raises ValueError where a scan would send more than MOST tokens through the model.

    >>> bounded("patch", 40, 10, "shorten the prompt")
    """
    if runs * tokens > MOST:
        raise ValueError(f"{op}: expected {MOST:,} tokens through the model at most, got {runs:,} runs of {tokens:,}, "
                         f"which are {runs * tokens:,}; {way_out}")


def counted(found: Iterable[Floats], total: int, progress: Progress | None) -> Iterator[Floats]:
    """The same, one by one; `progress` is called with (done, total) as each is there."""
    for done, one in enumerate(found, 1):
        if progress is not None:
            progress(done, total)
        yield one
