"""Attention of one layer of an encoder: every token sees all tokens of its own text, or those of a window. In one pass
where nobody asks to see its steps, step by step for a tap; the bits are the same."""

from types import ModuleType

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.models.rotary import Turns
from nextword.models.tap import Tap


class Within:
    """Attention of the tokens of each text over each other, to the left and to the right.

    heads: of queries, keys and values alike. scale: of the scores. window: how far a token sees to each side; 0: all.
    bias: of the scores by distance, float32 [heads, 2 * reach + 1], or None.
    turns: by which queries and keys turn at each place, or None.
    """

    def __init__(self, ops: ModuleType, heads: int, scale: float, window: int = 0, bias: Floats | None = None,
                 turns: Turns | None = None) -> None:
        self.ops, self.heads, self.scale, self.window, self.bias = ops, heads, scale, window, bias
        self.turns = turns

    def __call__(self, qkv: Floats, fresh: Ints, tap: Tap, name: str, places: Ints | None = None) -> Floats:
        """qkv: [tokens, 3 * width], the tokens of all texts one after the other; fresh: how many each has. name: under
        which its activations are shown, such as h.0.attn. places: of the tokens, where queries and keys turn. Returns
        [tokens, width]."""
        width = qkv.shape[1] // 3
        q, k, v = (self._shown(tap, f"{name}.{one}", qkv[:, at * width : (at + 1) * width])
                   for at, one in enumerate("qkv"))  # fmt: skip
        if self.turns is not None and places is not None:
            q, k = (self._shown(tap, f"{name}.{one}_rot", self.ops.rotate(x, places, self.turns.table))
                    for one, x in (("q", q), ("k", k)))
        if not (tap.wants(f"{name}.scores") or tap.wants(f"{name}.weights")):
            out: Floats = self.ops.attention_within(q, k, v, fresh, self.heads, self.scale, self.window, self.bias)
        else:
            ends = np.cumsum(fresh)
            parts = [self._traced(q[e - n : e], k[e - n : e], v[e - n : e], tap.only(slice(e - n, e)), name)
                     for n, e in zip(fresh.tolist(), ends.tolist(), strict=True)]  # fmt: skip
            out = np.concatenate(parts) if parts else np.ascontiguousarray(q)
        return self._shown(tap, f"{name}.z", out)

    def _shown(self, tap: Tap, name: str, x: Floats) -> Floats:
        """Show x [tokens, heads * width] to the tap as [heads, tokens, width]."""
        if not tap.wants(name):
            return x
        shown = np.ascontiguousarray(x.reshape(len(x), self.heads, x.shape[1] // self.heads).swapaxes(0, 1))
        return np.ascontiguousarray(tap(name, shown).swapaxes(0, 1)).reshape(x.shape)

    def _traced(self, q: Floats, k: Floats, v: Floats, tap: Tap, name: str) -> Floats:
        """The same of one text, step by step. A head's row whose weights no tap has changed keeps its bits."""
        out, scores, weights = self.ops.attention_within_weights(q, k, v, self.heads, self.scale, self.window,
                                                                   self.bias)
        new_scores, new_weights = tap(f"{name}.scores", scores), weights
        if new_scores is not scores:
            rows = (new_scores != scores).any(axis=2)  # [heads, queries]
            new_weights = weights.copy()
            new_weights[rows] = self.ops.softmax(np.ascontiguousarray(new_scores[rows]))
        new_weights = tap(f"{name}.weights", new_weights)
        if new_weights is weights:
            return np.asarray(out)
        rows = (new_weights != weights).any(axis=2)
        width = q.shape[1] // self.heads
        mixed = np.array(out).reshape(len(q), self.heads, width)
        for head in np.flatnonzero(rows.any(axis=1)):
            values = np.ascontiguousarray(v[:, head * width : (head + 1) * width])
            mixed[rows[head], head] = self._mixed(new_weights[head, rows[head]], values)
        return mixed.reshape(q.shape)

    def _mixed(self, weights: Floats, v: Floats) -> Floats:
        """weights [queries, keys] @ v [keys, width]."""
        if not np.isfinite(v).all():  # which no packed matrix may be
            return np.asarray(np.matmul(weights, v))
        found: Floats = self.ops.matmul(np.ascontiguousarray(weights), self.ops.pack(v), None)
        return found
