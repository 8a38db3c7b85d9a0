"""The page's interventions as rules: those of `inside.rules`, and three that name a token, a mask or a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from nextword.inside.change import off
from nextword.inside.inside import Inside
from nextword.inside.rules import Intervention, Value, from_json
from nextword.models.steps import Lookup
from nextword.page.errors import Refused
from nextword.page.fields import PROMPT, Fields
from nextword.page.texts import one_token

Ran = Callable[[Sequence[int]], Inside]  # the activations of some ids
UNSEEN = np.array(-1e30, np.float32)
"""A score whose weight is 0 beside any other, exp(-1e30 - most) in float32; a token that sees no other keeps itself."""


def rules_of(plain: Inside, told: Sequence[Mapping[str, Any]], ran: Ran) -> list[Intervention]:
    """The rules that the page's interventions are. plain: the run without them. A name may be a pattern, for each that
    it fits. Beside the rules of `from_json`:

    {"how": "mask", "name": "h.*.attn.scores", "columns": [position]}: nobody looks at these positions.
    {"how": "token", "name": "wte", "positions": [position], "token": id|text}: another token's
        embedding.
    {"how": "prompt", "name", "prompt": text, "heads", "positions", "columns"}: what another prompt has at this place;
        where all positions are meant, as far as both go.
    Raises Refused for what is no rule of an activation.
    """
    return [rule for one in told for rule in _rules(plain, one, ran)]


def _rules(plain: Inside, told: Mapping[str, Any], ran: Ran) -> list[Intervention]:
    pattern = told.get("name")
    names = [name for name in plain.names if isinstance(pattern, str) and fnmatchcase(name, pattern)]
    if isinstance(pattern, str) and not names:
        raise Refused("unknown_intervention", f"run: interventions must name activations, got {pattern[:60]!r}",
                      argument="interventions", name=pattern[:60])
    make = {"mask": _mask, "token": _token, "prompt": _prompt}.get(str(told.get("how")))
    try:
        if make is not None and names:
            return [make(plain, name, told, ran) for name in names]
        return [from_json({**told, "name": name}) for name in names] or [from_json(told)]
    except (ValueError, TypeError, IndexError) as error:
        raise Refused("bad_argument", str(error), argument="interventions") from None


def _mask(plain: Inside, name: str, told: Mapping[str, Any], ran: Ran) -> Intervention:
    fields = Fields("interventions", told, ["how", "name", "columns"])
    if not name.endswith(".attn.scores"):
        raise ValueError(f"interventions: name must be of attn.scores for mask, got {name}")
    return Value(name, columns=fields.integers("columns", len(plain.ids), 0, len(plain.ids) - 1), value=UNSEEN)


def _token(plain: Inside, name: str, told: Mapping[str, Any], ran: Ran) -> Intervention:
    fields = Fields("interventions", told, ["how", "name", "positions", "token"])
    step = plain.model.steps().get(name)
    if not (isinstance(step, Lookup) and step.by == "token"):
        raise ValueError(f"interventions: name must be of the tokens' embeddings for token, got {name}")
    token = one_token("interventions", "token", fields.raw("token"), plain.host.tokenizer, plain.model.vocabulary)
    positions = fields.integers("positions", len(plain.ids), 0, len(plain.ids) - 1)
    return Value(name, positions=positions, value=ran([token])[name][0])


def _prompt(plain: Inside, name: str, told: Mapping[str, Any], ran: Ran) -> Intervention:
    fields = Fields("interventions", told, ["how", "name", "prompt", "heads", "positions", "columns"])
    tokenizer, text = plain.host.tokenizer, fields.text("prompt", PROMPT)
    if tokenizer is None:
        raise ValueError("interventions: prompt must be one of a model that has a vocabulary")
    ids = [*tokenizer.beginning, *tokenizer.encode(text, add_special_tokens=False)]
    if not 1 <= len(ids) <= plain.model.limit:
        raise ValueError(f"interventions: prompt must be 1 .. {plain.model.limit} tokens, got {len(ids)}")
    shape = plain.shape(name)
    sizes = {"heads": shape[0] if len(shape) == 3 else 0, "positions": min(len(ids), len(plain.ids)),
             "columns": shape[-1]}
    some = {axis: fields.integers(axis, size, 0, size - 1) for axis, size in sizes.items() if fields.has(axis)}
    if name.endswith((".scores", ".weights")):
        raise ValueError(f"interventions: name must be none of scores or weights for prompt, got {name}")
    return off("interventions", name, ran(ids), **some)
