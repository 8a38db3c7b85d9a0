"""The configurations of decoders of the Llama kind: Llama (Touvron et al. 2023), Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from nextword.models.config import (
    Unsupported,
    check_activation,
    check_flags,
    check_fraction,
    check_positive,
    check_token_ids,
    ends,
    refuse,
)
from nextword.models.rotary import Rope

# Fields with which something else would be computed, and the values with which it would not.
UNSUPPORTED: Unsupported = {
    "add_cross_attention": ((False, None), "false: cross-attention is not supported"),
    "is_encoder_decoder": ((False, None), "false: encoders are not supported"),
    "is_causal": ((True, None), "true: attention to later tokens is not supported"),
    "attention_chunk_size": ((None,), "null: attention within chunks is not supported"),
    "attn_logit_softcapping": ((None,), "null: soft caps are not supported"),
    "final_logit_softcapping": ((None,), "null: soft caps are not supported"),
    "num_experts": ((None, 0), "absent: mixtures of experts are not supported"),
    "num_local_experts": ((None, 0), "absent: mixtures of experts are not supported"),
    "pretraining_tp": ((None, 1), "1: products in slices, which round otherwise, are not supported"),
    "transformers_weights": ((None, "model.safetensors"), "absent: the weights are read from model.safetensors"),
}
WIDEST = 65536  # of a head: 500 times what is published; the angles of a wider one would take memory unasked
FULL, SLIDING = "full_attention", "sliding_attention"  # what layer_types may say


@dataclass(frozen=True)
class LlamaConfig:
    """The fields of a `config.json` that change what is computed, with `transformers`' names and defaults.

    rope: the angles of the rotary embedding, `rope_parameters` there. A `torch_dtype` says how numbers are stored, not
    how they are computed with here.
    """

    unsupported: ClassVar[Unsupported] = {
        "sliding_window": ((None,), "null: attention within a window is not a Llama's; see mistral and qwen2")}
    absent: ClassVar[tuple[str, ...]] = ()  # fields that this kind does not have
    biases: ClassVar[tuple[bool, bool] | None] = None  # of q, k and v, and of the output, whatever attention_bias says
    head_norms: ClassVar[bool] = False  # whether each query and key is normalised

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    rope: Rope = field(default_factory=Rope)
    sliding_window: int | None = None
    layer_types: tuple[str, ...] | None = None
    eos_token_id: int | tuple[int, ...] | None = 2
    bos_token_id: int | None = 1

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> LlamaConfig:
        """Read a `config.json`. Raises ValueError that names the field that is wrong or not supported."""
        refuse({**config, "layer_types": None}, {**UNSUPPORTED, **cls.unsupported})
        known = {f.name: config[f.name] for f in fields(cls) if f.name in config and f.name not in cls.absent}
        for name in ("eos_token_id", "layer_types"):
            if isinstance(known.get(name), list):
                known[name] = tuple(known[name])
        return cls(**{**known, "rope": Rope.from_config(config)})

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                       "num_attention_heads", "max_position_embeddings")
        for name in ("num_key_value_heads", "head_dim", "sliding_window"):
            if getattr(self, name) is not None:
                check_positive(self, name)
        heads, width = self.num_attention_heads, self.hidden_size
        if self.head_dim is None and width % heads:
            raise ValueError("config: hidden_size must be a multiple of num_attention_heads without a head_dim, "
                             f"got {width} and {heads}")
        if self.head_width % 2 or self.head_width > WIDEST:
            raise ValueError(f"config: head_dim must be even, as pairs of its numbers turn, and at most {WIDEST}, "
                             f"got {self.head_width}")
        if heads % self.key_heads:
            raise ValueError("config: num_attention_heads must be a multiple of num_key_value_heads, "
                             f"got {heads} and {self.key_heads}")
        check_activation(self, "hidden_act")
        check_fraction(self, "rms_norm_eps")
        check_flags(self, "tie_word_embeddings", "attention_bias", "mlp_bias")
        check_token_ids(self)
        self.rope.frequencies(self.head_width)
        kinds = self.layer_types
        if kinds is not None and not (isinstance(kinds, tuple) and len(kinds) == self.num_hidden_layers
                                      and all(one in (FULL, SLIDING) for one in kinds)):
            raise ValueError(f"config: layer_types must be {FULL} or {SLIDING} for each of {self.num_hidden_layers} "
                             f"layers, got {list(kinds) if isinstance(kinds, tuple) else kinds!r}")
        self.check_windows()

    def check_windows(self) -> None:
        """Refuse layer_types that this kind does not have: all layers are alike, by `sliding_window`."""
        expected = FULL if self.sliding_window is None else SLIDING
        if set(self.layer_types or ()) - {expected}:
            raise ValueError(f"config: layer_types must be {expected} everywhere, got {list(self.layer_types or ())!r}")

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        return ends(self)

    @property
    def key_heads(self) -> int:
        """Heads of keys and values, each of which so many heads of queries read."""
        return self.num_attention_heads if self.num_key_value_heads is None else self.num_key_value_heads

    @property
    def head_width(self) -> int:
        """Numbers of a query, key or value."""
        return self.hidden_size // self.num_attention_heads if self.head_dim is None else self.head_dim

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias."""
        return self.attention_bias if self.biases is None else self.biases[0]

    @property
    def out_bias(self) -> bool:
        """Whether attention's output has one."""
        return self.attention_bias if self.biases is None else self.biases[1]

    def window_of(self, layer: int) -> int:
        """How many tokens a query of the layer sees, itself included; 0: all before it."""
        sliding = self.layer_types is None or self.layer_types[layer] == SLIDING
        return self.sliding_window or 0 if sliding else 0


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """The same for Mistral (Jiang et al. 2023): no biases; queries may see no more than a window."""

    unsupported: ClassVar[Unsupported] = {}
    absent: ClassVar[tuple[str, ...]] = ("attention_bias", "mlp_bias")

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096


