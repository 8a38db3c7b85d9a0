"""Room: the memory that an engine may take for keys and values, as slots and a store of beginnings. Takes none."""

from typing import NamedTuple

from nextword.machine import memory
from nextword.models.cache import PANEL
from nextword.models.model import Model
from nextword.models.passes import CHUNK

MOST_BYTES = 4 * 2**30  # that are taken unless more are asked for
MOST_SLOTS = 64  # likewise: a pass of more rows is bound by arithmetic; more at once are no faster, but all slower
MOST_STORED = 4096  # tokens of beginnings


class Room(NamedTuple):
    """slots: for so many rows at once. stored: tokens of the beginnings that are kept, 0 for none."""

    slots: int
    stored: int


def usual() -> int:
    """Bytes for keys and values that are taken unless more are asked for: a quarter of what is free, 4 GiB at most."""
    there = memory.available()
    return MOST_BYTES if there is None else min(MOST_BYTES, there // 4)


def slot_bytes(model: Model, drafts: Model | None = None) -> int:
    """What a row's keys and values may take: the model's whole window, and that of what drafts for it."""
    window = model.window or 0
    return model.cache_bytes(1, window) + (drafts.cache_bytes(1, min(drafts.limit, window)) if drafts else 0)


def room(model: Model, drafts: Model | None, slots: int | None, kv_memory: int | None, stores: bool) -> Room:
    """How many slots of the model's window, and tokens of stored beginnings, go into so many bytes.

    kv_memory: None for a quarter of what is free, 4 GiB at most, but a slot in any case. A quarter of it is for the
    store, at most. Pages that no row has touched yet take nothing of the machine, but all may come to be.
    Raises ValueError if not even one slot fits into what was asked for, MemoryError for more than there is.
    """
    window = model.window or 0
    each = slot_bytes(model, drafts)
    page = model.cache_bytes(1, PANEL)
    if slots is not None and slots < 1:
        raise ValueError(f"engine: slots must be at least 1, got {slots}")
    most = kv_memory
    if most is None and slots is not None:
        most = slots * each * 4 // 3
    elif most is None:
        most = max(each, usual())
    least = each * (slots or 1)
    if most < least:
        raise ValueError(f"engine: kv_memory must be at least {least:,} bytes, for {slots or 1} slots of {window} "
                         f"tokens, got {most:,}; give more, or load the model with kv_dtype=\"int8\"")
    pages = min(MOST_STORED // PANEL, most // 4 // page, (most - least) // page) if stores else 0
    count = slots or min(MOST_SLOTS, (most - pages * page) // each)
    memory.require("engine", f"{count} slots of {window} tokens",
                   count * each + pages * page + 4 * (max(CHUNK, count) * model.widest + count * model.vocabulary),
                   "pass fewer slots, or a smaller kv_memory")
    return Room(count, pages * PANEL)
