"""Rotary position embedding (Su et al. 2021): how far heads turn at each place, as a config.json says it. The turning
itself is an operation, `ops.rotate`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Doubles, Floats
from nextword.machine import memory
from nextword.machine.shown import shown

PIECE = 4096  # places whose angles are computed at once
LARGEST = sys.float_info.max
MOST_PLACES = 2.0**31  # of any max_position_embeddings
NEEDED = {"default": (), "linear": ("factor",),
          "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
          "yarn": ("factor", "original_max_position_embeddings")}  # fmt: skip
NUMBERS = ("rope_theta", "factor", "low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow",
           "mscale", "mscale_all_dim")  # fmt: skip
# Of kinds that are not computed here; transformers would not read them with another kind.
REFUSED = ("short_factor", "long_factor", "mrope_section")


@dataclass(frozen=True)
class Rope:
    """The fields of `rope_parameters` that change the angles, with transformers' names and defaults.

    rope_type: "default"; "linear", places divided by `factor`, a number or one for each frequency; "llama3" (Llama 3.1)
    and "yarn" (Peng et al. 2023), where slow frequencies are divided and fast ones are not.
    """

    rope_type: str = "default"
    rope_theta: float = 10000.0
    factor: float | tuple[float, ...] = 1.0
    original_max_position_embeddings: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Rope:
        """Read a config.json: `rope_parameters`, or `rope_scaling` beside `rope_theta`, as older files have it.

        Raises ValueError that names the field that is wrong or not supported.

        >>> Rope.from_config({"rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 2.0}}).factor
        2.0
        """
        name = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
        given = config.get(name) or {}
        if not isinstance(given, dict) or any(isinstance(x, dict) for x in given.values()):
            raise ValueError(f"config: {name} must be an object of numbers, the same for all layers, got {given!r}")
        told = {"rope_type": given.get("type", "default"),
                **{one: config[one] for one in ("rope_theta", "partial_rotary_factor") if config.get(one) is not None},
                **{one: value for one, value in given.items() if value is not None}}  # fmt: skip
        kind = told["rope_type"]
        if not isinstance(kind, str) or kind not in NEEDED:
            raise ValueError(f"config: rope_type of {name} must be one of {', '.join(NEEDED)}, got {kind!r}")
        if told.get("partial_rotary_factor", 1.0) != 1.0:
            raise ValueError("config: partial_rotary_factor must be 1: heads that turn in part are not supported, "
                             f"got {told['partial_rotary_factor']!r}")
        for one in REFUSED:
            if one in told:
                raise ValueError(f"config: {one} of {name} must be absent: it is not supported, got {told[one]!r}")
        if kind in ("llama3", "yarn"):  # as transformers fills it in
            beside = config.get("original_max_position_embeddings")
            told["original_max_position_embeddings"] = (
                beside or told.get("original_max_position_embeddings") or config.get("max_position_embeddings"))
        for one in NEEDED[kind]:
            if told.get(one) is None:
                raise ValueError(f"config: {one} of {name} must be there for rope_type {kind!r}, got {given!r}")
        known = {f.name: told[f.name] for f in fields(cls) if f.name in told}
        if kind == "linear" and isinstance(known["factor"], list):
            known["factor"] = tuple(known["factor"])
        return cls(**known)

    def __post_init__(self) -> None:
        for name in NUMBERS:
            value = getattr(self, name)
            for x in value if name == "factor" and isinstance(value, tuple) else [value]:
                if x is not None and (isinstance(x, bool) or not isinstance(x, int | float) or not 0 < x <= LARGEST):
                    raise ValueError(f"config: {name} of the rotary embedding must be a positive number, "
                                     f"got {shown(x)}")
        if self.rope_theta <= 1:
            raise ValueError(f"config: rope_theta must be above 1, got {self.rope_theta!r}")
        size = self.original_max_position_embeddings
        if type(size) is not int or not 0 <= size < 2**31:
            raise ValueError(f"config: original_max_position_embeddings must be a positive integer, got {size!r}")
        if type(self.truncate) is not bool:
            raise ValueError(f"config: truncate must be true or false, got {self.truncate!r}")
        if self.rope_type == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise ValueError("config: high_freq_factor must be above low_freq_factor, got "
                             f"{self.high_freq_factor!r} and {self.low_freq_factor!r}")
        if self.size > float(np.finfo(np.float32).max):
            raise ValueError("config: attention_factor, or mscale over mscale_all_dim, of the rotary embedding must "
                             f"leave cosines finite, got {self.size!r} to multiply them by")

    def frequencies(self, width: int) -> Doubles:
        """By how much each pair of a head turns from one place to the next, in radians: float64 [width / 2].

        Raises ValueError if `factor` has another number of entries than that, or is so small that angles overflow.

        >>> Rope().frequencies(4).tolist(), Rope("linear", factor=2.0).frequencies(4).tolist()
        ([1.0, 0.01], [0.5, 0.005])
        """
        with np.errstate(over="ignore"):
            found = self._frequencies(1.0 / float(self.rope_theta) ** (np.arange(0, width, 2) / width), width)
            if not np.isfinite(found * MOST_PLACES).all():
                raise ValueError("config: factor of the rotary embedding must leave angles finite, got "
                                 f"{shown(self.factor)}")
        return found

    def _frequencies(self, plain: Doubles, width: int) -> Doubles:
        """From those of the default embedding."""
        if self.rope_type == "llama3":
            return self._llama3(plain)
        if self.rope_type == "yarn":
            return self._yarn(plain, width)
        if isinstance(self.factor, tuple) and len(self.factor) != width // 2:
            raise ValueError(f"config: factor must be a number, or one for each of {width // 2} frequencies, got "
                             f"{len(self.factor)}")
        return np.asarray(plain / np.asarray(self.factor if self.rope_type == "linear" else 1.0))

    def _llama3(self, plain: Doubles) -> Doubles:
        """Turns that fit into the first context seldom are divided, those that do often are not, in between smoothly.
        """
        often = self.original_max_position_embeddings * plain / (2 * math.pi)  # turns in the first context
        share = (often - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        share = np.clip(share, 0, 1)  # of the plain frequency
        return np.asarray(plain * (share + (1 - share) / self.factor))

    def _yarn(self, plain: Doubles, width: int) -> Doubles:
        """As `_llama3` from `beta_slow` to `beta_fast` turns, but linear in the number of the pair."""
        def pair(turns: float) -> float:
            """Which turns so often in the first context."""
            first = self.original_max_position_embeddings / (turns * 2 * math.pi)
            return width * math.log(first) / (2 * math.log(self.rope_theta))

        low, high = pair(self.beta_fast), pair(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, width - 1)
        slow = np.clip((np.arange(width // 2) - low) / (high - low or 0.001), 0, 1)  # 0.001: as its authors have it
        return np.asarray(plain * (1 - slow) + plain / self.factor * slow)

    @property
    def size(self) -> float:
        """What cosines and sines are multiplied by: above 1 for yarn, which so makes scores larger."""
        if self.rope_type != "yarn":
            return 1.0
        if self.attention_factor is not None:
            return self.attention_factor

        def scale(by: float) -> float:
            assert not isinstance(self.factor, tuple)  # of linear alone
            return 0.1 * by * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0

        both = self.mscale and self.mscale_all_dim
        return scale(self.mscale or 1) / scale(self.mscale_all_dim or 1) if both else scale(1.0)


class Turns:
    """The angles of all places as `ops.rotate` reads them.

    table: float32 [places, width / 2, 2], cosine and sine of each angle, computed in float64 and rounded once. Only
    those below `reached` are there: a place takes neither time nor memory before a cache holds so many tokens.

    >>> turns = Turns(Rope(), 4, 131_072)
    >>> turns.reach(2)
    >>> turns.table[0].tolist(), turns.reached
    ([[1.0, 0.0], [1.0, 0.0]], 2)
    """

    def __init__(self, rope: Rope, width: int, places: int) -> None:
        self.frequencies, self.size = rope.frequencies(width), rope.size
        try:
            self.table: Floats = np.empty((places, width // 2, 2), np.float32)  # pages that nobody has touched
        except MemoryError:
            raise ValueError("config: max_position_embeddings must be such that the angles of all places may be "
                             f"addressed, got {places}; lower it") from None
        self.reached = 0
        self._lock = Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Turns:
        """Itself: what is there never changes."""
        return self

    def reach(self, places: int) -> None:
        """Have the angles of so many places, at most all of the table; threads may call at once.

        Raises MemoryError if there is not enough for them.
        """
        end = min(places, len(self.table))
        if end <= self.reached:
            return
        with self._lock:
            missing = self.table[self.reached : end]
            memory.require("rotary", f"the angles of {len(missing)} places", missing.nbytes,
                           "ask for a smaller capacity")
            for begin in range(self.reached, end, PIECE):
                stop = min(begin + PIECE, end)
                angles = np.arange(begin, stop)[:, None] * self.frequencies
                self.table[begin:stop, :, 0] = self.size * np.cos(angles)
                self.table[begin:stop, :, 1] = self.size * np.sin(angles)
                self.reached = stop  # last: other threads may read up to here
