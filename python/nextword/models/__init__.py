"""The architectures that nextword runs, by the model_type of their config.json. Adding one: see ARCHITECTURE.md."""

from collections.abc import Iterable, Mapping
from typing import Any

from nextword.machine.shown import shown
from nextword.models.albert import Albert
from nextword.models.bert import Bert
from nextword.models.distilbert import DistilBert
from nextword.models.electra import Electra
from nextword.models.encoder import Encoder
from nextword.models.gpt2 import GPT2
from nextword.models.llama import Llama, Mistral, Qwen2, Qwen3
from nextword.models.model import Model
from nextword.models.modernbert import ModernBert
from nextword.models.mpnet import MPNet
from nextword.models.network import Network
from nextword.models.random_weights import RandomWeights
from nextword.models.roberta import Roberta, XLMRoberta

ARCHITECTURES: dict[str, type[Model]] = {one.kind: one for one in (GPT2, Llama, Mistral, Qwen2, Qwen3)}
ENCODERS: dict[str, type[Encoder]] = {one.kind: one for one in (Bert, Roberta, XLMRoberta, DistilBert, Electra, MPNet,
                                                                Albert, ModernBert)}  # fmt: skip


def kind_of(weights: Any) -> type[Network]:
    """The architecture of an opened folder, `weights.Weights`. Raises ValueError that names the file for another."""
    known: dict[str, type[Network]] = {**ARCHITECTURES, **ENCODERS}
    path, config = weights.source, weights.config
    kind = config["model_type"] if "model_type" in config else _by_class(config, known)
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(f"load: model_type in {path} must be one of {', '.join(known)}, got {kind!r}")
    return known[kind]


def _by_class(config: Mapping[str, Any], known: Iterable[str]) -> str:
    """The model_type of a file that has none: what its `architectures` begin with; GPT-2's own files have neither."""
    given = config.get("architectures")
    name = str(given[0]).lower() if isinstance(given, list) and given else "gpt2"
    found = [kind for kind in known if name.startswith(kind.replace("-", ""))]
    if not found:
        raise ValueError(f"load: model_type must be in config.json, one of {', '.join(known)}; architectures has "
                         f"{shown(given)}, which is none of theirs")
    return max(found, key=len)


def build(weights: Any, **options: Any) -> Any:
    """The Model or Encoder of an opened folder, `weights.Weights`; options: those of the architecture, such as dtype.

    Raises ValueError that names the file, the tensor or the field that is wrong.
    """
    path, architecture = weights.source, kind_of(weights)
    try:
        config = architecture.Config.from_dict(weights.config)
    except ValueError as error:
        raise ValueError(f"load: {path}: {error}") from None
    return architecture(weights, config, **options)


# Published shapes to measure with, as their config.json has them.
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2-124m": {"model_type": "gpt2"},
    "smollm2-135m": {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                     "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
                     "max_position_embeddings": 8192, "rope_theta": 100000.0, "rms_norm_eps": 1e-5,
                     "tie_word_embeddings": True, "eos_token_id": 2, "bos_token_id": 1},
    "llama-3.2-1b": {"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                     "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
                     "max_position_embeddings": 131072, "rope_theta": 500000.0, "rms_norm_eps": 1e-5,
                     "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                                      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
                     "tie_word_embeddings": True, "eos_token_id": 128001, "bos_token_id": 128000}}  # fmt: skip


def random_model(shape: str = "gpt2-124m", **options: Any) -> Model:
    """A model of a published shape with random weights, to measure with. shape: one of SHAPES; GPT-2 124M is too large
    for the caches and small enough for any laptop.

    >>> list(SHAPES)
    ['gpt2-124m', 'smollm2-135m', 'llama-3.2-1b']
    """
    architecture = ARCHITECTURES[SHAPES[shape]["model_type"]]
    return architecture(RandomWeights(), architecture.Config.from_dict(SHAPES[shape]), **options)


ENCODER_SHAPES: dict[str, dict[str, Any]] = {
    "minilm-l6": {"model_type": "bert", "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6},
    "bert-base": {"model_type": "bert"}}  # fmt: skip


def random_encoder(shape: str = "bert-base", **options: Any) -> Encoder:
    """An encoder of a published shape with random weights, to measure with. shape: one of ENCODER_SHAPES.

    >>> list(ENCODER_SHAPES)
    ['minilm-l6', 'bert-base']
    """
    architecture = ENCODERS[ENCODER_SHAPES[shape]["model_type"]]
    return architecture(RandomWeights(), architecture.Config.from_dict(ENCODER_SHAPES[shape]), **options)
