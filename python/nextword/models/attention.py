"""Causal attention of one layer: heads may share keys and values, be normalised and turn, and see but a window. In one
pass where nobody asks to see its steps, step by step for a tap; the bits are the same."""

from types import ModuleType

import numpy as np

from nextword.arithmetic.arrays import Floats, Panels
from nextword.models.cache import widened
from nextword.models.inputs import Past
from nextword.models.layers import RMSNorm
from nextword.models.rotary import Turns
from nextword.models.tap import Tap


class Attention:
    """Causal attention of new tokens over the cache of one layer.

    kv_heads: of keys and values, None: `heads`; head h of the queries reads number h // (heads / kv_heads) of them.
    turns: by which queries and keys turn, or None. norms: of each query and each key before that, or None.
    window: how many tokens a query sees, itself included; 0: all before it.
    """

    def __init__(self, ops: ModuleType, heads: int, scale: float, name: str, kv_heads: int | None = None,
                 turns: Turns | None = None, norms: tuple[RMSNorm, RMSNorm] | None = None, window: int = 0) -> None:
        self.ops, self.heads, self.scale, self.name = ops, heads, scale, name
        self.kv_heads: int = heads if kv_heads is None else kv_heads
        self.turns, self.window = turns, window
        self.q_norm: RMSNorm | None
        self.k_norm: RMSNorm | None
        self.q_norm, self.k_norm = norms or (None, None)
        self._scores, self._weights = f"{name}.scores", f"{name}.weights"
        self._turning = tuple(f"{name}.{x}" for x in ("q", "k", "q_rot", "k_rot"))

    @property
    def group(self) -> int:
        """Heads of the queries that read the same keys and values."""
        return self.heads // self.kv_heads

    def __call__(self, qkv: Floats, past: Past, layer: int, tap: Tap) -> Floats:
        """qkv: [tokens, (heads + 2 * kv_heads) * width], the tokens of all sequences one after the other. Returns
        [tokens, heads * width]."""
        q, k, v = self._parts(qkv, past, tap)
        cache, slots, fresh = past.cache, past.slots, past.fresh
        keys, values, scales, prefix_keys, prefix_values, prefix_scales = cache.of_layer(layer)
        held = cache.held(slots)
        self.ops.append(k, v, keys, values, slots, held, fresh, scales)
        if not (tap.wants(self._scores) or tap.wants(self._weights)):
            out: Floats = self.ops.attention(q, keys, values, slots, held, fresh, self.scale, prefix_keys,
                                             prefix_values, scales, prefix_scales, self.window)
        else:
            ends = np.cumsum(fresh)
            parts = [self._traced(q[e - n : e], *cache.whole(layer, int(slot)), int(start), tap.only(slice(e - n, e)))
                     for slot, start, n, e in zip(slots, cache.lengths[slots], fresh, ends, strict=True)]
            out = np.concatenate(parts) if parts else q
        return self._shown(tap, "z", out, self.heads)

    def _parts(self, qkv: Floats, past: Past, tap: Tap) -> tuple[Floats, Floats, Floats]:
        """Queries, and keys and values as they are remembered."""
        width = qkv.shape[1] // (self.heads + 2 * self.kv_heads)
        first, second = self.heads * width, (self.heads + self.kv_heads) * width
        if self.turns is not None and self.q_norm is None and not any(map(tap.wants, self._turning)):
            both: Floats = self.ops.rotate(qkv[:, :second], past.places, self.turns.table)  # one operation for two
            return both[:, :first], both[:, first:], self._shown(tap, "v", qkv[:, second:], self.kv_heads)
        q = self._shown(tap, "q", qkv[:, :first], self.heads)
        k = self._shown(tap, "k", qkv[:, first:second], self.kv_heads)
        v = self._shown(tap, "v", qkv[:, second:], self.kv_heads)
        if self.q_norm is not None and self.k_norm is not None:
            q = self._shown(tap, "q_norm", self.q_norm(q), self.heads)
            k = self._shown(tap, "k_norm", self.k_norm(k), self.kv_heads)
        if self.turns is not None:
            q = self._shown(tap, "q_rot", self.ops.rotate(q, past.places, self.turns.table), self.heads)
            k = self._shown(tap, "k_rot", self.ops.rotate(k, past.places, self.turns.table), self.kv_heads)
        return q, k, v

    def _shown(self, tap: Tap, name: str, x: Floats, heads: int) -> Floats:
        """Show x [tokens, heads * width] to the tap as [heads, tokens, width]."""
        name = f"{self.name}.{name}"
        if not tap.wants(name):
            return x
        shown = np.ascontiguousarray(x.reshape(len(x), heads, x.shape[1] // heads).swapaxes(0, 1))
        return np.ascontiguousarray(tap(name, shown).swapaxes(0, 1)).reshape(x.shape)

    def _traced(self, q: Floats, keys: Panels, values: Panels, scales: Floats, past: int, tap: Tap) -> Floats:
        """The same of one sequence, step by step. A head's row whose weights no tap has changed keeps its bits; of
        others, the weighted sum goes over ascending positions, however the text is cut."""
        out, scores, weights = self.ops.attention_weights(q, keys, values, 0, past, self.scale, scales, self.window)
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
        v = values[0].swapaxes(1, 2).reshape(self.kv_heads, values.shape[3], -1)[:, :seen, :width]
        v = widened(v, scales[0, :, 1, :seen])  # [kv_heads, keys, width]
        mixed = np.array(out).reshape(len(q), self.heads, width)
        for head in np.flatnonzero(rows.any(axis=1)):
            mixed[rows[head], head] = self._mixed(new_weights[head, rows[head]], v[head // self.group])
        return mixed.reshape(q.shape)

    def _mixed(self, weights: Floats, v: Floats) -> Floats:
        """weights [queries, keys] @ v [keys, width]."""
        if not np.isfinite(v).all():  # which no packed matrix may be
            return np.asarray(np.matmul(weights, v))
        found: Floats = self.ops.matmul(np.ascontiguousarray(weights), self.ops.pack(np.ascontiguousarray(v)), None)
        return found
