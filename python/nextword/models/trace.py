"""Look inside a running model: record, replace and time named activations.

A model calls `x = tap("h.3.attn.out", x)` at every step of its graph. `Tap` returns x; `Trace` does more while its
`with` block lasts, for calls from the block's own context. Tracing does not change the bits of a result, replacing
does.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.machine.shown import shown
from nextword.models.rows import Rows

Array = NDArray[Any]


class Rule(ABC):
    """What a trace puts in the place of an activation, or of a part of it, knowing which tokens its rows belong to."""

    name: str | None  # of the activation, None where whoever traces says it

    @abstractmethod
    def applied(self, name: str, x: Array, rows: Rows, memory: dict[Any, Any]) -> Array:
        """A new array in the place of x, of its shape and dtype. memory: what it noted in earlier passes."""


Replacement = Array | Callable[[Array], Array] | Rule | Sequence[Rule]


class Tap:
    """The tap of a model that nobody looks into."""

    looks = False  # whether it does anything with an activation, so that the model must show each
    replaces = False  # whether it may change one

    def __call__(self, name: str, x: Array) -> Array:
        """Pass an activation on."""
        return x

    def wants(self, name: str) -> bool:
        """Whether this activation is asked for; if not, the model may compute it inside a larger step."""
        return False

    def at(self, rows: Rows) -> "Tap":
        """The tap for a pass of these rows."""
        return self

    def only(self, some: Any) -> "Tap":
        """The tap for activations of some of the rows of a pass: integers or a slice."""
        return self


NOBODY = Tap()
# Open traces, the innermost last, each with the key of its opening: what another context closes may still stand here.
_open: ContextVar[tuple[tuple["Trace", object], ...]] = ContextVar("nextword.trace", default=())


def tap_of(model: Any) -> Tap:
    """The tap that a model's calls in this context go through: its innermost open trace, or one that does nothing."""
    for one, key in reversed(_open.get()):
        if one.model is model and one.key is key:
            return one
    return NOBODY


