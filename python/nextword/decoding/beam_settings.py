"""What `beam_search` takes as settings, checked."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nextword.machine.shown import is_integer

EarlyStopping = bool | Literal["never"]


@dataclass(frozen=True, kw_only=True)
class BeamSettings:
    """The settings of a search, by the names of `beam_search`, which tells what they do."""

    num_beams: int = 4
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    max_new_tokens: int = 40

    def __post_init__(self) -> None:
        for name in ("num_beams", "num_return_sequences", "num_beam_groups", "max_new_tokens"):
            value, least = getattr(self, name), int(name != "max_new_tokens")
            if not is_integer(value) or value < least:
                raise ValueError(f"beam_search: {name} must be an integer >= {least}, got {value!r}")
            object.__setattr__(self, name, int(value))
        for name in ("length_penalty", "diversity_penalty"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
                raise ValueError(f"beam_search: {name} must be a number, got {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"beam_search: {name} must be finite, got {value}")
            object.__setattr__(self, name, float(value))
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise ValueError(f'beam_search: early_stopping must be False, True or "never", got {self.early_stopping!r}')
        if self.num_return_sequences > self.num_beams:
            raise ValueError(f"beam_search: num_return_sequences must be at most num_beams, "
                             f"got {self.num_return_sequences} and {self.num_beams}")
        if self.num_beams % self.num_beam_groups:
            raise ValueError(f"beam_search: num_beam_groups must divide num_beams, "
                             f"got {self.num_beam_groups} and {self.num_beams}")
        if self.diversity_penalty < 0:
            raise ValueError(f"beam_search: diversity_penalty must be >= 0, got {self.diversity_penalty}")
        if self.diversity_penalty and self.num_beam_groups == 1:
            raise ValueError(f"beam_search: diversity_penalty needs num_beam_groups of 2 or more, "
                             f"got {self.diversity_penalty} and 1 group")
        if abs(self.length_penalty) * math.log(max(2, self.max_new_tokens)) > 700:  # e ** 709 is no float any more
            raise ValueError(f"beam_search: length_penalty must leave max_new_tokens ** length_penalty a number, "
                             f"got {self.length_penalty} and {self.max_new_tokens}")
