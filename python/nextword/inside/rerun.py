"""A prompt's pass through a model, and further passes with changed activations, each begun at the lowest changed layer.
What is changed, and what is made of the logits, is elsewhere."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.machine import memory
from nextword.models.cache import KVCache
from nextword.models.model import Model
from nextword.models.passes import CHUNK
from nextword.models.rows import Rows
from nextword.models.tap import Array, Rule, Tap
from nextword.models.trace import tap_of

Variant = Sequence[Rule]  # what is changed in one pass, each rule with the name of its activation
Progress = Callable[[int, int], None]
Item = TypeVar("Item")
MOST = 2**20
"""Tokens that one scan may send through a model: half an hour's work for 124 million parameters on two cores."""

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
    """Changes activations of sequences that go through a model side by side, in slots 0, 1, ..., each by its own rules.

    A rule sees its sequence alone, as if nothing stood beside it.
    """

    looks = replaces = True

    def __init__(self, variants: Sequence[Variant]) -> None:
        self._rules: dict[str, dict[int, list[Rule]]] = {}
        for number, variant in enumerate(variants):
            for rule in variant:
                self._rules.setdefault(rule.name or "", {}).setdefault(number, []).append(rule)

    def wants(self, name: str) -> bool:
        """Whether one of the sequences has it changed."""
        return name in self._rules

    def at(self, rows: Rows) -> Tap:
        """The tap for a pass of these rows."""
        return _EditsAt(self._rules, rows)


class _EditsAt(Edits):
    def __init__(self, rules: dict[str, dict[int, list[Rule]]], rows: Rows) -> None:
        self._rules, self._rows = rules, rows

    def only(self, some: Any) -> Tap:
        return _EditsAt(self._rules, self._rows.only(some))

    def __call__(self, name: str, x: Array) -> Array:
        changed = x
        for number, rules in self._rules.get(name, {}).items():
            own = np.flatnonzero(self._rows.slots == number)
            if len(own):
                where = slice(int(own[0]), int(own[-1]) + 1)  # a sequence's rows follow one another
                old = part = x[..., where, :]
                rows = self._rows.only(where)
                for rule in rules:
                    part = rule.applied(name, part, rows, {})
                if part is not old:
                    changed = x.copy() if changed is x else changed
                    changed[..., where, :] = part
        return changed


class Rerun:
    """A prompt that a model has read once, and reads again with changes; layers below a change are not computed again.

    ids: the prompt's, at least one, at most the context window. keep: names of activations that `kept` holds as the
    prompt's own pass has them.
    logits: float32 [vocabulary], those behind the last token of the prompt's own pass.
    A pass has the bits that it would have alone and from the first layer on: see the numeric promise. It uses caches of
    its own, and what traces of the calling context ask for is not shown to them.
    Raises MemoryError for more activations than there is memory, RuntimeError within a trace that replaces some.
    """

    def __init__(self, op: str, model: Model, ids: Sequence[int], keep: Iterable[str] = ()) -> None:
        if tap_of(model).replaces:
            raise RuntimeError(f"{op}: it must stand outside of a trace that replaces activations; "
                               "end the trace, and say here what is changed")
        self.model, self.ids = model, np.array(ids, np.int64)
        numbers = len(ids) * (model.layers * model.width + model.widest)
        memory.require(op, f"the activations of {len(ids)} tokens", 4 * numbers, "shorten the prompt")
        entering = [*(f"h.{layer}.resid_pre" for layer in range(model.layers)), f"h.{model.layers - 1}.resid_post"]
        wanted, found = list(keep), dict[str, Array]()
        watch = Watch([*entering, *wanted], found.__setitem__)
        self.logits: Floats = model([self.ids], model.cache(1, len(ids)), None, [len(ids) - 1], watch)[0]
        self.kept = {name: found[name] for name in wanted}
        self._entering: list[Floats] = [found[name] for name in entering]  # each layer, and what comes behind the last

    def changed(self, variants: Iterable[Variant]) -> Iterator[Floats]:
        """float32 [vocabulary] for each variant, in their order: the logits behind the last token of its pass.

        Variants that follow one another and begin at the same layer go through the model together.
        """
        cache = None
        for group, start in self._groups(variants):
            if cache is None or len(cache.lengths) < len(group):
                cache = self.model.cache(len(group), len(self.ids))
            cache.lengths[:] = 0
            yield from self._run(group, start, cache)

    def _run(self, group: Sequence[Variant], start: int, cache: KVCache) -> Floats:
        count, tokens, tap = len(group), len(self.ids), Edits(group)
        ends = np.arange(1, count + 1) * tokens - 1
        if start < 0:
            return self.model([self.ids] * count, cache, None, ends, tap)
        x = np.tile(self._entering[start], (count, 1))
        return self.model.resumed(start, x, cache, None, [tokens] * count, ends, tap)

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


def counted(found: Iterable[Item], total: int, progress: Progress | None) -> Iterator[Item]:
    """The same, one by one; `progress` is called with (done, total) as each is there."""
    for done, one in enumerate(found, 1):
        if progress is not None:
            progress(done, total)
        yield one
