"""What all decoders share: caches, batches checked, passes. Graphs are elsewhere."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops as fast_ops
from nextword.arithmetic import recorder
from nextword.arithmetic.arrays import Doubles, Floats, Ints
from nextword.arithmetic.formats import PackedBytes
from nextword.machine import stop
from nextword.machine.shown import is_integer, shown
from nextword.models.cache import KVCache, cache_bytes, check_dtype
from nextword.models.config import checked_context
from nextword.models.inputs import Inputs, Past
from nextword.models.layers import Linear
from nextword.models.network import Network, row_of_ids
from nextword.models.passes import read
from nextword.models.rotary import Turns
from nextword.models.tap import NOBODY, Tap
from nextword.models.trace import tap_of

ENDLESS = 2**62  # tokens, of what several prompts begin with


class Model(Network):
    """A model: token ids in, logits out. Each architecture is a class of its own, in a file of its own.

    An architecture has a `Config` with `from_dict`, an `assemble` that takes the weights, and the graph in three parts:
    `begin`, a `block` for each layer, `end`. Activations have the same names in all of them, as far as they have such a
    step, so that what looks inside works with each: embed, h.0.resid_pre, h.0.attn.q, .k, .v, .scores, .weights, .z,
    .out, h.0.resid_mid, h.0.mlp.fc, .act, .out, h.0.resid_post, logits, ...

    weights: named arrays or PackedBytes, a folder's Weights, or RandomWeights. config: a `Config` or the content of a
    config.json, `weights.config` if None. ops, dtype, kv_dtype: who computes, and how matrices and caches are stored.
    context: a smaller window than the configuration's, for caches of less memory.
    """

    roles: ClassVar[Mapping[str, str]] = {}  # what its own names of activations stand for: role -> name in its layer
    #   token_embedding, position_embedding, attention_norm, mlp_norm, last_norm

    # Set by `assemble`.
    kv_heads: int  # of keys and values, by which the cache is divided; `heads` is a multiple of it
    end_ids: tuple[int, ...]  # by the configuration, whether the vocabulary has them or not
    begin_id: int | None  # likewise
    turns: Turns | None = None  # by which heads turn; whoever makes a cache has the angles of its places computed
    norm: Any  # the last layer before the head
    head: Linear  # gives the logits

    def __init__(self, weights: Mapping[str, NDArray[Any] | PackedBytes], config: Any = None, *,
                 ops: ModuleType = fast_ops, dtype: str | None = None, kv_dtype: str = "float32",
                 context: int | None = None) -> None:
        self.kv_dtype = check_dtype(kv_dtype, "load: kv_dtype")
        super().__init__(weights, config, ops=ops, dtype=dtype)
        self.window = self.window if context is None else checked_context(context, self.limit)

    @abstractmethod
    def begin(self, inputs: Inputs, tap: Tap) -> Floats:
        """What goes into the first layer, [tokens, width]."""

    @abstractmethod
    def block(self, layer: int, x: Floats, past: Past, tap: Tap) -> Floats:
        """What a layer makes of its input, [tokens, width]; keys and values of the tokens go to the cache."""

    @abstractmethod
    def end(self, x: Floats, tap: Tap) -> Floats:
        """The logits [rows, vocabulary] of rows that have come through the layers."""

    def graph(self, inputs: Inputs, past: Past, tap: Tap) -> Floats:
        """The logits [rows, vocabulary] of the wanted tokens; keys and values of all tokens go to the cache."""
        return self._on(0, self.begin(inputs, tap), inputs.wanted, past, tap)

    def _on(self, layer: int, x: Floats, wanted: Ints, past: Past, tap: Tap) -> Floats:
        """From what goes into a layer to the logits."""
        for one in range(layer, self.layers):
            stop.check()
            x = self.block(one, x, past, tap)
        return self.end(x[wanted], tap.only(wanted))

    def linears(self) -> list[Linear]:
        """The layers whose matrices a token is multiplied by, without the head."""
        return [layer for layer in super().linears() if layer is not self.head]

    def cache(self, slots: int = 1, capacity: int | None = None, prefix: KVCache | None = None) -> KVCache:
        """An empty cache of `kv_dtype` for `slots` sequences of at most `capacity` tokens (the context window if None).

        prefix: a full cache of one slot, with whose tokens all sequences begin.
        """
        tokens = self.window if capacity is None else capacity
        if tokens is None:
            raise ValueError(f"cache: capacity must be a number of tokens, got None, and this {self.title} has no "
                             "context window to take in its place")
        cache = KVCache(self.ops, self.layers, slots, self.kv_heads, self.head_width, tokens, prefix, self.kv_dtype)
        if self.turns is not None:
            self.turns.reach(cache.capacity)  # which may be more than was asked for
        return cache

    def cache_bytes(self, slots: int, capacity: int) -> int:
        """The memory that `cache` takes for so many sequences of at most so many tokens."""
        return cache_bytes(self.layers, slots, self.kv_heads, self.head_width, capacity, self.kv_dtype)

    def encoded(self, ids: Sequence[int] | Ints, prompt: int = ENDLESS) -> KVCache:
        """A full cache of one slot that holds these ids, a multiple of 32: what other caches may begin with.

        prompt: how many tokens the prompt has that they are the beginning of; no end of it is among them if not given.
        """
        cache = self.cache(1, len(ids))
        cache.prompts[0] = prompt
        read(self, np.asarray(ids, np.int64), cache)
        return cache

    def __call__(self, batch: Sequence[NDArray[Any]], cache: KVCache, slots: Sequence[int] | Ints | None = None,
                 rows: Sequence[int] | Ints | None = None, tap: Tap | None = None,
                 seconds: Doubles | None = None) -> Floats:
        """Run new tokens of one or more sequences and remember them in the cache.

        batch: int ids [tokens] of each sequence, of any lengths; slots: where each lives in the cache (0, 1, ...).
        rows: which of the tokens, counted through the batch, give logits (None: all), in any order and any number.
        tap: what this call shows its activations to (None: what the context says, see `nextword.trace`).
        seconds: None, or float64 [operations], to which the time of each of `operations` is added.
        Returns float32 [rows, vocabulary]. Threads may call at once, each with a cache of its own.
        Raises IndexError if an id is not in the vocabulary, a row is none of the tokens, or a sequence outgrows the
        window or cache, ValueError if ids are no integers, two share a slot, or seconds are asked for where a tap
        looks, RuntimeError if another thread is running the model on the cache, StoppedError if one has stopped it.
        """
        with cache.guard:
            return self._run(batch, cache, slots, rows, tap_of(self) if tap is None else tap, seconds)

    def resumed(self, layer: int, x: Floats, cache: KVCache, slots: Sequence[int] | Ints | None = None,
                fresh: Sequence[int] | Ints | None = None, rows: Sequence[int] | Ints | None = None,
                tap: Tap | None = None) -> Floats:
        """Run new tokens from a layer on: as a call does, with the same bits, once it has come there.

        layer: 0 .. layers; with `layers`, the last norm and the head alone are left. x: float32 [tokens, width], what
        goes into that layer, `h.{layer}.resid_pre`, of all sequences one after the other; fresh: how many of these each
        has (None: all are of one). cache, slots, rows, tap: as for a call.
        Keys and values of the layers that run go to the cache, behind what its slots hold. Below them it stays as it
        is: who goes on with the text by ids has these there before. As x may be anything, the slots count as patched.
        Returns float32 [rows, vocabulary]. Raises what a call does, and ValueError for another layer, shape or dtype.

        >>> import nextword
        >>> model, ids = nextword.load().model, np.array([281, 290, 300])
        >>> with nextword.trace(model, "h.2.resid_pre") as t:
        ...     whole = model([ids], model.cache(1, 32))
        >>> np.array_equal(model.resumed(2, t["h.2.resid_pre"], model.cache(1, 32)), whole)
        True
        """
        if not is_integer(layer) or not 0 <= layer <= self.layers:
            raise ValueError(f"resumed: layer must be 0 .. {self.layers}, got {shown(layer)}")
        if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.shape[1:] != (self.width,):
            raise ValueError(f"resumed: x must be float32 [tokens, {self.width}], got {_kind(x)}")
        each = np.array([len(x)] if fresh is None else fresh, np.int64)
        if each.ndim != 1 or each.min(initial=0) < 0 or each.sum() != len(x):
            raise ValueError(f"resumed: fresh must be counts that sum to the {len(x)} rows of x, got {each.tolist()}")
        tap = tap_of(self) if tap is None else tap
        with cache.guard:
            where, wanted = self._slots(each, slots, rows)
            _check_rows(wanted, len(x))
            seen = cache.rows(where, each)
            ends = cache.lengths[where] + each
            if ends.max(initial=0) > min(self.limit, cache.capacity):
                raise IndexError(f"resumed: x must fit into the {min(self.limit, cache.capacity)} tokens of the cache "
                                 f"and the context window, got {ends.max()}")
            cache.patched[where] = True
            past = Past(cache, where, each, seen.positions)
            logits = self._on(int(layer), np.ascontiguousarray(x), wanted, past, tap.at(seen))
            cache.lengths[where] = ends
        return logits

    def show_one(self, tap: Tap) -> None:
        """Run a text of one token none of whose logits are wanted."""
        self([np.zeros(1, np.int64)], self.cache(1, 1), None, [], tap)

    def _slots(self, fresh: Ints, slots: Sequence[int] | Ints | None,
               rows: Sequence[int] | Ints | None) -> tuple[Ints, Ints]:
        """The slots of a pass that brings so many tokens to each, and the rows that give logits."""
        where = np.arange(len(fresh)) if slots is None else np.asarray(slots, np.int64)
        if len(where) != len(fresh) or len(set(where.tolist())) < len(where):
            raise ValueError(f"model: slots must be one for each of the {len(fresh)} sequences, none twice, "
                             f"got {where.tolist()}")
        return where, np.arange(fresh.sum()) if rows is None else np.asarray(rows, np.int64)

    def _run(self, batch: Sequence[NDArray[Any]], cache: KVCache, slots: Sequence[int] | Ints | None,
             rows: Sequence[int] | Ints | None, tap: Tap, seconds: Doubles | None) -> Floats:
        fresh = np.array([len(ids) for ids in batch], np.int64)
        where, wanted = self._slots(fresh, slots, rows)
        ids = np.concatenate([row_of_ids(ids) for ids in batch]) if len(batch) else np.empty(0, np.int64)
        if not tap.looks and hasattr(self.ops, "Program"):
            caches = [(cache.lengths, cache.keys, cache.values, cache.scales, cache.before)]
            found: Floats = self.program().run(ids, where, fresh, wanted, caches, seconds, stop.current())
            return found
        if seconds is not None:
            raise ValueError("model: seconds are those of a program's operations; end the trace, or see `trace` for "
                             "the times of activations")
        _check_rows(wanted, len(ids))
        seen = cache.rows(where, fresh)
        if tap.replaces:
            cache.patched[where] = True
        past = Past(cache, where, fresh, seen.positions)
        logits = self.graph(Inputs(ids, seen.positions, wanted), past, tap.at(seen))
        cache.lengths[where] += fresh
        return logits

    def recorded(self, program: Any) -> Any:
        """The graph as a program: what a pass brings is not known yet."""
        numbers: list[Any] = [recorder.Numbers(program, name) for name in Inputs._fields]
        inputs = Inputs(*numbers)
        past: list[Any] = [recorder.Cache(0), recorder.Unknown("the slots"), recorder.Unknown("fresh tokens"),
                           inputs.places]  # fmt: skip
        return self.graph(inputs, Past(*past), NOBODY)


def _kind(x: Any) -> str:
    return f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else type(x).__name__


def _check_rows(wanted: Ints, tokens: int) -> None:
    if len(wanted) and not 0 <= wanted.min() <= wanted.max() < tokens:
        raise IndexError(f"model: rows must be 0 .. {tokens - 1}, got {wanted.min()} .. {wanted.max()}")
