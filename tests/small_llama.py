"""Small models of the Llama kind with random weights, for tests that go over architectures: heads that share keys, and,
by kind, windows, biases and norms of heads."""

from __future__ import annotations

from typing import Any

import numpy as np

from nextword.models import ARCHITECTURES

SMALL = {"vocab_size": 37, "hidden_size": 20, "intermediate_size": 23, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 48, "rms_norm_eps": 1e-5,
         "eos_token_id": None, "bos_token_id": None}  # fmt: skip
# What makes a kind another: a window shorter than texts, in one layer of two for Qwen2.
OWN: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 5},
    "qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen3": {"tie_word_embeddings": True}}


def small_config(kind: str = "llama", **changes: Any) -> dict[str, Any]:
    """A config.json of odd sizes, with changes."""
    return {"model_type": kind, **SMALL, **OWN[kind], **changes}


def small_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights for a configuration, in Hugging Face's names; matrices keep the size of what they multiply."""
    c, rng = ARCHITECTURES[config["model_type"]].Config.from_dict(config), np.random.default_rng(seed)

    def normal(*shape: int, size: float = 1.0) -> np.ndarray:
        return (size * rng.standard_normal(shape)).astype(np.float32)

    width, inner = c.hidden_size, c.intermediate_size
    q, kv = c.num_attention_heads * c.head_width, c.key_heads * c.head_width
    tensors = {"model.embed_tokens.weight": normal(c.vocab_size, width), "model.norm.weight": 1 + normal(width) / 10}
    for layer in range(c.num_hidden_layers):
        name = f"model.layers.{layer}"
        linears = [("self_attn.q_proj", q, width, c.qkv_bias), ("self_attn.k_proj", kv, width, c.qkv_bias),
                   ("self_attn.v_proj", kv, width, c.qkv_bias), ("self_attn.o_proj", width, q, c.out_bias),
                   ("mlp.gate_proj", inner, width, c.mlp_bias), ("mlp.up_proj", inner, width, c.mlp_bias),
                   ("mlp.down_proj", width, inner, c.mlp_bias)]  # fmt: skip
        for part, cols, depth, bias in linears:
            tensors[f"{name}.{part}.weight"] = normal(cols, depth, size=depth**-0.5)
            if bias:
                tensors[f"{name}.{part}.bias"] = normal(cols, size=0.1)
        norms = [("input_layernorm", width), ("post_attention_layernorm", width)]
        norms += [("self_attn.q_norm", c.head_width), ("self_attn.k_norm", c.head_width)] if c.head_norms else []
        for part, size in norms:
            tensors[f"{name}.{part}.weight"] = 1 + normal(size, size=0.1)
    if not c.tie_word_embeddings:
        tensors["lm_head.weight"] = normal(c.vocab_size, width, size=width**-0.5)
    return tensors


def small_llama(config: dict[str, Any] | str = "llama", seed: int = 0, **options: Any) -> Any:
    """A model of random weights. config: or a kind, for `small_config`. options: dtype, kv_dtype, ops."""
    config = small_config(config) if isinstance(config, str) else config
    tensors = {name.removeprefix("model."): x for name, x in small_tensors(config, seed).items()}
    return ARCHITECTURES[config["model_type"]](tensors, config, **options)
