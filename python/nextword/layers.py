"""Linear, LayerNorm, Embedding, KVCache: they hold arrays and call ops. A layer computes in one pass what nobody asks
to see, and step by step what a tap wants; the bits are the same."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword import memory
from nextword.trace import Tap

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Panels = NDArray[Any]

PANEL = 32  # tokens in a panel of the key cache; see csrc/formats.h
ELEMENTS: dict[str, type] = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}  # of a cache, by its dtype


class Linear:
    """x @ weight + bias. weight: packed [depth, cols]; bias: float32 [cols] or None."""

    def __init__(self, ops: ModuleType, weight: Any, bias: Floats | None) -> None:
        self.ops, self.weight, self.bias = ops, weight, bias

    @property
    def parts(self) -> tuple[Any, Floats | None]:
        """weight, bias."""
        return self.weight, self.bias

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.matmul(x, self.weight, self.bias)
        return y

    def add_to(self, residual: Floats, x: Floats, tap: Tap, name: str) -> Floats:
        """residual + tap(name, self(x))."""
        if tap.wants(name):
            return residual + tap(name, self(x))
        y: Floats = self.ops.matmul_residual(x, self.weight, self.bias, residual)
        return y


class ActivatedLinear(Linear):
    """form(x @ weight + bias); form: the activation, by its name among the operations."""

    def __init__(self, ops: ModuleType, weight: Any, bias: Floats | None, form: str) -> None:
        super().__init__(ops, weight, bias)
        self.form = form

    def activated(self, x: Floats, tap: Tap, name: str) -> Floats:
        """form(tap(name, self(x)))."""
        y: Floats
        if tap.wants(name):
            y = getattr(self.ops, self.form)(tap(name, self(x)))
        else:
            y = self.ops.matmul_activated(x, self.weight, self.bias, self.form)
        return y


class LayerNorm:
    """Normalise rows, then scale and shift. weight, bias: float32 [cols]."""

    def __init__(self, ops: ModuleType, weight: Floats, bias: Floats, eps: float) -> None:
        self.ops, self.weight, self.bias, self.eps = ops, weight, bias, eps

    @property
    def vectors(self) -> tuple[Floats, Floats]:
        """weight, bias."""
        return self.weight, self.bias

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.layer_norm(x, self.weight, self.bias, self.eps)
        return y


class Embedding:
    """Token plus position. tokens: packed [width, vocabulary]; positions: float32 [context, width]."""

    def __init__(self, ops: ModuleType, tokens: Any, positions: Floats) -> None:
        self.ops, self.tokens, self.positions = ops, tokens, positions

    @property
    def tables(self) -> tuple[Any, Floats]:
        """tokens, positions."""
        return self.tokens, self.positions

    def __call__(self, ids: Ints, places: Ints, tap: Tap) -> Floats:
        if tap.wants("wte") or tap.wants("wpe"):
            nowhere = np.zeros((1, self.positions.shape[1]), np.float32)
            token = self.ops.embedding(ids, np.zeros_like(ids), self.tokens, nowhere)
            y: Floats = tap("wte", token) + tap("wpe", self.positions[places])
            return y
        y = self.ops.embedding(ids, places, self.tokens, self.positions)
        return y


def check_dtype(dtype: str, what: str) -> str:
    """The dtype of a cache. Raises ValueError for an unknown one."""
    if dtype not in ELEMENTS:
        raise ValueError(f"{what} must be one of {', '.join(ELEMENTS)}, got {dtype!r}")
    return dtype


def panels(ops: ModuleType, shape: tuple[int, ...], dtype: str) -> Panels:
    """An array [*shape, 32] of what a cache of this dtype holds, contents undefined; on memory for huge pages."""
    element = np.dtype(ELEMENTS[dtype])
    floats: Floats = ops.empty((*shape, PANEL * element.itemsize // 4))
    return floats.view(element)


def widened(x: Panels, scales: Floats) -> Floats:
    """Stored keys or values [heads, tokens, width] as float32. scales: [heads, tokens] for int8, else not read."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x * scales[..., None] if x.dtype == np.int8 else x


