"""The prompts that the page looks at, each with its activations: the last used, within bounds of number and memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.inside.host import Host
from nextword.inside.inside import Inside
from nextword.page.errors import Refused
from nextword.page.rules import Ran, rules_of

RUNS = 8
KEEP = 512 * 2**20  # bytes of activations that all runs keep together


class Run:
    """A prompt, what is replaced in it, and its activations, which are computed when they are asked for.

    ran: gives the activations of other ids, for rules that take something of them.
    id: the same for the same ids and interventions, so that a run that was dropped comes back under its name.
    """

    def __init__(self, host: Host, ids: Sequence[int], interventions: Sequence[Mapping[str, Any]], keep: int,
                 ran: Ran) -> None:
        self.host, self.ids, self.interventions = host, list(ids), [dict(one) for one in interventions]
        self.id = name_of(self.ids, self.interventions)
        plain = Inside(host, self.ids, keep=keep)
        rules = rules_of(plain, self.interventions, ran)
        self.inside = Inside(host, self.ids, rules, keep=keep) if rules else plain

    @property
    def names(self) -> dict[str, list[int]]:
        """Activation -> shape."""
        return {name: list(self.inside.shape(name)) for name in self.inside.names}

    def activation(self, name: str) -> Floats:
        """float32, of the whole prompt; beside the model's own h.N.attn.value_weighted, see
        `Attention.value_weighted`. Raises Refused for an unknown name."""
        weighted = re.fullmatch(r"h\.(\d{1,4})\.attn\.value_weighted", name)
        if weighted and f"h.{weighted[1]}.attn.v" in self.inside:
            return np.asarray(self.inside.attention(int(weighted[1])).value_weighted(), np.float32)
        if name not in self.inside:
            raise Refused("bad_argument", f"tensor: name must be an activation of the model, got {name[:60]!r}",
                          argument="name")
        return self.inside[name]

    @cached_property
    def last(self) -> Floats:
        """The logits of the last position, float32 [vocabulary]. Raises Refused if one is NaN or +inf."""
        found = np.array(self.inside["logits"][-1])
        if not np.isfinite(found.max(initial=-np.inf)):
            raise Refused("not_finite", "run: a logit is not finite", name=self._first_not_finite())
        return found

    def _first_not_finite(self) -> str:
        for name in self.inside.names:
            x = self.inside[name]
            if np.isnan(x).any() or np.isposinf(x).any():
                return name
        return "logits"


class Runs:
    """The last used runs, RUNS of them at most. Not for several threads at once."""

    def __init__(self, host: Host, most: int = RUNS, keep: int = KEEP) -> None:
        self.host, self.most, self._each = host, most, keep // most
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def of(self, ids: Sequence[int], interventions: Sequence[Mapping[str, Any]] = ()) -> Run:
        """The run of these ids, made if there is none."""
        name = name_of(list(ids), [dict(one) for one in interventions])
        if name not in self._runs:
            run = Run(self.host, ids, interventions, self._each, lambda ids: self.of(ids).inside)
            self._runs[name] = run
            while len(self._runs) > self.most:
                self._runs.popitem(last=False)
        self._runs.move_to_end(name)
        return self._runs[name]

    def __getitem__(self, name: str) -> Run:
        if not re.fullmatch(r"[0-9a-f]{16}", name):
            raise Refused("not_found", "run: there is no such run")
        if name not in self._runs:
            raise Refused("gone", "run: it is no longer there; send its prompt again", run=name)
        self._runs.move_to_end(name)
        return self._runs[name]


def name_of(ids: list[int], interventions: list[dict[str, Any]]) -> str:
    """16 hexadecimal digits.

    >>> name_of([1, 2], []) == name_of([1, 2], []) != name_of([1, 3], [])
    True
    """
    told = json.dumps([ids, interventions], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]

