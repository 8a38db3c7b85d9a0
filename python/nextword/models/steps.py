"""What an activation is made of, as an architecture declares it for its names: for whoever follows a number to its
sources, or a logit to the parts that make it. Nothing is computed with these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from nextword.models.layers import Linear, Norm
from nextword.models.rotary import Turns


@dataclass(frozen=True)
class Lookup:
    """One row of a table for each token. table: packed [width, vocabulary] where `by` is the token, float32 [places,
    width] where it is the token's place in the text."""

    table: Any
    by: Literal["token", "place"]


@dataclass(frozen=True)
class Sum:
    """The sum of activations of the same shape, from left to right; of one, the same numbers."""

    terms: tuple[str, ...]


@dataclass(frozen=True)
class Normalised:
    """layer(x) of each row; of [heads, tokens, width], of each head's."""

    of: str
    layer: Norm


@dataclass(frozen=True)
class Product:
    """layer(x) of each row, or some columns of it from `first` on. What is [heads, tokens, width], x or the result, is
    [tokens, heads * width] in it. transposed: whether the matrix is called [cols, depth], as embeddings are."""

    of: str
    layer: Linear
    first: int = 0
    transposed: bool = False


@dataclass(frozen=True)
class Activated:
    """form(x), number by number; form: the name of the operation."""

    of: str
    form: str


@dataclass(frozen=True)
class Gated:
    """form(x) * up, number by number; form: the name of the operation."""

    of: str
    form: str
    up: str


@dataclass(frozen=True)
class Rotated:
    """Each head's pairs of numbers (i, width / 2 + i), turned by the angles of the token's place."""

    of: str
    turns: Turns


@dataclass(frozen=True)
class Scores:
    """scale * queries . keys [heads, queries, keys], keys as the cache holds them, head h // group of them for head h;
    -inf for keys behind the query, and for those that are not among the last `window` up to it (0: all are)."""

    queries: str
    keys: str
    scale: float
    group: int = 1
    window: int = 0


@dataclass(frozen=True)
class Softmax:
    """The softmax of each row of scores."""

    of: str
    window: int = 0


@dataclass(frozen=True)
class Mixed:
    """weights @ values of each head, values as the cache holds them, head h // group of them for head h."""

    weights: str
    values: str
    group: int = 1
    window: int = 0


Step = Lookup | Sum | Normalised | Product | Activated | Gated | Rotated | Scores | Softmax | Mixed
