"""The logit lens: what each layer's stream would say of the next token, if norm and head read it (nostalgebraist 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.inside.activations import Activations
from nextword.inside.host import Host, place, places, shown_token, token_of
from nextword.inside.pictures import HeatMap as Heat
from nextword.inside.pictures import Pictured
from nextword.inside.tables import escaped, number, visible
from nextword.machine import memory
from nextword.machine.shown import is_integer, listed, shown

PIECE = 32 * 2**20  # bytes of logits that are held at once


@dataclass(frozen=True)
class Lens(Pictured):
    """For each row of the stream and each position the most probable next tokens.

    names: the activations that were read, one for each row; the last is what the model itself reads, so that the last
    row's logits are the model's, bit for bit. positions: in the prompt. tokens: int64 [rows, positions, top], the most
    probable first; logits, probabilities: float32 of the same shape, of the softmax over the vocabulary. watched: the
    token that is watched, or None; ranks: int64 [rows, positions], its place among all tokens, 1 for the most probable;
    watched_probabilities: float32 [rows, positions].
    """

    names: list[str]
    positions: list[int]
    tokens: Ints = field(repr=False)
    logits: Floats = field(repr=False)
    probabilities: Floats = field(repr=False)
    watched: int | None = None
    ranks: Ints | None = field(default=None, repr=False)
    watched_probabilities: Floats | None = field(default=None, repr=False)
    texts: list[str] = field(default_factory=list, repr=False)  # of the prompt's tokens at the positions
    host: Any = field(default=None, repr=False, compare=False)

    def picture(self) -> Heat:
        """The probability of the watched token, or of the first, by row and position."""
        if self.watched_probabilities is None:
            values, of = self.probabilities[..., 0], "the most probable token"
        else:
            values, of = self.watched_probabilities, visible(shown_token(self.host, int(self.watched or 0)))
        return Heat(values, rows=self.names, cols=self.texts, title=f"Logit lens: {of}", unit="probability",
                    scale="share", side="read after", top="position")

    def _repr_html_(self) -> str:
        style = 'style="padding:.15em .5em;text-align:left"'
        head = "".join(f'<th scope="col" {style}>{escaped(visible(text))}</th>' for text in self.texts[:60])
        body = ""
        for r, name in enumerate(self.names):
            cells = "".join(f"<td {style}>{escaped(visible(shown_token(self.host, int(self.tokens[r, c, 0]))))} "
                            f"<small>{escaped(number(float(self.probabilities[r, c, 0])))}</small></td>"
                            for c in range(min(len(self.positions), 60)))
            body += f'<tr><th scope="row" {style}>{escaped(name)}</th>{cells}</tr>'
        table = (f'<table style="background:transparent;color:inherit"><caption>most probable next token, and its '
                 f"probability</caption><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>")
        return f"<div>{self.picture().html()}{table}</div>"


def rows_of(x: Activations, at: str) -> list[str]:
    """The activations that a lens reads: one for each layer, and the input of the first or what the last gives."""
    layers = x.model.layers
    names = [f"h.{layer}.{at}" for layer in range(layers)]
    fits = [name for name in x.names if name.startswith("h.0.") and x.shape(name) == (len(x.ids), x.model.width)]
    if not isinstance(at, str) or names[0] not in fits:
        raise ValueError(f"lens: at must be one of {listed((name[4:] for name in fits), 12)}, got {shown(at)}")
    last = f"h.{layers - 1}.resid_post"
    return ["h.0.resid_pre", *names] if names[-1] == last else [*names, last]


def logits_of(x: Activations, name: str, at: Sequence[int]) -> Floats:
    """What norm and head make of an activation of some tokens: float32 [positions, vocabulary]; of what the model reads
    itself, its logits."""
    model = x.model
    last = f"h.{model.layers - 1}.resid_post"
    if name == last and x.replaced & set(x.names[x.names.index(last) + 1 :]):
        return x["logits"][list(at)]
    found: Floats = model.head(model.norm(np.ascontiguousarray(x[name][list(at)])))
    return found


def lens(x: Activations, host: Host, texts: Sequence[str], at: str = "resid_post", top: int = 5,
         positions: int | Sequence[int] | None = None, watch: str | int | None = None) -> Lens:
    """See `Inside.lens`."""
    names, chosen = rows_of(x, at), places("lens", "positions", positions, len(x.ids))
    size = x.model.vocabulary
    if not is_integer(top) or not top >= 1:
        raise ValueError(f"lens: top must be an integer >= 1, got {shown(top)}")
    top = min(int(top), size)
    watched = None if watch is None else token_of("lens", "watch", host, watch)
    shape = len(names), len(chosen)
    memory.require("lens", f"top={top} of {shape[1]} positions", 24 * shape[0] * shape[1] * top, "ask for fewer")
    tokens = np.empty((*shape, top), np.int64)
    logits, probabilities = np.empty((*shape, top), np.float32), np.empty((*shape, top), np.float32)
    ranks, of_watched = np.empty(shape, np.int64), np.empty(shape, np.float32)
    step = max(1, PIECE // (4 * size))
    for r, name in enumerate(names):
        for begin in range(0, len(chosen), step):
            found = logits_of(x, name, chosen[begin : begin + step])
            shares = x.model.ops.softmax(found)
            for c, (row, share) in enumerate(zip(found, shares, strict=True), begin):
                best = x.model.ops.top(row, top)
                tokens[r, c], logits[r, c], probabilities[r, c] = best, row[best], share[best]
                if watched is not None:
                    ahead = (row > row[watched]).sum() + (row[:watched] == row[watched]).sum()
                    ranks[r, c], of_watched[r, c] = 1 + ahead, share[watched]
    return Lens(names, chosen, tokens, logits, probabilities, watched, None if watched is None else ranks,
                None if watched is None else of_watched, [texts[i] for i in chosen], host)


def lens_logits(x: Activations, layer: int, at: str, position: int) -> Floats:
    """All logits of one place of a lens: float32 [vocabulary]. layer: of its rows, -1 the last."""
    names = rows_of(x, at)
    row = place("lens", "layer", layer, len(names))
    return np.asarray(logits_of(x, names[row], [place("lens", "position", position, len(x.ids))])[0])
