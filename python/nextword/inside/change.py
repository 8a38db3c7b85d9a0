"""Change: what becomes of the next word when parts of a model are switched off for a prompt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.inside.host import Host, place, places, prompt_ids, shown_token, token_of
from nextword.inside.inside import Inside
from nextword.inside.measures import all_log_probabilities, kl_divergence
from nextword.inside.pictures import Bars, Pictured
from nextword.inside.rerun import Rerun
from nextword.inside.rules import Intervention, Mean, Value, Zero
from nextword.inside.tables import Table
from nextword.machine.shown import is_integer, shown
from nextword.models.model import Model
from nextword.models.tap import shapes
from nextword.text.ids import Prompt, Special

How = Literal["zero", "mean"]


class Mover(NamedTuple):
    """A token whose probability changes: its id and text, its probability before and after, its logit after less
    before."""

    token: int
    text: str
    before: float
    after: float
    logit: float


@dataclass(frozen=True, eq=False, repr=False)
class Change(Pictured):
    """The next word before and after.

    tokens: the ids of the prompt. interventions: the rules that make the change; `lm.inside(prompt, interventions)`
    shows what else they change. logits_before, logits_after: float32 [vocabulary], behind the last token.
    """

    host: Host
    tokens: tuple[int, ...]
    interventions: tuple[Intervention, ...]
    logits_before: Floats
    logits_after: Floats

    @cached_property
    def before(self) -> NDArray[np.float64]:
        """The probability of each token as the next one: float64 [vocabulary]."""
        return np.exp(all_log_probabilities(self.logits_before))

    @cached_property
    def after(self) -> NDArray[np.float64]:
        """The same with the change."""
        return np.exp(all_log_probabilities(self.logits_after))

    @cached_property
    def kl(self) -> float:
        """How far the distribution moved, in nats: the divergence of the one after from the one before."""
        return kl_divergence(self.logits_before, self.logits_after)

    def logit(self, token: str | int) -> float:
        """The change of a token's logit, by its text or id."""
        return self._mover(token_of("change", "token", self.host, token)).logit

    def movers(self, count: int = 10) -> list[Mover]:
        """The tokens whose probability changes most, the most first; of equal ones the lower id first."""
        order = np.argsort(-np.abs(self.after - self.before), kind="stable")[:count]
        return [self._mover(int(token)) for token in order]

    def _mover(self, token: int) -> Mover:
        rows = (self.before, self.after, self.logits_before, self.logits_after)
        before, after, low, high = (float(row[token]) for row in rows)
        return Mover(token, shown_token(self.host, token), before, after, high - low)

    def picture(self) -> Bars:
        """How the probabilities of the top movers change."""
        top = self.movers()
        return Bars([one.text for one in top], [one.after - one.before for one in top], "the next word",
                    "change of the probability", f"KL {self.kl:.4g} nats")

    def _repr_html_(self) -> str:
        head = ["token", "before", "after", "change of the logit"]
        rows = [[one.text, one.before, one.after, one.logit] for one in self.movers()]
        return self.picture().html() + Table(head, rows, "probability").html()

    def __repr__(self) -> str:
        first, then = (shown_token(self.host, int(x.argmax())) for x in (self.logits_before, self.logits_after))
        return f"Change({first!r} -> {then!r}, KL {self.kl:.3g} nats)"


def ablate(host: Host, prompt: Prompt, heads: Any = (), attentions: Any = (), mlps: Any = (), neurons: Any = (),
           positions: Any = None, how: How | Inside = "zero", *, allowed_special: Special = ()) -> Change:
    """The next word when parts of the model are switched off.

    prompt: a text or token ids, one token at least, the context window at most.
    heads: pairs (layer, head), of `attn.z`: what is left of a head at 0 is the bias of the output projection, which all
        share. attentions, mlps: layers whose `attn.out` or `mlp.out` is off. neurons: pairs (layer, neuron), of
        `mlp.act`. One pair or layer may stand without a list; negative ones count from the end.
    positions: at which tokens; None: at all.
    how: "zero"; "mean", what the part gives on average over the prompt's tokens; or another Inside of as many tokens,
        whose values the parts then have.
    Returns a Change. Layers below the lowest change are computed once. Raises ValueError, TypeError or IndexError that
    names the argument.

    >>> import nextword
    >>> ablate(nextword.load(), "Once upon a time there was a little", attentions=[3])
    Change(' girl' -> ' boy', KL 0.266 nats)
    """
    model = host.model
    ids = prompt_ids("ablate", host, prompt, allowed_special)
    at = None if positions is None else list(dict.fromkeys(places("ablate", "positions", positions, len(ids))))
    if isinstance(how, Inside) and len(how.ids) != len(ids):
        raise ValueError(f"ablate: how must be an Inside of {len(ids)} tokens, as the prompt has, got {len(how.ids)}; "
                         "take a text of as many tokens")
    by_head = _by_layer("heads", heads, model.layers, model.heads)
    by_neuron = _by_layer("neurons", neurons, model.layers, neurons_of(model))
    by_layer = (("attn.out", places("ablate", "attentions", attentions, model.layers)),
                ("mlp.out", places("ablate", "mlps", mlps, model.layers)))
    rules = [off("ablate", f"h.{layer}.attn.z", how, heads=some, positions=at) for layer, some in by_head.items()]
    for name, chosen in by_layer:
        rules += [off("ablate", f"h.{layer}.{name}", how, positions=at) for layer in dict.fromkeys(chosen)]
    rules += [off("ablate", f"h.{layer}.mlp.act", how, columns=some, positions=at) for layer, some in by_neuron.items()]
    if not rules:
        raise ValueError("ablate: expected something to switch off, got no heads, attentions, mlps or neurons; "
                         "pass heads=[(layer, head)], for example")
    rerun = Rerun("ablate", model, ids)
    (after,) = rerun.changed([rules])
    return Change(host, tuple(ids), tuple(rules), rerun.logits, after)


def off(op: str, name: str, how: Any, heads: list[int] | None = None, positions: list[int] | None = None,
        columns: list[int] | None = None) -> Intervention:
    """The rule that takes a part of an activation away."""
    if isinstance(how, Inside):
        value = how[name]
        for axis, some in ((-1, columns), (-2, positions), (-3, heads)):
            value = value if some is None else value.take(some, axis)
        return Value(name, heads=heads, positions=positions, columns=columns, value=value)
    if not isinstance(how, str) or how not in ("zero", "mean"):
        raise ValueError(f'{op}: how must be "zero", "mean" or an Inside, got {shown(how)}')
    return (Zero if how == "zero" else Mean)(name, heads=heads, positions=positions, columns=columns)


def neurons_of(model: Model) -> int:
    """Neurons of a feed-forward layer."""
    return shapes(model)["h.0.mlp.act"][1]


def _by_layer(what: str, given: Any, layers: int, size: int) -> dict[int, list[int]]:
    """Pairs of a layer and one of its heads or neurons, by layer. size: how many a layer has."""
    one = isinstance(given, tuple) and len(given) == 2 and all(map(is_integer, given))
    pairs = [given] if one else list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    found: dict[int, list[int]] = {}
    for pair in pairs:
        if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
            raise TypeError(f"ablate: {what} must be pairs (layer, {what.removesuffix('s')}), got {shown(given)}")
        layer = place("ablate", f"layer of {what}", pair[0], layers)
        found.setdefault(layer, []).append(place("ablate", what, pair[1], size))
    return {layer: list(dict.fromkeys(some)) for layer, some in found.items()}
