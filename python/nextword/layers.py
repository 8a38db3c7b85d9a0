"""Linear, LayerNorm, Embedding, KVCache: they hold arrays and call ops. A layer computes in one pass what nobody asks
to see, and step by step what a tap wants; the bits are the same."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.trace import Tap

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PANEL = 32  # tokens in a panel of the key cache; see csrc/formats.h


class Linear:
    """x @ weight + bias. weight: packed [depth, cols]; bias: float32 [cols] or None."""

    def __init__(self, ops: ModuleType, weight: Any, bias: Floats | None) -> None:
        self.ops, self.weight, self.bias = ops, weight, bias

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.matmul(x, self.weight, self.bias)
        return y

    def add_to(self, residual: Floats, x: Floats, tap: Tap, name: str) -> Floats:
        """residual + tap(name, self(x))."""
        if tap.wants(name):
            return residual + tap(name, self(x))
        y: Floats = self.ops.matmul_residual(x, self.weight, self.bias, residual)
        return y


class GeluLinear(Linear):
    """gelu(x @ weight + bias); form: "gelu_tanh" or "gelu_erf"."""

    def __init__(self, ops: ModuleType, weight: Any, bias: Floats | None, form: str) -> None:
        super().__init__(ops, weight, bias)
        self._gelu, self._fused = getattr(ops, form), getattr(ops, f"matmul_{form}")

    def activated(self, x: Floats, tap: Tap, name: str) -> Floats:
        """gelu(tap(name, self(x)))."""
        y: Floats = self._gelu(tap(name, self(x))) if tap.wants(name) else self._fused(x, self.weight, self.bias)
        return y


class LayerNorm:
    """Normalise rows, then scale and shift. weight, bias: float32 [cols]."""

    def __init__(self, ops: ModuleType, weight: Floats, bias: Floats, eps: float) -> None:
        self.ops, self.weight, self.bias, self.eps = ops, weight, bias, eps

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.layer_norm(x, self.weight, self.bias, self.eps)
        return y


class Embedding:
    """Token plus position. tokens: packed [width, vocabulary]; positions: float32 [context, width]."""

    def __init__(self, ops: ModuleType, tokens: Any, positions: Floats) -> None:
        self.ops, self.tokens, self.positions = ops, tokens, positions

    def __call__(self, ids: Ints, places: Ints, tap: Tap) -> Floats:
        if tap.wants("wte") or tap.wants("wpe"):
            nowhere = np.zeros((1, self.positions.shape[1]), np.float32)
            token = self.ops.embedding(ids, np.zeros_like(ids), self.tokens, nowhere)
            y: Floats = tap("wte", token) + tap("wpe", self.positions[places])
            return y
        y = self.ops.embedding(ids, places, self.tokens, self.positions)
        return y


class KVCache:
    """Keys and values of the tokens that a model has seen, for `slots` sequences of at most `capacity` tokens each.

    lengths: int64 [slots], tokens held; lowering an entry forgets the last tokens of its sequence.
    keys[layer]: float32 [slots, heads, capacity / 32, width, 32].
    values[layer]: float32 [slots, heads, ceil(width / 32), capacity, 32].
    prefix: a cache of one slot, full, whose tokens all sequences begin with; they are held once, and `keys` and
        `values` begin behind them. `prefix_tokens` of them, a multiple of 32, count in `lengths` and `capacity`.
    """

    def __init__(self, ops: ModuleType, layers: int, slots: int, heads: int, width: int, capacity: int,
                 prefix: "KVCache | None" = None) -> None:
        self.prefix = prefix
        self.prefix_tokens: int = 0 if prefix is None else prefix.capacity
        if prefix is not None and not (len(prefix.lengths) == 1 and prefix.lengths[0] == prefix.capacity):
            raise ValueError(f"cache: prefix must be one slot of {prefix.capacity} tokens, all held, "
                             f"got {prefix.lengths.tolist()}")
        panels = max(1, -(-(capacity - self.prefix_tokens) // PANEL))
        self.capacity: int = self.prefix_tokens + panels * PANEL
        self.lengths: Ints = np.full(slots, self.prefix_tokens, np.int64)
        # One array for all layers, large enough for huge pages. What append has not written is never read.
        self.keys = list(ops.empty((layers, slots, heads, panels, width, PANEL)))
        self.values = list(ops.empty((layers, slots, heads, -(-width // PANEL), panels * PANEL, PANEL)))

    def whole(self, layer: int, slot: int) -> tuple[Floats, Floats]:
        """Keys and values of one sequence in one layer, the prefix included, as a cache of one slot has them."""
        keys, values = self.keys[layer][slot], self.values[layer][slot]
        if self.prefix is not None:
            keys = np.concatenate([self.prefix.keys[layer][0], keys], 1)
            values = np.concatenate([self.prefix.values[layer][0], values], 2)
        return keys[None], values[None]

    def copy(self, source: int, target: int, tokens: int, start: int = 0, into: "KVCache | None" = None) -> None:
        """Let slot `target` hold the first `tokens` tokens of slot `source`, bit by bit, and nothing after them.

        start: so many tokens are in both slots already, and only what follows them is copied.
        into: the cache that `target` is a slot of, made by the same model; this one if None.
        Raises IndexError if a slot is not there, ValueError unless 0 <= start <= tokens, the source holds `tokens`
        tokens, the target `start`, and `tokens` fit into it.
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
        if self.prefix is not other.prefix:
            raise ValueError("copy: both caches must begin with the same prefix")
        start, end = max(0, start - self.prefix_tokens), max(0, tokens - self.prefix_tokens)  # in keys and values
        panels = slice(start // PANEL, -(-end // PANEL))  # whole ones: a token is a lane of each row of its panel
        if (source != target or other is not self) and start < end:
            for to, keys in zip(other.keys, self.keys, strict=True):
                to[target, :, panels] = keys[source, :, panels]
            for to, values in zip(other.values, self.values, strict=True):
                to[target, :, :, start:end] = values[source, :, :, start:end]
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
        keys, values, past = cache.keys[layer], cache.values[layer], cache.lengths[slots] - cache.prefix_tokens
        self.ops.append(k, v, keys, values, slots, past, fresh)
        if not (tap.wants(self._scores) or tap.wants(self._weights)):
            before = () if cache.prefix is None else (cache.prefix.keys[layer][0], cache.prefix.values[layer][0])
            out: Floats = self.ops.attention(q, keys, values, slots, past, fresh, self.scale, *before)
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

    def _traced(self, q: Floats, keys: Floats, values: Floats, past: int, tap: Tap) -> Floats:
        out, scores, weights = self.ops.attention_weights(q, keys, values, 0, past, self.scale)
        new_scores = tap(self._scores, scores)
        if new_scores is not scores:
            weights = self.ops.softmax(new_scores.reshape(-1, scores.shape[2])).reshape(scores.shape)
        new_weights = tap(self._weights, weights)
        if new_scores is scores and new_weights is weights:
            return np.asarray(out)
        v = values[0].swapaxes(1, 2).reshape(self.heads, values.shape[3], -1)[:, : past + len(q), : keys.shape[3]]
        mixed = np.matmul(new_weights, v)  # [heads, queries, width]
        return np.ascontiguousarray(mixed.swapaxes(0, 1)).reshape(q.shape)
