"""The activations of one text by name: computed when asked for, kept within a bound of memory, computed again after."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.machine import memory
from nextword.machine.shown import quoted
from nextword.models.model import Model
from nextword.models.passes import CHUNK, passes
from nextword.models.rows import over_keys
from nextword.models.trace import Tap, Trace

KEEP = 256 * 2**20
"""Bytes of activations that are kept by default."""


class _Shapes(Tap):
    """Asks for every activation and notes its shape."""

    looks = True

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def wants(self, name: str) -> bool:
        """Every one."""
        return True

    def __call__(self, name: str, x: Floats) -> Floats:
        """Note it."""
        self.shapes[name] = x.shape
        return x


class Activations(Mapping[str, Floats]):
    """Name -> float32 array of a whole text, whatever the pieces in which the model reads it.

    Names and shapes are those of `nextword.trace`. An activation is computed when it is asked for, together with the
    others of its layer where there is room; of those computed, the last used stay, `keep` bytes of them at most, and
    the one just asked for. The bits of an activation depend on the text and the interventions alone: one that was
    forgotten comes back the same. Arrays cannot be written to.
    """

    def __init__(self, model: Model, ids: Sequence[int], interventions: Sequence[Any] = (), keep: int = KEEP) -> None:
        self.model, self.ids, self.interventions, self.keep = model, list(ids), tuple(interventions), keep
        self._kept: OrderedDict[str, Floats] = OrderedDict()
        self._one_at_a_time = Lock()
        Trace(model, [], self.interventions)  # raises for what is no rule
        self.replaced = {one.name for one in self.interventions}  # activations that are not the model's alone
        for name in self.replaced:
            self._known(name)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every activation for one token, in the order of the graph; none of its logits is asked for."""
        tap = _Shapes()
        self.model([np.array(self.ids[:1], np.int64)], self.model.cache(1, 1), None, [], tap)
        return tap.shapes

    @property
    def names(self) -> list[str]:
        """Every activation, in the order of the graph."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an activation, without computing it. Raises KeyError for an unknown name."""
        one, tokens = self._shapes[self._known(name)], len(self.ids)
        if len(one) == 2:
            return tokens, one[1]
        return (one[0], tokens, tokens) if self._is_square(name) else (one[0], tokens, one[2])

    def bytes(self, name: str) -> int:
        """The memory that an activation takes."""
        return 4 * int(np.prod(self.shape(name), dtype=np.int64))

    def __getitem__(self, name: str) -> Floats:
        with self._one_at_a_time:
            if self._known(name) not in self._kept:
                self._compute(name)
            self._kept.move_to_end(name)
            return self._kept[name]

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

    def _is_square(self, name: str) -> bool:
        return over_keys(name)

    def _compute(self, name: str) -> None:
        """Run the text once and keep what was asked for, and what else there is room for."""
        wanted = {name}
        memory.require("inside", f"{name} of {len(self.ids)} tokens", 2 * self.bytes(name),
                       "shorten the prompt")
        left = self.keep - self.bytes(name)
        layer = name.rpartition(".attn")[0] or name.rpartition(".mlp")[0] or name.rpartition(".")[0]
        last = {one for one, shape in self._shapes.items() if not shape[0]}  # of the tokens whose logits are wanted
        near = sorted(self._shapes, key=lambda one: not (layer and one.startswith(f"{layer}.")))
        for one in near:
            if one not in self._kept and one not in wanted and not (one in last and name not in last):
                if self.bytes(one) > left:
                    break
                wanted.add(one)
                left -= self.bytes(one)
        found = self._run(wanted, len(self.ids) if wanted & last else 0)
        for one, x in found.items():
            x.flags.writeable = False
            self._kept[one] = x
        self._kept.move_to_end(name)
        held = sum(x.nbytes for x in self._kept.values())
        while held > self.keep and len(self._kept) > 1:
            held -= self._kept.popitem(last=False)[1].nbytes

    def _run(self, names: set[str], last: int) -> dict[str, Floats]:
        joined: dict[str, Floats] = {}
        ids = np.array(self.ids, np.int64)
        tap = Trace(self.model, sorted(names), self.interventions)
        with tap:
            done = 0
            for _ in self._passes(ids, last):
                for name in names & set(tap):
                    self._join(joined, name, tap.all(name).pop(), done)
                done += min(self._piece, len(ids) - done)
        return joined

    @property
    def _piece(self) -> int:
        """Tokens of a pass. Interventions see all of the text at once: some need a mean over it."""
        return max(CHUNK, len(self.ids)) if self.interventions else CHUNK

    def _passes(self, ids: Ints, last: int) -> Iterator[Any]:
        cache = self.model.cache(1, len(ids))
        if self.interventions:
            yield self.model([ids], cache, None, range(len(ids) - last, len(ids)))
        else:
            yield from passes(self.model, [ids], cache, [0], [last])

    def _join(self, joined: dict[str, Floats], name: str, part: Floats, done: int) -> None:
        if self.shape(name) == part.shape:
            joined[name] = part
            return
        whole = joined.setdefault(name, np.zeros(self.shape(name), np.float32))
        if part.ndim == 2:
            whole[done : done + len(part)] = part
        elif self._is_square(name):
            rows = slice(done, done + part.shape[1])
            whole[:, rows, : part.shape[2]] = part
            whole[:, rows, part.shape[2] :] = -np.inf if name.endswith(".scores") else 0.0
        else:
            whole[:, done : done + part.shape[1]] = part
