"""What the names of GGUF files stand for, in each architecture that is read: Hugging Face's names of tensors, and in
which order their numbers lie. The configuration is in gguf_config.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["ARCHITECTURES", "FREQUENCIES", "HEAD", "TOKENS", "Names"]

TOKENS, HEAD, FREQUENCIES = "token_embd.weight", "output.weight", "rope_freqs.weight"

PART = re.compile(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)")


class Names(NamedTuple):
    """An architecture's names.

    outer, inner: parts of the model and of a layer; layer: what stands before the latter's names, with the number.
    turned: parts of a layer whose rows lie in the order of the interleaved rotary embedding, which is not Hugging
    Face's; flat: those whose matrices are stored the other way round.
    """

    model_type: str
    outer: Mapping[str, str]
    layer: str
    inner: Mapping[str, str]
    turned: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()

    def own_name(self, stored: str) -> str:
        """Hugging Face's name of a tensor; what is unknown keeps its name, which no model has.

        >>> ARCHITECTURES["llama"].own_name("blk.3.attn_q.weight"), ARCHITECTURES["gpt2"].own_name("rope_freqs.weight")
        ('model.layers.3.self_attn.q_proj.weight', 'rope_freqs.weight')
        """
        found = PART.fullmatch(stored)
        if found is None:
            return stored
        layer, part, kind = found.groups()
        name = self.outer.get(part) if layer is None else self.inner.get(part)
        return stored if name is None else f"{'' if layer is None else self.layer.format(layer)}{name}.{kind}"

    def part(self, stored: str) -> str:
        """The part of a layer that a tensor belongs to, "" for none."""
        found = PART.fullmatch(stored)
        return found[2] if found and found[1] else ""


_DECODER = Names(
    "llama",
    {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"},
    "model.layers.{}.",
    {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
     "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
     "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
     "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"})  # fmt: skip

ARCHITECTURES = {
    "llama": _DECODER._replace(turned=("attn_q", "attn_k")),
    "qwen2": _DECODER._replace(model_type="qwen2"),
    "qwen3": _DECODER._replace(model_type="qwen3"),
    "gpt2": Names(
        "gpt2",
        {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f", "output": "lm_head"},
        "h.{}.",
        {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2",
         "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"},
        flat=("attn_qkv", "attn_output", "ffn_up", "ffn_down")),
}  # fmt: skip
"""By `general.architecture`. Mistral's files say llama."""
