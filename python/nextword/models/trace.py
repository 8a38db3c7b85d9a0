"""Look inside a running model: record, replace and time named activations.

A model calls `x = tap("h.3.attn.out", x)` at every step of its graph. `Tap` returns x; `Trace` does more while its
`with` block lasts, for calls from the block's own context. Tracing does not change the bits of a result, replacing
does.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Replacement = Array | Callable[[Array], Array]


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

    def __init__(self, target: Any, names: str | Sequence[str], replace: Mapping[str, Replacement]) -> None:
        self.model = getattr(target, "model", target)
        if not isinstance(getattr(self.model, "tap", None), Tap):
            raise TypeError(f"trace: expected a language model or a model with a tap, got {type(target).__name__}")
        self._patterns = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
        if not all(isinstance(pattern, str) for pattern in self._patterns):
            raise TypeError(f"trace: names must be a pattern or a list of patterns, got {names!r}")
        self._replace = dict(replace)
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

    def __call__(self, name: str, x: Array) -> Array:
        """Record, replace and time one activation."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        if name in self._replace:
            x = self._replaced(name, x)
        if self._records(name):
            self._recorded.setdefault(name, []).append(x)
        self._last = time.perf_counter()
        return x

    def _replaced(self, name: str, x: Array) -> Array:
        rule = self._replace[name]
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


def trace(target: Any, names: str | Sequence[str] = "*", *, replace: Mapping[str, Replacement] | None = None) -> Trace:
    """Record activations of a language model while a `with` block lasts, and replace them on request.

    names: one or more patterns (`fnmatch`: `*`, `?`, `[...]`) of names such as wte, wpe, h.0.ln_1, h.0.attn.q, .k, .v,
        .scores, .weights, .out, h.0.resid_mid, h.0.ln_2, h.0.mlp.fc, .act, .out, h.0.resid_post, ln_f, logits.
        [] records none.
    replace: name -> array of the same shape, or a function from the activation to its replacement. A name that the
        model does not have raises KeyError at the end of the block.
    Shapes: q, k, v [heads, tokens, width]; scores and weights [heads, queries, keys]; all others [tokens, features].
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
    return Trace(target, names, replace or {})