@dataclass(frozen=True)
class Qwen2Config(LlamaConfig):
    """The same for Qwen2: queries, keys and values have biases; layers from `max_window_layers` on, or those that
    layer_types names, may see no more than a window."""

    unsupported: ClassVar[Unsupported] = {}
    absent: ClassVar[tuple[str, ...]] = ("attention_bias", "mlp_bias")
    biases: ClassVar[tuple[bool, bool] | None] = (True, False)

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    eos_token_id: int | tuple[int, ...] | None = None
    bos_token_id: int | None = None

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> LlamaConfig:
        """Read a `config.json`. Raises ValueError that names the field that is wrong or not supported."""
        return super().from_dict(with_windows(config))

    def check_windows(self) -> None:
        """Refuse a window that has no size."""
        if self.sliding_window is None and SLIDING in (self.layer_types or ()):
            raise ValueError("config: layer_types must be full_attention everywhere without a sliding_window that is "
                             f"used, got {list(self.layer_types or ())!r}")


@dataclass(frozen=True)
class Qwen3Config(Qwen2Config):
    """The same for Qwen3: queries and keys are normalised, head by head; biases only where attention_bias says so."""

    absent: ClassVar[tuple[str, ...]] = ("mlp_bias",)
    biases: ClassVar[tuple[bool, bool] | None] = None
    head_norms: ClassVar[bool] = True

    head_dim: int | None = 128


def with_windows(config: Mapping[str, Any]) -> dict[str, Any]:
    """Qwen's fields as sliding_window and layer_types alone.

    >>> found = with_windows({"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1,
    ...                       "num_hidden_layers": 2})
    >>> found["sliding_window"], found["layer_types"]
    (8, ['full_attention', 'sliding_attention'])
    """
    used, first = config.get("use_sliding_window", False), config.get("max_window_layers", 28)
    if type(used) is not bool:
        raise ValueError(f"config: use_sliding_window must be true or false, got {used!r}")
    if type(first) is not int or first < 0:
        raise ValueError(f"config: max_window_layers must be a number of layers, got {first!r}")
    window, layers = config.get("sliding_window", 4096) if used else None, config.get("num_hidden_layers", 32)
    kinds = config.get("layer_types")
    if kinds is None and window is not None and type(layers) is int:
        kinds = [SLIDING if layer >= first else FULL for layer in range(min(layers, 2**20))]
    return {**config, "sliding_window": window, "layer_types": kinds}
