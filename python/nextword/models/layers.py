"""Linear, LayerNorm, Embedding, Attention: they hold arrays and call ops. A layer computes in one pass what nobody asks
to see, and step by step what a tap wants; the bits are the same."""

from types import ModuleType
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints, Panels
from nextword.models.cache import KVCache, widened
from nextword.models.tap import Tap


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

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.ops.layer_norm(x, self.weight, self.bias, self.eps)
        return y


class Embedding:
    """Token plus position. tokens: packed [width, vocabulary]; positions: float32 [context, width], or None.

    names: of both as activations.
    """

    def __init__(self, ops: ModuleType, tokens: Any, positions: Floats | None, names: tuple[str, str]) -> None:
        self.ops, self.tokens, self.positions = ops, tokens, positions
        self._token, self._position = names

    def __call__(self, ids: Ints, places: Ints, tap: Tap) -> Floats:
        if tap.wants(self._token) or tap.wants(self._position):
            token: Floats = tap(self._token, self.ops.embedding(ids, None, self.tokens, None))
            return token if self.positions is None else token + tap(self._position, self.positions[places])
        y: Floats = self.ops.embedding(ids, places, self.tokens, self.positions)
        return y


class Attention:
    """Causal attention of new tokens over the cache of one layer."""

    def __init__(self, ops: ModuleType, heads: int, scale: float, name: str) -> None:
        self.ops, self.heads, self.scale = ops, heads, scale
        self._q, self._k, self._v = (f"{name}.{x}" for x in "qkv")
        self._scores, self._weights, self._z = f"{name}.scores", f"{name}.weights", f"{name}.z"

    def __call__(self, qkv: Floats, cache: KVCache, layer: int, slots: Ints, fresh: Ints, tap: Tap) -> Floats:
        """qkv: [tokens, 3 * embd], the tokens of all sequences one after the other. Returns [tokens, embd]."""
        embd = qkv.shape[1] // 3
        q = self._by_head(tap, self._q, qkv[:, :embd])
        k = self._by_head(tap, self._k, qkv[:, embd : 2 * embd])
        v = self._by_head(tap, self._v, qkv[:, 2 * embd :])
        keys, values, scales, prefix_keys, prefix_values, prefix_scales = cache.of_layer(layer)
        past = cache.held(slots)
        self.ops.append(k, v, keys, values, slots, past, fresh, scales)
        if not (tap.wants(self._scores) or tap.wants(self._weights)):
            out: Floats = self.ops.attention(q, keys, values, slots, past, fresh, self.scale, prefix_keys,
                                             prefix_values, scales, prefix_scales)
        else:
            ends = np.cumsum(fresh)
            parts = [self._traced(q[e - n : e], *cache.whole(layer, int(slot)), int(start), tap.only(slice(e - n, e)))
                     for slot, start, n, e in zip(slots, cache.lengths[slots], fresh, ends, strict=True)]
            out = np.concatenate(parts) if parts else q
        return self._by_head(tap, self._z, out)

    def _by_head(self, tap: Tap, name: str, x: Floats) -> Floats:
        """Show x [tokens, embd] to the tap as [heads, tokens, width]."""
        if not tap.wants(name):
            return x
        shown = np.ascontiguousarray(x.reshape(len(x), self.heads, x.shape[1] // self.heads).swapaxes(0, 1))
        return np.ascontiguousarray(tap(name, shown).swapaxes(0, 1)).reshape(x.shape)

    def _traced(self, q: Floats, keys: Panels, values: Panels, scales: Floats, past: int, tap: Tap) -> Floats:
        """The same of one sequence, step by step. A head's row whose weights no tap has changed keeps its bits; of
        others, the weighted sum goes over ascending positions, however the text is cut."""
        out, scores, weights = self.ops.attention_weights(q, keys, values, 0, past, self.scale, scales)
        new_scores, new_weights = tap(self._scores, scores), weights
        if new_scores is not scores:
            rows = (new_scores != scores).any(axis=2)  # [heads, queries]
            new_weights = weights.copy()
            new_weights[rows] = self.ops.softmax(new_scores[rows])
        new_weights = tap(self._weights, new_weights)
        if new_weights is weights:
            return np.asarray(out)
        rows = (new_weights != weights).any(axis=2)
        seen, width = past + len(q), keys.shape[3]
        v = values[0].swapaxes(1, 2).reshape(self.heads, values.shape[3], -1)[:, :seen, :width]
        v = widened(v, scales[0, :, 1, :seen])  # [heads, keys, width]
        mixed = np.array(out).reshape(len(q), self.heads, width)
        for head in np.flatnonzero(rows.any(axis=1)):
            mixed[rows[head], head] = self._mixed(new_weights[head, rows[head]], v[head])
        return mixed.reshape(q.shape)

    def _mixed(self, weights: Floats, v: Floats) -> Floats:
        """weights [queries, keys] @ v [keys, width]."""
        if not np.isfinite(v).all():  # which no packed matrix may be
            return np.asarray(np.matmul(weights, v))
        found: Floats = self.ops.matmul(np.ascontiguousarray(weights), self.ops.pack(np.ascontiguousarray(v)), None)
        return found