class Trace(Tap):
    """Activations recorded in a `with nextword.trace(...)` block.

    `t[name]` is the last recorded value, `t.all(name)` a list with one value for each pass through the model (prefill
    chunks and decode steps), `t.seconds` the time from the step before to the one named, summed over passes.
    """

    looks = True

    def __init__(self, target: Any, names: str | Sequence[str],
                 replace: Mapping[str, Replacement] | Sequence[Rule] = ()) -> None:
        self.model = getattr(target, "model", target)
        if not isinstance(getattr(self.model, "tap", None), Tap):
            raise TypeError(f"trace: expected a language model or a model with a tap, got {type(target).__name__}")
        self._patterns = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
        if not all(isinstance(pattern, str) for pattern in self._patterns):
            raise TypeError(f"trace: names must be a pattern or a list of patterns, got {names!r}")
        self._replace = _by_name(replace)
        self._memory: dict[tuple[str, Rule], dict[Any, Any]] = {}  # of each rule
        self.replaces = bool(self._replace)
        self._recorded: dict[str, list[Array]] = {}
        self.seconds: dict[str, float] = {}
        self._last = 0.0
        self.key: object = None  # of the block that lasts
        self._entered = threading.Lock()

    def __enter__(self) -> "Trace":
        if not self._entered.acquire(blocking=False):
            raise RuntimeError("trace: this one is open already; make another for a second block or thread")
        self._last = time.perf_counter()
        self.key = object()
        _open.set((*_open.get(), (self, self.key)))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        _open.set(tuple(one for one in _open.get() if one[0] is not self))
        self.key = None
        self._entered.release()
        unused = self._replace.keys() - self.seconds.keys()
        if unused and self.seconds and kind is None:
            missing = ", ".join(map(repr, sorted(unused)))
            raise KeyError(f"trace: replace names {missing}, which the model does not have")

    def _records(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def wants(self, name: str) -> bool:
        """Whether the activation is recorded or replaced."""
        return name in self._replace or self._records(name)

    def at(self, rows: Rows) -> Tap:
        """A pass of these rows begins."""
        return _Pass(self, rows)

    def __call__(self, name: str, x: Array) -> Array:
        """Record, replace and time one activation of rows that nothing is known of."""
        return self.show(name, x, None)

    def show(self, name: str, x: Array, rows: Rows | None) -> Array:
        """Record, replace and time one activation."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        for rule in self._replace.get(name, ()):
            x = self._replaced(name, x, rule, rows)
        if self._records(name):
            self._recorded.setdefault(name, []).append(x)
        self._last = time.perf_counter()
        return x

    def _replaced(self, name: str, x: Array, rule: Any, rows: Rows | None) -> Array:
        if isinstance(rule, Rule):
            if rows is None:
                raise ValueError(f"trace: the rule for {name} needs the tokens of its rows; run the model itself")
            return rule.applied(name, x, rows, self._memory.setdefault((name, rule), {}))
        new = np.asarray(rule(x.copy()) if callable(rule) else rule)
        if new.shape != x.shape:
            raise ValueError(f"trace: the replacement of {name} must have shape {list(x.shape)}, got {list(new.shape)}")
        return np.ascontiguousarray(new, x.dtype)

    def __getitem__(self, name: str) -> Array:
        return self.all(name)[-1]

    def all(self, name: str) -> list[Array]:
        """Every recorded value of one activation, oldest first."""
        if name not in self._recorded:
            known = ", ".join(sorted(self._recorded)[:8]) or "nothing"
            raise KeyError(f"trace: no activation {name!r} was recorded with names={self._patterns}; recorded: {known}")
        return self._recorded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._recorded

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded)

    def __len__(self) -> int:
        return len(self._recorded)


class _Pass(Tap):
    """A trace in one pass, or what of it shows some of its rows."""

    looks = True

    def __init__(self, trace: Trace, rows: Rows) -> None:
        self._trace, self._rows, self.replaces = trace, rows, trace.replaces

    def __call__(self, name: str, x: Array) -> Array:
        return self._trace.show(name, x, self._rows)

    def wants(self, name: str) -> bool:
        return self._trace.wants(name)

    def only(self, some: Any) -> Tap:
        return _Pass(self._trace, self._rows.only(some))


def _by_name(replace: Mapping[str, Replacement] | Sequence[Rule]) -> dict[str, list[Any]]:
    """What is done to each activation, in order."""
    found: dict[str, list[Any]] = {}
    if not isinstance(replace, Mapping):
        for rule in replace:
            if not isinstance(rule, Rule):
                raise TypeError(f"trace: replace must be a mapping by name, or rules, got {shown(rule)} among these")
            if rule.name is None:
                raise ValueError(f"trace: {rule!r} must name its activation; give it name=, or pass a mapping by name")
            found.setdefault(rule.name, []).append(rule)
        return found
    for name, new in replace.items():
        several: Any = new
        if not (isinstance(new, list | tuple) and len(new) and all(isinstance(one, Rule) for one in new)):
            several = [new]
        found[name] = list(several)
        for rule in found[name]:
            if isinstance(rule, Rule) and rule.name not in (None, name):
                raise ValueError(f"trace: replace has a rule for {rule.name} under {name}; name it once")
    return found


def trace(target: Any, names: str | Sequence[str] = "*", *,
          replace: Mapping[str, Replacement] | Sequence[Rule] | None = None) -> Trace:
    """Record activations of a language model while a `with` block lasts, and replace them on request.

    names: one or more patterns (`fnmatch`: `*`, `?`, `[...]`) of names such as wte, wpe, embed (their sum),
        h.0.resid_pre, h.0.ln_1, h.0.attn.q, .k, .v, .scores, .weights, .z (what each head gives), .out, h.0.resid_mid,
        h.0.ln_2, h.0.mlp.fc, .act, .out, h.0.resid_post, ln_f, logits. [] records none.
    replace: name -> array of the same shape, a function from the activation to its replacement, or a rule of
        `nextword.inside.rules` or several, which follow one another; or rules that have names. A name that the model
        does not have raises KeyError at the end of the block.
    Shapes: q, k, v, z [heads, tokens, width]; scores and weights [heads, queries, keys]; all others [tokens, features].
    In a batch of several sequences scores and weights are recorded once for each sequence. A trace inside another takes
    over until its block ends.

    The block belongs to its context (`contextvars`): calls from other threads are neither seen nor changed, from
    threads that are started in the block neither, unless they run in a copy of the context, as asyncio.to_thread does.
    A stream's steps belong to where they are asked for, not to where it was made; one that has begun under replaced
    activations, or without, goes on so, or raises RuntimeError.
    Raises TypeError for what is no model and names that are no patterns; RuntimeError for one entered twice at once.

    >>> import nextword
    >>> lm = nextword.load()
    >>> with nextword.trace(lm, names="h.*.attn.weights") as t:
    ...     _ = lm.logits([281, 290, 300])
    >>> t["h.0.attn.weights"].shape
    (4, 3, 3)
    """
    return Trace(target, names, replace or ())
