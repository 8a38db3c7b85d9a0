"""What each attention head looks at: the weight that it gives, on average, to the place that a kind of head is named
for. Changes nothing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats, Ints
from nextword.inside.grid import Grid
from nextword.inside.host import Host, prompt_ids
from nextword.inside.measures import one_of
from nextword.inside.rerun import Watch
from nextword.machine import memory
from nextword.machine.shown import is_integer, shown
from nextword.models.model import Model
from nextword.text.ids import Prompt

Kind = Literal["previous", "first", "duplicate", "induction"]
KINDS = ("previous", "first", "duplicate", "induction")
DRAWN = 50  # tokens of the sequence that is drawn and repeated, at most


@dataclass(frozen=True, eq=False, repr=False)
class HeadScores(Grid):
    """A Grid [layers, heads] of what `heads` found; kind: of which heads. tokens: the ids that were read."""

    kind: str = ""
    tokens: tuple[int, ...] = ()


def heads(host: Host, kind: Kind = "previous", text: Prompt | None = None, seed: int = 0) -> HeadScores:
    """How much of each head's attention goes where heads of a kind look, from 0 to 1.

    kind: "previous", the token before; "first", the first token of the text; "duplicate", earlier tokens that are the
        same; "induction", the tokens that followed those (Elhage et al. 2021, Olsson et al. 2022). Of each token that
        has such places the weights of all of them are summed, and the sums averaged over these tokens.
    text: a text or token ids. None: 50 tokens drawn at random, or half the context window, written twice, so that
        nothing but the repetition can be known.
    seed: of the draw.
    Returns a HeadScores, float64 [layers, heads].
    Raises ValueError for another kind, a text too long or where no token has such a place, MemoryError for one whose
    attention weights do not fit.

    >>> import nextword
    >>> nextword.load().heads("previous").values.shape
    (4, 4)
    """
    model = host.model
    one_of("heads", "kind", kind, KINDS)
    if text is None:
        if not is_integer(seed) or seed < 0:
            raise ValueError(f"heads: seed must be an integer >= 0, got {shown(seed)}")
        half = np.random.default_rng(seed).integers(0, model.vocabulary, min(DRAWN, model.limit // 2))
        ids = [*half.tolist(), *half.tolist()]
    else:
        ids = prompt_ids("heads", host, text)
    memory.require("heads", f"the attention weights of {len(ids)} tokens", (16 * model.heads + 2) * len(ids) ** 2,
                   "take a shorter text")
    places = looked_at(kind, np.array(ids))
    if not places.any():
        raise ValueError(f"heads: text must hold a token that looks at {_SAID[kind]}, got {len(ids)} tokens without "
                         "one; take a longer text that repeats itself, or None")
    rows, cols = (tuple(map(str, range(count))) for count in (model.layers, model.heads))
    return HeadScores(_means(model, ids, places), rows, cols, "layer", "head", f"attention to {_SAID[kind]}",
                      "mean weight", "share", kind, tuple(ids))


_SAID = {"previous": "the token before", "first": "the first token", "duplicate": "earlier tokens that are the same",
         "induction": "tokens that followed the same token earlier"}  # fmt: skip


def looked_at(kind: Kind, ids: Ints) -> NDArray[np.bool_]:
    """[queries, keys]: the places where a head of this kind looks.

    >>> looked_at("induction", np.array([7, 8, 7])).astype(int).tolist()  # the second 7 at what followed the first
    [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    """
    size = len(ids)
    if kind == "previous":
        return np.eye(size, k=-1, dtype=bool)
    if kind == "first":
        found = np.zeros((size, size), bool)
        found[1:, 0] = True
        return found
    same: NDArray[np.bool_] = np.tril(ids[:, None] == ids[None, :], -1)
    if kind == "induction":
        after = np.zeros_like(same)
        after[:, 1:] = same[:, :-1]
        return np.tril(after, -1)  # where a token follows itself, the place is its own
    return same


def _means(model: Model, ids: list[int], places: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each layer and head: the weight on the places, averaged over the queries that have any."""
    found = np.zeros((model.layers, model.heads))
    layers = {f"h.{layer}.attn.weights": layer for layer in range(model.layers)}
    queries = places.any(1)

    def see(name: str, weights: Floats) -> None:
        mass = np.where(places, weights, 0).sum(2, dtype=np.float64)  # [heads, queries]
        found[layers[name]] = mass[:, queries].mean(1)

    model([np.array(ids)], model.cache(1, len(ids)), rows=[], tap=Watch(layers, see))
    return found
