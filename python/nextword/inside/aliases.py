"""What other tools call a model's activations."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from nextword.machine.shown import quoted
from nextword.models.layers import LayerNorm
from nextword.models.model import Model
from nextword.models.tap import shapes


class Aliases(NamedTuple):
    """The names that another tool gives a model's activations.

    names: ours -> theirs. without: ours -> why they have none for the same numbers. Together they are all.
    """

    names: dict[str, str]
    without: dict[str, str]


# TransformerLens' hook points by our names, without the layer's number. Shapes there are [batch, tokens, heads, width]
# for q, k, v and z, [batch, heads, queries, keys] for scores and weights, [batch, tokens, features] for all others.
TRANSFORMER_LENS = {
    "resid_pre": "hook_resid_pre", "attn.q": "attn.hook_q", "attn.k": "attn.hook_k", "attn.v": "attn.hook_v",
    "attn.scores": "attn.hook_attn_scores", "attn.weights": "attn.hook_pattern", "attn.z": "attn.hook_z",
    "attn.q_rot": "attn.hook_rot_q", "attn.k_rot": "attn.hook_rot_k",
    "attn.out": "hook_attn_out", "resid_mid": "hook_resid_mid", "mlp.fc": "mlp.hook_pre",
    "mlp.gate": "mlp.hook_pre", "mlp.up": "mlp.hook_pre_linear", "mlp.act": "mlp.hook_post",
    "mlp.out": "hook_mlp_out", "resid_post": "hook_resid_post",
}  # fmt: skip
AT_BEGIN = {"token_embedding": "hook_embed", "position_embedding": "hook_pos_embed"}
NORMED = "weight and bias are applied; its hook_normalized is before them, and its hook_scale is the divisor"
SCALED = "the weight is applied; its hook_normalized is before it, and its hook_scale is the divisor"
HEAD_NORMS = ("attn.q_norm", "attn.k_norm")
NOT_THERE = {
    "embed": "has no hook of its own; blocks.0.hook_resid_pre is the same, as h.0.resid_pre is",
    "logits": "are what its calls return, beside the cache",
}


def aliases(model: Model, scheme: str = "transformer_lens") -> Aliases:
    """The names of a model's activations in another tool, for those who read or port its notebooks.

    scheme: "transformer_lens" (TransformerLens, Nanda & Bloom 2022). Raises ValueError for another.

    >>> import nextword
    >>> table = aliases(nextword.load().model)
    >>> table.names["h.3.attn.z"], table.names["h.0.attn.weights"], table.without["ln_f"][:35]
    ('blocks.3.attn.hook_z', 'blocks.0.attn.hook_pattern', 'weight and bias are applied; its ho')
    """
    if scheme not in SCHEMES:
        raise ValueError(f"aliases: scheme must be one of {', '.join(SCHEMES)}, got {quoted(str(scheme))}")
    return SCHEMES[scheme](model)


def _transformer_lens(model: Model) -> Aliases:
    found = Aliases({}, {})
    roles = {own: role for role, own in model.roles.items()}
    why = NORMED if isinstance(model.norm, LayerNorm) else SCALED
    for name in shapes(model):
        layer, step = re.fullmatch(r"(?:h\.(\d+)\.)?(.+)", name).groups()  # type: ignore[union-attr]
        role = roles.get(step, "")
        if layer is not None and step in TRANSFORMER_LENS:
            found.names[name] = f"blocks.{layer}.{TRANSFORMER_LENS[step]}"
        elif role in AT_BEGIN:
            found.names[name] = AT_BEGIN[role]
        else:
            normed = role.endswith("norm") or step in HEAD_NORMS
            found.without[name] = why if normed else NOT_THERE.get(step, "is no step of its models")
    return found


SCHEMES: dict[str, Callable[[Model], Aliases]] = {"transformer_lens": _transformer_lens}
