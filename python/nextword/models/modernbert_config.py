"""The fields of a ModernBERT config.json: which layers see a window, and two rotary embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nextword.machine.shown import shown
from nextword.models.bert_config import BertConfig
from nextword.models.config import check_activation, check_flags, check_positive
from nextword.models.rotary import Rope

__all__ = ["ModernBertConfig"]

LAYER_TYPES = ("full_attention", "sliding_attention")
FULL, SLIDING = Rope(rope_theta=160000.0), Rope(rope_theta=10000.0)  # what files leave out


@dataclass(frozen=True)
class ModernBertConfig(BertConfig):
    """The fields of a ModernBERT `config.json` that change what is computed, with `transformers`' defaults; those that
    it has in common with BERT have BERT's names here."""

    vocab_size: int = 50368
    num_hidden_layers: int = 22
    intermediate_size: int = 1152
    max_position_embeddings: int = 8192
    type_vocab_size: int = 0
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = 50283
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    decoder_bias: bool = True
    classifier_bias: bool = False
    classifier_activation: str = "gelu"
    classifier_pooling: str = "cls"
    local_attention: int = 128
    sliding: tuple[bool, ...] = ()  # by layer: whether a token sees those of a window alone
    full_rope: Rope = FULL
    sliding_rope: Rope = SLIDING

    aliases: ClassVar[Mapping[str, str]] = {"hidden_activation": "hidden_act", "norm_eps": "layer_norm_eps"}

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ModernBertConfig":
        """Read a `config.json`. Raises ValueError that names the field that is wrong or not supported."""
        given = {name: value for name, value in config.items() if name != "layer_types"}
        # transformers does not read this one of ModernBERT, whose older files have it.
        given.pop("position_embedding_type", None)
        own = {"sliding": _sliding(config),
               "full_rope": _rope(config, "full_attention", "global_rope_theta", FULL.rope_theta),
               "sliding_rope": _rope(config, "sliding_attention", "local_rope_theta", SLIDING.rope_theta)}
        found = super().from_dict({**given, **own})
        assert isinstance(found, cls)
        return found

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flags(self, "norm_bias", "attention_bias", "mlp_bias", "decoder_bias", "classifier_bias")
        check_positive(self, "local_attention")
        check_activation(self, "classifier_activation")
        if self.local_attention < 2:
            raise ValueError(f"config: local_attention must be 2 tokens or more, got {self.local_attention}")
        if self.classifier_pooling not in ("cls", "mean"):
            raise ValueError(f"config: classifier_pooling must be cls or mean, got {self.classifier_pooling!r}")
        if self.hidden_size // self.num_attention_heads % 2:
            raise ValueError("config: hidden_size must give heads of even width, as pairs of numbers turn, got "
                             f"{self.hidden_size // self.num_attention_heads}")
        if len(self.sliding) != self.num_hidden_layers:
            raise ValueError(f"config: layer_types must name the kinds of {self.num_hidden_layers} layers, got "
                             f"{len(self.sliding)}")


def _sliding(config: Mapping[str, Any]) -> tuple[bool, ...]:
    layers = config.get("num_hidden_layers", ModernBertConfig.num_hidden_layers)
    types = config.get("layer_types")
    if types is None:
        every = config.get("global_attn_every_n_layers", 3)
        if type(every) is not int or every < 1:
            raise ValueError(f"config: global_attn_every_n_layers must be a positive integer, got {shown(every)}")
        return tuple(n % every != 0 for n in range(layers if type(layers) is int else 0))
    if not isinstance(types, list) or not all(one in LAYER_TYPES for one in types):
        raise ValueError(f"config: layer_types must be a list of {' and '.join(LAYER_TYPES)}, got {shown(types)}")
    return tuple(one == "sliding_attention" for one in types)


def _rope(config: Mapping[str, Any], kind: str, older: str, theta: float) -> Rope:
    """The rotary embedding of the layers of this kind; older: what older files call its theta."""
    both = config.get("rope_parameters") or {}
    of_kind = (both.get(kind) or {}) if isinstance(both, dict) else None
    if not isinstance(of_kind, dict):
        raise ValueError(f"config: rope_parameters must have an object for {kind}, got {shown(both)}")
    parameters = {"rope_theta": config.get(older) or theta, **of_kind, **(config.get("rope_scaling") or {})}
    return Rope.from_config({"rope_parameters": parameters,
                             "max_position_embeddings": config.get("max_position_embeddings", 8192)})
