"""What a pass brings to a graph: its tokens, and where those before them are remembered."""

from typing import NamedTuple

from nextword.arithmetic.arrays import Ints
from nextword.models.cache import KVCache


class Inputs(NamedTuple):
    """The tokens of a pass, those of all sequences one after the other, and which of them give logits."""

    ids: Ints  # [tokens]
    places: Ints  # [tokens], counted through each sequence
    wanted: Ints  # [rows], tokens counted through the pass


class Past(NamedTuple):
    """The cache of a pass, and how its tokens are divided among the sequences."""

    cache: KVCache
    slots: Ints  # [sequences], where each lives in the cache
    fresh: Ints  # [sequences], new tokens of each
    places: Ints  # [tokens], as of the inputs