def cache_bytes(layers: int, slots: int, heads: int, width: int, capacity: int, dtype: str = "float32") -> int:
    """The memory that a KVCache of this shape takes."""
    tokens = max(1, -(-capacity // PANEL)) * PANEL
    numbers = (width + -(-width // PANEL) * PANEL) * np.dtype(ELEMENTS[dtype]).itemsize
    return layers * slots * heads * tokens * (numbers + (8 if dtype == "int8" else 0))


class KVCache:
    """Keys and values of the tokens that a model has seen, for `slots` sequences of at most `capacity` tokens each.

    lengths: int64 [slots], tokens held; lowering an entry forgets the last tokens of its sequence.
    dtype: how they are stored, "float32", "bfloat16" (as its bits in uint16) or "int8"; see `ops.append`.
    keys[layer]: [slots, heads, capacity / 32, width, 32] of that dtype.
    values[layer]: [slots, heads, ceil(width / 32), capacity, 32] of that dtype.
    scales[layer]: float32 [slots, heads, 2, capacity] for int8, those of keys and of values; else [slots, heads, 2, 0].
    prefix: a cache of one slot and the same dtype, full, whose tokens all sequences begin with; they are held once, and
        `keys`, `values` and `scales` begin behind them. `prefix_tokens` of them, a multiple of 32, count in `lengths`
        and `capacity`. before[layer]: its keys, values and scales without the slot, or three times None.
    """

    def __init__(self, ops: ModuleType, layers: int, slots: int, heads: int, width: int, capacity: int,
                 prefix: "KVCache | None" = None, dtype: str = "float32") -> None:
        self.dtype = check_dtype(dtype, "cache: dtype")
        self.prefix = prefix
        self.prefix_tokens: int = 0 if prefix is None else prefix.capacity
        if prefix is not None and not (len(prefix.lengths) == 1 and prefix.lengths[0] == prefix.capacity):
            raise ValueError(f"cache: prefix must be one slot of {prefix.capacity} tokens, all held, "
                             f"got {prefix.lengths.tolist()}")
        if prefix is not None and prefix.dtype != dtype:
            raise ValueError(f"cache: prefix must be of the same dtype, {dtype}, got {prefix.dtype}")
        if slots < 0 or capacity < 0:
            raise ValueError(f"cache: slots and capacity must be >= 0, got {slots} and {capacity}")
        count = max(1, -(-(capacity - self.prefix_tokens) // PANEL))
        own = count * PANEL
        self.capacity: int = self.prefix_tokens + own
        memory.require("cache", f"{slots} slots of {own} tokens", cache_bytes(layers, slots, heads, width, own, dtype),
                       "ask for fewer slots or a smaller capacity")
        # One array for all layers, large enough for huge pages. What append has not written is never read.
        self.keys = list(panels(ops, (layers, slots, heads, count, width), dtype))
        self.values = list(panels(ops, (layers, slots, heads, -(-width // PANEL), own), dtype))
        self.scales: list[Floats] = list(ops.empty((layers, slots, heads, 2, own if dtype == "int8" else 0)))
        self.lengths: Ints = np.full(slots, self.prefix_tokens, np.int64)
        self.before: list[tuple[Panels, Panels, Floats] | tuple[None, None, None]] = [(None, None, None)] * layers
        if prefix is not None:
            self.before = [(keys[0], values[0], scales[0]) for keys, values, scales in prefix.layers()]

    def layers(self) -> Iterator[tuple[Panels, Panels, Floats]]:
        """Keys, values and scales of each layer."""
        return zip(self.keys, self.values, self.scales, strict=True)

    def whole(self, layer: int, slot: int) -> tuple[Panels, Panels, Floats]:
        """Keys, values and scales of one sequence in one layer, prefix included, as a cache of one slot has them."""
        keys, values, scales = self.keys[layer][slot], self.values[layer][slot], self.scales[layer][slot]
        first, second, third = self.before[layer]
        if first is not None:
            keys, values = np.concatenate([first, keys], 1), np.concatenate([second, values], 2)
            scales = np.concatenate([third, scales], 2)
        return keys[None], values[None], scales[None]

    def copy(self, source: int, target: int, tokens: int, start: int = 0, into: "KVCache | None" = None) -> None:
        """Let slot `target` hold the first `tokens` tokens of slot `source`, bit by bit, and nothing after them.

        start: so many tokens are in both slots already, and only what follows them is copied.
        into: the cache that `target` is a slot of, made by the same model; this one if None.
        Raises IndexError if a slot is not there, ValueError unless 0 <= start <= tokens, the source holds `tokens`
        tokens, the target `start`, `tokens` fit into it, and both caches have the same dtype.
        """
        other = self if into is None else into
        if not (0 <= source < len(self.lengths) and 0 <= target < len(other.lengths)):
            raise IndexError(f"copy: slots must be 0 .. {len(self.lengths) - 1} and 0 .. {len(other.lengths) - 1}, "
                             f"got {source} and {target}")
        if not (0 <= start <= tokens <= self.lengths[source] and start <= other.lengths[target]):
            raise ValueError(f"copy: expected 0 <= start <= tokens, at most {self.lengths[source]} tokens (held by the "
                             f"source) and start at most {other.lengths[target]} (held by the target), "
                             f"got tokens {tokens} and start {start}")
        if tokens > other.capacity:
            raise ValueError(f"copy: expected at most {other.capacity} tokens (the target's capacity), got {tokens}")
        if self.dtype != other.dtype:
            raise ValueError(f"copy: both caches must have the same dtype, got {self.dtype} and {other.dtype}")
        if self.prefix is not other.prefix:
            raise ValueError("copy: both caches must begin with the same prefix")
        start, end = max(0, start - self.prefix_tokens), max(0, tokens - self.prefix_tokens)  # in keys and values
        whole = slice(start // PANEL, -(-end // PANEL))  # panels: a token is a lane of each row of its panel
        if (source != target or other is not self) and start < end:
            for to, keys in zip(other.keys, self.keys, strict=True):
                to[target, :, whole] = keys[source, :, whole]
            for to, values in zip(other.values, self.values, strict=True):
                to[target, :, :, start:end] = values[source, :, :, start:end]
            for to, scales in zip(other.scales, self.scales, strict=True):
                to[target, :, :, start:end] = scales[source, :, :, start:end]
        other.lengths[target] = tokens


class Attention:
    """Causal attention of new tokens over the cache of one layer."""

    def __init__(self, ops: ModuleType, heads: int, scale: float, name: str) -> None:
        self.ops, self.heads, self.scale = ops, heads, scale
        self._q, self._k, self._v = (f"{name}.{x}" for x in "qkv")
        self._scores, self._weights = f"{name}.scores", f"{name}.weights"

    def __call__(self, qkv: Floats, cache: KVCache, layer: int, slots: Ints, fresh: Ints, tap: Tap) -> Floats:
        """qkv: [tokens, 3 * embd], the tokens of all sequences one after the other. Returns [tokens, embd]."""
        embd = qkv.shape[1] // 3
        q = self._by_head(tap, self._q, qkv[:, :embd])
        k = self._by_head(tap, self._k, qkv[:, embd : 2 * embd])
        v = self._by_head(tap, self._v, qkv[:, 2 * embd :])
        keys, values, scales = cache.keys[layer], cache.values[layer], cache.scales[layer]
        past = cache.lengths[slots] - cache.prefix_tokens
        self.ops.append(k, v, keys, values, slots, past, fresh, scales)
        if not (tap.wants(self._scores) or tap.wants(self._weights)):
            prefix_keys, prefix_values, prefix_scales = cache.before[layer]
            out: Floats = self.ops.attention(q, keys, values, slots, past, fresh, self.scale, prefix_keys,
                                             prefix_values, scales, prefix_scales)
            return out
        ends = np.cumsum(fresh)
        return np.concatenate([self._traced(q[e - n : e], *cache.whole(layer, int(slot)), int(start), tap)
                               for slot, start, n, e in zip(slots, cache.lengths[slots], fresh, ends, strict=True)])

    def _by_head(self, tap: Tap, name: str, x: Floats) -> Floats:
        """Show x [tokens, embd] to the tap as [heads, tokens, width]."""
        if not tap.wants(name):
            return x
        shown = np.ascontiguousarray(x.reshape(len(x), self.heads, -1).swapaxes(0, 1))
        return np.ascontiguousarray(tap(name, shown).swapaxes(0, 1)).reshape(x.shape)

    def _traced(self, q: Floats, keys: Panels, values: Panels, scales: Floats, past: int, tap: Tap) -> Floats:
        out, scores, weights = self.ops.attention_weights(q, keys, values, 0, past, self.scale, scales)
        new_scores = tap(self._scores, scores)
        if new_scores is not scores:
            weights = self.ops.softmax(new_scores.reshape(-1, scores.shape[2])).reshape(scores.shape)
        new_weights = tap(self._weights, weights)
        if new_scores is scores and new_weights is weights:
            return np.asarray(out)
        seen = past + len(q)
        v = values[0].swapaxes(1, 2).reshape(self.heads, values.shape[3], -1)[:, :seen, : keys.shape[3]]
        mixed = np.matmul(new_weights, widened(v, scales[0, :, 1, :seen]))  # [heads, queries, width]
        return np.ascontiguousarray(mixed.swapaxes(0, 1)).reshape(q.shape)
