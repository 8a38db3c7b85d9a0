"""The configuration of a GGUF file in the names of Hugging Face's config.json. What is not computed here is refused by
the name that the file has for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nextword.arithmetic.blocks import dequantise
from nextword.files.gguf import GGUF
from nextword.files.gguf_names import ARCHITECTURES, FREQUENCIES, HEAD, TOKENS, Names

__all__ = ["config_of", "names_of"]

# Fields with which something else would be computed, and the values with which it would not.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "expert_count": (0,), "expert_used_count": (0,), "attention.causal": (True,), "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,), "attention.scale": (0,), "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,), "logit_scale": (0, 1), "residual_scale": (0, 1), "embedding_scale": (0, 1),
    "use_parallel_residual": (False,), "rope.scaling.yarn_ext_factor": (-1, 1), "rope.scaling.yarn_attn_factor": (1,),
    "rope.scaling.yarn_log_multiplier": (0,)}  # fmt: skip
SHOWN = 64  # numbers of an array that an error may show
ENDS = ("eos", "eot", "eom")  # tokens that end a text, a turn or a message


def names_of(file: GGUF) -> Names:
    """The names of the file's architecture.

    Raises ValueError for one that is not read, and for what is no model of its own or not the whole of one.
    """
    said = file.metadata
    kind, parts = plain(said.get("general.type", "model")), plain(said.get("split.count", 0))
    if kind != "model":
        raise ValueError(f"weights: {file.path} holds no model but what its general.type calls {str(kind)[:60]!r}; "
                         "take the file of the model")
    if parts not in (0, 1):
        raise ValueError(f"weights: {file.path} is one of {str(parts)[:20]} parts of a model (split.count); join them "
                         "once with llama-gguf-split --merge")
    name = said.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(f"weights: general.architecture in {file.path} must be one of {', '.join(ARCHITECTURES)}, got "
                         f"{str(name)[:60]!r}")
    return ARCHITECTURES[name]


def config_of(file: GGUF) -> dict[str, Any]:
    """The content of a config.json. Raises ValueError that names the file and the field."""
    names, fields = names_of(file), _Fields(file)
    for name, same in NEUTRAL.items():
        if fields.get(name, same[0]) not in same:
            raise fields.wrong(name, f"{same[0]} or absent", fields.get(name))
    if TOKENS not in file.tensors or len(file.tensors[TOKENS].shape) != 2:
        raise ValueError(f"weights: {file.path} holds no matrix {TOKENS!r}; it is no whole model")
    config = {"model_type": names.model_type, "vocab_size": file.tensors[TOKENS].shape[0],
              "tie_word_embeddings": HEAD not in file.tensors,
              **(_gpt2(fields) if fields.of == "gpt2" else _decoder(fields))}  # fmt: skip
    ids = {name: plain(file.metadata.get(f"tokenizer.ggml.{name}_token_id")) for name in ("bos", *ENDS)}
    for name, id in ids.items():
        if id is not None and type(id) is not int:
            raise ValueError(f"weights: tokenizer.ggml.{name}_token_id in {file.path} must be a token id or absent, "
                             f"got {str(id)[:60]}")
    ends = list(dict.fromkeys(ids[name] for name in ENDS if ids[name] is not None))
    return {**config, "bos_token_id": ids["bos"], "eos_token_id": ends[0] if len(ends) == 1 else ends or None}


def plain(found: Any) -> Any:
    """A value to compare with others. An array that says the same of all layers is one number, another a list.

    >>> plain(np.int32([4, 4])), plain(np.int32([4, 2])), plain("linear")
    (4, [4, 2], 'linear')
    """
    if not isinstance(found, np.ndarray):
        return found
    return found[0].item() if found.size and (found == found[0]).all() else found[:SHOWN].tolist()


class _Fields:
    """The metadata of an architecture, checked as they are asked for."""

    def __init__(self, file: GGUF) -> None:
        self.file, self.of = file, file.metadata["general.architecture"]

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or what stands for one that is absent."""
        return plain(self.file.metadata.get(f"{self.of}.{name}", default))

    def size(self, name: str, default: int | None = None) -> int:
        """A positive integer."""
        found = self.get(name, default)
        if type(found) is not int or not 1 <= found < 2**31:
            raise self.wrong(name, "a positive integer", found)
        return found

    def number(self, name: str, default: float | None = None) -> float:
        """A positive number, in the decimals that it was written with before it became float32."""
        found = self.get(name, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < math.inf:
            raise self.wrong(name, "a positive number", found)
        return float(str(np.float32(found))) if isinstance(found, float) else float(found)

    def has(self, tensor: str) -> bool:
        """Whether the file holds a tensor."""
        return tensor in self.file.tensors

    def wrong(self, name: str, expected: str, got: Any) -> ValueError:
        """What to raise for a field."""
        return ValueError(f"weights: {self.of}.{name} in {self.file.path} must be {expected}, got {str(got)[:60]}")


def _gpt2(fields: _Fields) -> dict[str, Any]:
    return {"n_embd": fields.size("embedding_length"), "n_layer": fields.size("block_count"),
            "n_head": fields.size("attention.head_count"), "n_positions": fields.size("context_length"),
            "n_inner": fields.size("feed_forward_length"),
            "layer_norm_epsilon": fields.number("attention.layer_norm_epsilon"), "activation_function": "gelu_new"}


def _decoder(fields: _Fields) -> dict[str, Any]:
    """Of the Llama kind."""
    width, heads = fields.size("embedding_length"), fields.size("attention.head_count")
    head = fields.size("attention.key_length", width // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if fields.size(name, head) != head:
            raise fields.wrong(name, f"{head}, the width of a head", fields.get(name))
    window = fields.get("attention.sliding_window", 0)
    pattern = "attention.sliding_window_pattern"
    if window and fields.of != "llama":  # whose layers might differ
        raise fields.wrong("attention.sliding_window", "0 or absent", window)
    if window and fields.get(pattern, 0) != 0:
        raise fields.wrong(pattern, "0 or absent, so that all layers have the window", fields.get(pattern))
    biases = {"attention_bias": fields.has("blk.0.attn_q.bias"), "mlp_bias": fields.has("blk.0.ffn_up.bias")}
    return {"hidden_size": width, "num_attention_heads": heads, "head_dim": head, "hidden_act": "silu",
            "num_hidden_layers": fields.size("block_count"), "intermediate_size": fields.size("feed_forward_length"),
            "num_key_value_heads": fields.size("attention.head_count_kv", heads),
            "max_position_embeddings": fields.size("context_length"),
            "rms_norm_eps": fields.number("attention.layer_norm_rms_epsilon"),
            "rope_theta": fields.number("rope.freq_base", 10000.0), "rope_scaling": _scaling(fields, head),
            **(biases if fields.of != "qwen2" else {}),
            **({"sliding_window": fields.size("attention.sliding_window"), "model_type": "mistral"} if window else {})}


def _scaling(fields: _Fields, head: int) -> dict[str, Any] | None:
    """What is done to the angles of the rotary embedding, as `rope_scaling` of a config.json says it."""
    kind = fields.get("rope.scaling.type", "linear" if fields.get("rope.scale_linear") else "none")
    if kind not in ("none", "linear", "yarn"):
        raise fields.wrong("rope.scaling.type", "none, linear or yarn", kind)
    if fields.has(FREQUENCIES):  # of Llama 3.1 and later: what each frequency is divided by
        if kind != "none":
            raise fields.wrong("rope.scaling.type", f"none beside {FREQUENCIES}", kind)
        entry = fields.file.tensors[FREQUENCIES]
        found = dequantise(fields.file.data[entry.begin : entry.end], entry.kind, 1, math.prod(entry.shape))[0]
        if found.shape != (head // 2,) or not (np.isfinite(found) & (found > 0)).all():
            raise ValueError(f"weights: {FREQUENCIES} of {fields.file.path} must hold {head // 2} positive numbers, "
                             f"one for each pair of a head, got {list(entry.shape)} of {entry.kind}")
        return {"rope_type": "linear", "factor": found.tolist()}
    if kind == "none":
        return None
    factor = fields.number("rope.scaling.factor", fields.get("rope.scale_linear"))
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    betas = {name: fields.number(f"rope.scaling.yarn_{name}") for name in ("beta_fast", "beta_slow")
             if fields.get(f"rope.scaling.yarn_{name}") is not None}  # fmt: skip
    by = fields.number("rope.scaling.attn_factor", 1.0)
    more = {} if by == 1 else {"attention_factor": by * (1 + 0.1 * math.log(factor))}
    return {"rope_type": "yarn", "factor": factor, **betas, **more,
            "original_max_position_embeddings": fields.size("rope.scaling.original_context_length")}
