"""The key-value cache: what a model remembers of the tokens that it has seen."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats, Ints, Panels
from nextword.machine import memory
from nextword.machine.guard import Guard
from nextword.models.rows import Rows

PANEL = 32  # tokens in a panel of the key cache; see csrc/kernels/formats.h
ELEMENTS: dict[str, type] = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}  # of a cache, by its dtype


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
    prompts: int64 [slots], how many tokens the prompt of each has; 0 where nothing says so yet. texts: int64 [slots],
        how many texts have begun in it.
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
        self.patched: NDArray[np.bool_] = np.full(slots, prefix is not None and bool(prefix.patched[0]))
        self.prompts: Ints = np.zeros(slots, np.int64)
        self.texts: Ints = np.zeros(slots, np.int64)
        self.guard = Guard("model: the cache is in use by another thread; give each thread a cache of its own")
        # One array for all layers, large enough for huge pages. What append has not written is never read.
        self.keys = list(panels(ops, (layers, slots, heads, count, width), dtype))
        self.values = list(panels(ops, (layers, slots, heads, -(-width // PANEL), own), dtype))
        self.scales: list[Floats] = list(ops.empty((layers, slots, heads, 2, own if dtype == "int8" else 0)))
        self.lengths: Ints = np.full(slots, self.prefix_tokens, np.int64)
        self.before: list[tuple[Panels, Panels, Floats] | tuple[None, None, None]] = [(None, None, None)] * layers
        if prefix is not None:
            self.before = [(keys[0], values[0], scales[0]) for keys, values, scales in prefix.layers()]

    def rows(self, slots: Ints, fresh: Ints) -> Rows:
        """The rows of a pass that brings so many tokens to each slot; the first pass of a text is its prompt, unless
        `prompts` says more."""
        past = self.lengths[slots]
        positions = np.concatenate([np.arange(p, p + n) for p, n in zip(past, fresh, strict=True)] or [past])
        self.texts[slots] += (past == self.prefix_tokens) & (fresh > 0)
        self.prompts[slots] = np.where(self.prompts[slots] > 0, self.prompts[slots], past + fresh)
        return Rows(self.guard, np.repeat(slots, fresh), np.repeat(self.texts[slots], fresh), positions,
                    np.repeat(self.prompts[slots], fresh))

    def held(self, slots: Ints) -> Ints:
        """How many tokens of each slot are in `keys` and `values`."""
        found: Ints = self.lengths[slots] - self.prefix_tokens
        return found

    def of_layer(self, layer: int) -> tuple[Panels, Panels, Floats, Panels | None, Panels | None, Floats | None]:
        """Keys, values and scales of a layer, then those that all sequences begin with, or None."""
        return self.keys[layer], self.values[layer], self.scales[layer], *self.before[layer]

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

    def forget(self, slot: int) -> None:
        """Let the slot hold nothing but the prefix, as at first."""
        self.lengths[slot], self.prompts[slot] = self.prefix_tokens, 0
        self.patched[slot] = self.prefix is not None and self.prefix.patched[0]

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
        if start == 0 and (source != target or other is not self):
            other.texts[target] += 1
        other.prompts[target] = other.prompts[target] or self.prompts[source]
        other.patched[target] = self.patched[source] or (start > 0 and other.patched[target])
