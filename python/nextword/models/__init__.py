"""The architectures that nextword runs, by the model_type of their config.json. Adding one: see ARCHITECTURE.md."""

from typing import Any

from nextword.models.gpt2 import GPT2
from nextword.models.model import Model
from nextword.models.random_weights import RandomWeights

ARCHITECTURES: dict[str, type[Model]] = {"gpt2": GPT2}


def build(weights: Any, **options: Any) -> Model:
    """The model of an opened folder, `weights.Weights`; options: those of the architecture, such as dtype.

    Raises ValueError that names the file, the tensor or the field that is wrong.
    """
    path, kind = weights.source, weights.config.get("model_type", "gpt2")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ValueError(f"load: model_type in {path} must be one of {', '.join(ARCHITECTURES)}, got {kind!r}")
    architecture = ARCHITECTURES[kind]
    try:
        config = architecture.Config.from_dict(weights.config)
    except ValueError as error:
        raise ValueError(f"load: {path}: {error}") from None
    return architecture(weights, config, **options)


def random_model(**options: Any) -> Model:
    """GPT-2 124M with random weights, to measure with: too large for the caches, small enough for any laptop."""
    return GPT2(RandomWeights(), GPT2.Config(), **options)
