"""The activations of one text by name: computed when asked for, kept within a bound of memory, computed again after."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.machine import memory
from nextword.machine.shown import is_integer, quoted, shown
from nextword.models.cache import KVCache
from nextword.models.inputs import Past
from nextword.models.model import Model
from nextword.models.passes import CHUNK
from nextword.models.rows import over_keys
from nextword.models.steps import Sum
from nextword.models.tap import shapes
from nextword.models.trace import Trace

KEEP = 256 * 2**20
"""Bytes of activations that are kept by default."""


class Activations(Mapping[str, Floats]):
    """Name -> float32 array of a whole text, whatever the pieces in which the model reads it.

    Names and shapes are those of `nextword.trace`. An activation is computed when it is asked for, together with others
    of its layer, and with those of all layers that there is room for, what is added to the stream first. `keep` bytes
    of them stay at most, and the one just asked for; where there is more, the largest go, of these the one that was not
    used for longest. The bits of an activation depend on the text and the interventions alone: one that was forgotten
    comes back the same. Arrays cannot be written to.
    """

    def __init__(self, model: Model, ids: Sequence[int], interventions: Sequence[Any] = (), keep: int = KEEP) -> None:
        if not is_integer(keep) or keep < 0:
            raise ValueError(f"inside: keep must be a number of bytes, 0 or more, got {shown(keep)}")
        if isinstance(interventions, str | Mapping) or not isinstance(interventions, Sequence):
            raise TypeError(f"inside: interventions must be a list of rules, got {shown(interventions)}; see "
                            "nextword.inside.rules")
        self.model, self.ids, self.interventions, self.keep = model, list(ids), tuple(interventions), keep
        self._kept: OrderedDict[str, Floats] = OrderedDict()
        self._inputs: dict[str, Floats] = {}  # of layers
        self._one_at_a_time = Lock()
        Trace(model, [], self.interventions)  # raises for what is no rule
        self.replaced = {one.name for one in self.interventions}  # activations that are not the model's alone
        for name in self.replaced:
            self._known(name)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every activation for one token, in the order of the graph; none of its logits is asked for."""
        return shapes(self.model)

    @cached_property
    def _last(self) -> set[str]:
        """Those that only tokens have whose logits are wanted."""
        return {name for name, shape in self._shapes.items() if not shape[0]}

    @cached_property
    def _summed(self) -> set[str]:
        """Sums and what is added in them: the stream, which most views read."""
        sums = {name: step for name, step in self.model.steps().items() if isinstance(step, Sum)}
        return sums.keys() | {term for step in sums.values() for term in step.terms}

    @cached_property
    def _stream(self) -> dict[str, int]:
        """The inputs of layers that are kept once they are known, where they take a quarter of `keep` at most: each
        layer can then be computed again by itself. name -> layer; not those that a rule would change once more."""
        names = {f"h.{layer}.resid_pre": layer for layer in range(self.model.layers)}
        names = {name: layer for name, layer in names.items() if name in self._shapes}
        return {} if 4 * sum(map(self.bytes, names)) > self.keep else names

    @property
    def names(self) -> list[str]:
        """Every activation, in the order of the graph."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an activation, without computing it. Raises KeyError for an unknown name."""
        one, tokens = self._shapes[self._known(name)], len(self.ids)
        if len(one) == 2:
            return tokens, one[1]
        return one[0], tokens, tokens if over_keys(name) else one[2]

    def bytes(self, name: str) -> int:
        """The memory that an activation takes."""
        return 4 * int(np.prod(self.shape(name), dtype=np.int64))

    def __getitem__(self, name: str) -> Floats:
        with self._one_at_a_time:
            if self._known(name) not in {*self._inputs, *self._kept}:
                self._compute(name)
            if name in self._inputs:
                return self._inputs[name]
            self._kept.move_to_end(name)
            return self._kept[name]

    def row(self, name: str, position: int) -> Floats:
        """One token's numbers of an activation [tokens, features]: float32 [features]. Of what only tokens have whose
        logits are wanted, no others are computed for it."""
        if self._known(name) not in self._last or name in self._kept or self.replaced & self._last:
            return np.asarray(self[name][position])
        tap = Trace(self.model, [name])
        last = self[f"h.{self.model.layers - 1}.resid_post"]
        self.model.end(np.ascontiguousarray(last[position : position + 1]), tap)
        return np.asarray(tap[name][0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def _known(self, name: str) -> str:
        if name not in self._shapes:
            near = [one for one in self._shapes if one.startswith("h.0.") or not one.startswith("h.")]
            raise KeyError(f"inside: no activation {quoted(str(name))}; of {self.model.layers} layers there are "
                           f"{', '.join(near)}")
        return name

    def _compute(self, name: str) -> None:
        """Keep what was asked for, and what else of the same run there is room for."""
        memory.require("inside", f"{name} of {len(self.ids)} tokens", 2 * self.bytes(name), "shorten the prompt")
        prefix = ".".join(name.split(".")[:2]) + "." if name.startswith("h.") else ""
        start = f"{prefix}resid_pre"
        alone = start in self._inputs and start not in self.replaced  # the layer can run by itself
        wanted, free = {name}, {*self._shapes} - self._kept.keys() - self._stream.keys() - {name}
        free -= set() if name in self._last else self._last
        # Of its own layer what half of the room takes, where all layers run; of others what stays free.
        own = {one for one in free if prefix and one.startswith(prefix) and not over_keys(one)}
        room = self.keep - self.bytes(name) - sum(map(self.bytes, self._stream))
        unused = room - sum(x.nbytes for x in self._kept.values())
        taken = self._add(wanted, own, unused if alone else room // 2)
        if not alone:
            self._add(wanted, free - own, unused - taken)
        found = self._layer(wanted, self._stream[start]) if alone else self._run(wanted | self._stream.keys())
        for one, x in found.items():
            x.flags.writeable = False
            (self._inputs if one in self._stream else self._kept)[one] = x
        held = sum(x.nbytes for x in (*self._kept.values(), *self._inputs.values()))
        for one in sorted(self._kept.keys() - {name}, key=self._order_of_going):
            if held > self.keep:
                held -= self._kept.pop(one).nbytes

    def _order_of_going(self, name: str) -> tuple[int, int]:
        """The order in which activations are forgotten: by size, then by when they were last asked for."""
        return -self._kept[name].nbytes, list(self._kept).index(name)

    def _add(self, wanted: set[str], some: set[str], room: int) -> int:
        """Let some be computed, too, as many as there is room for; how much they take."""
        taken = 0
        for one in sorted(some, key=lambda one: (one not in self._summed, self.bytes(one), one)):
            if taken + self.bytes(one) > room:
                break
            taken += self.bytes(one)
            wanted.add(one)
        return taken

    def _run(self, names: set[str]) -> dict[str, Floats]:
        """The whole model, logits only where they are asked for."""
        ids, every = np.array(self.ids, np.int64), bool(names & self._last)

        def run(part: slice, cache: KVCache, tap: Trace) -> None:
            piece = ids[part]
            with tap:
                self.model([piece], cache, None, range(len(piece)) if every else [])

        return self._joined(names, run)

    def _layer(self, names: set[str], layer: int) -> dict[str, Floats]:
        """One layer, from what goes into it."""
        x, slots = self._inputs[f"h.{layer}.resid_pre"], np.zeros(1, np.int64)

        def run(part: slice, cache: KVCache, tap: Trace) -> None:
            piece = np.ascontiguousarray(x[part])
            fresh = np.array([len(piece)], np.int64)
            rows = cache.rows(slots, fresh)
            self.model.block(layer, piece, Past(cache, slots, fresh, rows.positions), tap.at(rows))
            cache.lengths[0] += len(piece)

        return self._joined(names, run)

    def _joined(self, names: set[str], run: Callable[[slice, KVCache, Trace], None]) -> dict[str, Floats]:
        """What a run shows of the text, piece by piece."""
        joined: dict[str, Floats] = {}
        tokens = len(self.ids)
        cache = self.model.cache(1, tokens)
        cache.prompts[0] = tokens
        # Interventions see all of the text at once: some need a mean over it.
        step = tokens if self.interventions else CHUNK
        for done in range(0, tokens, step):
            tap = Trace(self.model, sorted(names), self.interventions)
            run(slice(done, done + step), cache, tap)
            for name in names & set(tap):
                self._join(joined, name, tap[name], done)
        return joined

    def _join(self, joined: dict[str, Floats], name: str, part: Floats, done: int) -> None:
        if self.shape(name) == part.shape:
            joined[name] = part
            return
        whole = joined.setdefault(name, np.zeros(self.shape(name), np.float32))
        rows = slice(done, done + part.shape[-2])
        if over_keys(name):
            whole[:, rows, : part.shape[2]] = part
            whole[:, rows, part.shape[2] :] = -np.inf if name.endswith(".scores") else 0.0
        else:
            whole[..., rows, :] = part
