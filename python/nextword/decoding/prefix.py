"""PrefixCache: prompts already encoded, as shared pages of keys and values. Left out: running the model."""

import operator
import os
import threading
import weakref
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from nextword.arithmetic.arrays import Floats, Panels
from nextword.machine import memory
from nextword.models.cache import PANEL, KVCache, panels
from nextword.models.model import Model

SLAB = 8  # pages whose memory is taken at once: large enough for huge pages, small beside a long prompt


class Page:
    """Up to 32 tokens that follow the parent's, and their keys and values in every layer."""

    def __init__(self, parent: "Page | None", keys: Panels, values: Panels, scales: Floats) -> None:
        self.parent, self.keys, self.values, self.scales = parent, keys, values, scales
        self.ids: list[int] = []
        self.children: list[Page] = []
        self.used = 0


_alive: "weakref.WeakSet[PrefixCache]" = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked process: a thread that was changing a store is not there, and may have left a page half written."""
    for store in _alive:
        if store._turn.acquire(blocking=False):
            store._turn.release()
        else:
            store._turn = threading.Lock()
            store._empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class PrefixCache:
    """A bounded store of encoded prompts, so that what two prompts begin with is encoded once.

    model: the model that encodes; tokens: how many the store holds at most, at `2 * layers * width` numbers of its
    `kv_dtype` each (73,728 bytes for GPT-2 124M in float32, so that 4,096 tokens take up to 302 MB). It keeps pages of
    32 tokens in a tree: prompts with a common beginning share its pages, and those not used for the longest time go
    first. Any common beginning counts, not only whole pages. Memory is taken for 256 tokens at once and kept until
    `clear()`.

    Bits do not depend on it: what it gives is what the model would compute (same instruction set; `clear()` after
    `set_isa`). While a trace looks into the model it stands aside, so that every activation is seen; what was computed
    under replaced activations it does not take. Any number of threads may share it.

    Raises ValueError if `tokens` is below 32, MemoryError if the store would not fit into memory once it is full.

    >>> import nextword
    >>> lm = nextword.load()
    >>> store = PrefixCache(lm.model, tokens=512)
    >>> first = lm.session("Once upon a time there was a king", prefix=store)
    >>> ids = lm.tokenizer.encode("Once upon a time there was a queen")
    >>> store.lookup(ids), len(ids)                       # so many tokens need not be encoded again
    (8, 9)
    """

    def __init__(self, model: Model, tokens: int = 4096) -> None:
        try:
            tokens = operator.index(tokens)
        except TypeError:
            raise TypeError(f"PrefixCache: tokens must be an integer, got {tokens!r}") from None
        if tokens < PANEL:
            raise ValueError(f"PrefixCache: tokens must be at least {PANEL} (a page), got {tokens}")
        memory.require("PrefixCache", f"tokens={tokens}", tokens // PANEL * model.cache_bytes(1, PANEL),
                       "ask for fewer")  # now, as it is taken little by little
        self.model, self.tokens, self._dtype = model, tokens, model.kv_dtype
        layers, heads, width = model.layers, model.kv_heads, model.head_width
        self._keys = (layers, heads, width, PANEL)
        self._values = (layers, heads, -(-width // PANEL), PANEL, PANEL)
        self._scales = (layers, heads, 2, PANEL if self._dtype == "int8" else 0)
        self._turn = threading.Lock()  # held by who reads or changes pages
        self._empty()
        _alive.add(self)

    def clear(self) -> None:
        """Forget everything and give the memory back."""
        with self._turn:
            self._empty()

    def _empty(self) -> None:
        self._pages: set[Page] = set()
        self._free: list[tuple[Panels, Panels, Floats]] = []  # keys, values and scales of pages to come
        self._slabs: list[Panels] = []
        self._root = Page(None, *(self.model.ops.empty((0,)) for _ in range(3)))
        self._clock = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Raises TypeError: a store belongs to its model."""
        raise TypeError("pickle: a PrefixCache belongs to its model in this process; make another with "
                        "PrefixCache(lm.model, tokens)")

    def __len__(self) -> int:
        """Tokens held."""
        with self._turn:
            return sum(len(page.ids) for page in self._pages)

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return sum(slab.nbytes for slab in tuple(self._slabs))

    def __repr__(self) -> str:
        return f"PrefixCache({len(self)} of {self.tokens} tokens, {self.bytes} bytes)"

    def lookup(self, ids: Sequence[int]) -> int:
        """How many of the first ids the store holds."""
        with self._turn:
            return sum(count for _, count in self._find(ids))

    def fetch(self, ids: Sequence[int], cache: KVCache, slot: int = 0) -> int:
        """Let the slot hold as many of the first ids as the store has, or as it held, if those are more.

        ids: what the slot shall hold; they begin with what it holds already. Returns the tokens that it holds now.
        Raises ValueError if the cache is of another shape than the model's or too small.
        """
        self._check(cache)
        held = int(cache.lengths[slot])
        if self.model.tap.looks:
            return held
        with self._turn:
            return self._fetch(ids, cache, slot, held)

    def _fetch(self, ids: Sequence[int], cache: KVCache, slot: int, held: int) -> int:
        path = self._find(ids)
        found = sum(count for _, count in path)
        if found <= held:
            return held
        if found > cache.capacity:
            raise ValueError(f"fetch: the cache must have room for {found} tokens, got a capacity of {cache.capacity}")
        self._clock += 1
        for number, (page, count) in enumerate(path):
            page.used = self._clock
            if (number + 1) * PANEL > held:
                at = slice(number * PANEL, number * PANEL + count)
                for layer, (keys, values, scales) in enumerate(cache.layers()):
                    keys[slot, :, number] = page.keys[layer]
                    values[slot, :, :, at] = page.values[layer, :, :, :count]
                    scales[slot, :, :, at] = page.scales[layer, :, :, :count]
        cache.lengths[slot] = found
        return found

    def remember(self, ids: Sequence[int], cache: KVCache, slot: int = 0) -> None:
        """Store what the slot holds of the first ids; they must be what it holds. Beyond `tokens` they are left out."""
        self._check(cache)
        if self.model.tap.looks or cache.patched[slot]:
            return
        with self._turn:
            try:
                self._remember(ids, cache, slot)
            except BaseException:  # interrupted, or out of memory: nothing rather than half a page
                self._empty()
                raise

    def _remember(self, ids: Sequence[int], cache: KVCache, slot: int) -> None:
        wanted = list(ids[: min(int(cache.lengths[slot]), self.tokens // PANEL * PANEL)])
        self._clock += 1
        path = self._find(wanted)
        page, begin = self._root, 0
        for step, count in path:
            step.used = self._clock
            if begin + count == len(wanted):
                return
            if count < len(step.ids):
                break  # the prompt goes another way inside of this page
            if count < PANEL:
                self._fill(step, wanted, begin, cache, slot)
            page, begin = step, begin + PANEL
        for at in range(begin, len(wanted), PANEL):
            if (len(self._pages) + 1) * PANEL > self.tokens:
                self._drop_oldest(keep=page)
            if not self._free:
                self._grow()
            fresh = Page(page, *self._free.pop())
            self._fill(fresh, wanted, at, cache, slot)
            fresh.used = self._clock
            page.children.append(fresh)
            self._pages.add(fresh)
            page = fresh

    def _find(self, ids: Sequence[int]) -> list[tuple[Page, int]]:
        """The pages that the ids begin with, and how many tokens of each they share: 32, but for the last one."""
        path, page = [], self._root
        for at in range(0, len(ids), PANEL):
            part = ids[at : at + PANEL]
            count, best = max(((_common(child.ids, part), child) for child in page.children), key=lambda x: x[0],
                              default=(0, page))
            if not count:
                break
            path.append((best, count))
            if count < PANEL:
                break
            page = best
        return path

    def _fill(self, page: Page, ids: list[int], at: int, cache: KVCache, slot: int) -> None:
        page.ids = ids[at : at + PANEL]
        count = len(page.ids)
        for layer, (keys, values, scales) in enumerate(cache.layers()):
            page.keys[layer] = keys[slot, :, at // PANEL]
            page.values[layer, :, :, :count] = values[slot, :, :, at : at + count]
            page.scales[layer, :, :, :count] = scales[slot, :, :, at : at + count]

    def _grow(self) -> None:
        """Take memory for some more pages."""
        count = min(SLAB, self.tokens // PANEL - len(self._pages))
        ops = self.model.ops
        keys, values = (panels(ops, (count, *shape[:-1]), self._dtype) for shape in (self._keys, self._values))
        scales: Floats = ops.empty((count, *self._scales))
        self._slabs += keys, values, scales
        self._free += zip(keys, values, scales, strict=True)

    def _drop_oldest(self, keep: Page) -> None:
        leaves = (page for page in self._pages if not page.children and page is not keep)
        oldest = min(leaves, key=lambda page: page.used)
        self._pages.remove(oldest)
        self._free.append((oldest.keys, oldest.values, oldest.scales))
        if oldest.parent is not None:
            oldest.parent.children.remove(oldest)

    def _check(self, cache: KVCache) -> None:
        keys, layers = cache.keys, len(cache.keys)
        shape = (layers, *keys[0].shape[1:2], *keys[0].shape[3:]) if layers else (0,)
        if shape != self._keys or cache.dtype != self._dtype:
            raise ValueError(f"PrefixCache: the cache must be the model's, {self._dtype} [layers, heads, width, "
                             f"{PANEL}] = {list(self._keys)}, got {cache.dtype} {list(shape)}")


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many first elements agree."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
