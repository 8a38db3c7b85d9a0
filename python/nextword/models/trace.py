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

from nextword.machine import memory
from nextword.machine.shown import shown
from nextword.models.joined import Piece, joined
from nextword.models.rows import Rows, over_keys
from nextword.models.tap import NOBODY, Rule, Selector, shapes
from nextword.models.tap import Tap as Tap  # where users of `trace` look for it

Array = NDArray[Any]
Keep = Selector | Callable[[Array], Array]
Replacement = Array | Callable[[Array], Array] | Rule | Sequence[Rule]


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
    chunks and decode steps), `t.whole(name)` these joined to one, `t.positions(name)` of which tokens it has rows.
    `t.seconds` is the time from the step before to the one named, summed over passes.
    """

    looks = True

    def __init__(self, target: Any, names: str | Sequence[str],
                 replace: Mapping[str, Replacement] | Sequence[Rule] = (),
                 keep: Mapping[str, Keep] | None = None) -> None:
        self.model = getattr(target, "model", target)
        if not isinstance(getattr(self.model, "tap", None), Tap):
            raise TypeError(f"trace: expected a language model or a model with a tap, got {type(target).__name__}")
        self._patterns = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
        if not all(isinstance(pattern, str) for pattern in self._patterns):
            raise TypeError(f"trace: names must be a pattern or a list of patterns, got {names!r}")
        self._replace = _by_name(replace)
        self._memory: dict[tuple[str, Rule], dict[Any, Any]] = {}  # of each rule
        self.replaces = bool(self._replace)
        self._keep = dict(keep or {})
        if not all(isinstance(one, Selector) or callable(one) for one in self._keep.values()):
            raise TypeError(f"trace: keep must be patterns with a Select or a function each, got {shown(keep)}")
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._recorded: dict[str, list[Piece]] = {}
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
        """A pass of these rows begins. Raises MemoryError where there is no room for what will be recorded."""
        self._reckon(rows)
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
            self._recorded.setdefault(name, []).append(self._kept(name, x, rows))
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

    def _kept(self, name: str, x: Array, rows: Rows | None) -> Piece:
        """What is recorded of it."""
        keep = self._keep_of(name)
        if keep is None:
            return Piece(x, rows, True)
        if isinstance(keep, Selector):
            if rows is None:
                raise ValueError(f"trace: keep of {name} needs the tokens of its rows; run the model itself")
            return Piece(*keep.kept(name, x, rows), keep.columns is None)
        return Piece(np.array(keep(x)), None, False)  # a copy: a view would hold the whole

    def _keep_of(self, name: str) -> Keep | None:
        return next((keep for pattern, keep in self._keep.items() if fnmatchcase(name, pattern)), None)

    def _reckon(self, rows: Rows) -> None:
        """Raises MemoryError if the pass would record more than there is room for. What functions keep is not known."""
        model, tokens = self.model, len(rows.slots)
        keys = int(rows.positions.max(initial=-1)) + 1
        most = 4 * tokens * model.layers * (4 * model.width + 2 * model.widest + 2 * model.heads * keys)
        if most <= memory.SMALL or not self._patterns:
            return
        self._shapes = self._shapes or shapes(model)
        each = [(int(slot), np.flatnonzero(rows.slots == slot)) for slot in np.unique(rows.slots)]
        numbers, count = 0, 0
        for name, shape in self._shapes.items():
            if not self._records(name) or not shape[0]:
                continue
            keep, count = self._keep_of(name), count + 1
            for _, own in each:
                some = rows.only(own)
                width = int(some.positions[-1]) + 1 if over_keys(name) else shape[-1]
                size = (*shape[:-2], len(own), width)
                if isinstance(keep, Selector):
                    numbers += keep.count(name, size, some)
                elif keep is None:
                    numbers += int(np.prod(size))
        memory.require("trace", f"recording {count} activations of {tokens} tokens", 4 * numbers,
                       "name fewer, or keep a part of each with keep=")

    def __getitem__(self, name: str) -> Array:
        return self.all(name)[-1]

    def all(self, name: str) -> list[Array]:
        """Every recorded value of one activation, oldest first."""
        return [piece.x for piece in self._pieces(name)]

    def whole(self, name: str, text: int | None = None) -> Array:
        """One activation over a whole text: the rows of all passes in the order of their positions.

        text: which of the texts that ran in the block, in the order in which they began; it must be given if there are
        several. Scores and weights are as wide as the last row; what a row does not attend to is -inf or 0.
        A token that ran again, as after a draft that was not taken, has the row of the last time.
        Raises ValueError if there are several texts or `keep` is a function, IndexError for a text that is not there.

        >>> import nextword
        >>> lm = nextword.load()
        >>> with nextword.trace(lm, "h.0.attn.weights") as t:
        ...     _ = lm.generate([281, 290, 300], max_new_tokens=4, temperature=0)
        >>> t["h.0.attn.weights"].shape, t.whole("h.0.attn.weights").shape
        ((4, 1, 6), (4, 6, 6))
        """
        return joined(name, self._pieces(name), text)[0]

    def positions(self, name: str, text: int | None = None) -> Array:
        """Of which tokens `whole` has rows: int64 [rows], ascending."""
        return joined(name, self._pieces(name), text)[1]

    def _pieces(self, name: str) -> list[Piece]:
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
          replace: Mapping[str, Replacement] | Sequence[Rule] | None = None,
          keep: Mapping[str, Keep] | None = None) -> Trace:
    """Record activations of a language model while a `with` block lasts, and replace them on request.

    names: one or more patterns (`fnmatch`: `*`, `?`, `[...]`) of names such as wte, wpe, embed (their sum),
        h.0.resid_pre, h.0.ln_1, h.0.attn.q, .k, .v, .scores, .weights, .z (what each head gives), .out, h.0.resid_mid,
        h.0.ln_2, h.0.mlp.fc, .act, .out, h.0.resid_post, ln_f, logits. [] records none.
    replace: name -> array of the same shape, a function from the activation to its replacement, or a rule of
        `nextword.inside.rules` or several, which follow one another; or rules that have names. A name that the model
        does not have raises KeyError at the end of the block.
    keep: pattern -> what is kept of an activation so named: a `nextword.inside.select.Select` of heads, positions and
        columns, or a function from the activation to it. The first pattern that fits counts; the rest is not stored.
    Shapes: q, k, v, z [heads, tokens, width]; scores and weights [heads, queries, keys]; all others [tokens, features].
    In a batch of several sequences scores and weights are recorded once for each sequence. A trace inside another takes
    over until its block ends.

    The block belongs to its context (`contextvars`): calls from other threads are neither seen nor changed, from
    threads that are started in the block neither, unless they run in a copy of the context, as asyncio.to_thread does.
    A stream's steps belong to where they are asked for, not to where it was made; one that has begun under replaced
    activations, or without, goes on so, or raises RuntimeError.
    Raises TypeError for what is no model and names that are no patterns; RuntimeError for one entered twice at once;
    MemoryError, before a pass, if what it records does not fit.

    >>> import nextword
    >>> lm = nextword.load()
    >>> with nextword.trace(lm, names="h.*.attn.weights") as t:
    ...     _ = lm.logits([281, 290, 300])
    >>> t["h.0.attn.weights"].shape
    (4, 3, 3)
    """
    return Trace(target, names, replace or (), keep)
