"""Small encoders of every kind with random weights, for tests that go over architectures."""

from __future__ import annotations

from typing import Any

import numpy as np

from nextword.models import ENCODERS
from nextword.models.random_weights import RandomWeights

SMALL = {"vocab_size": 37, "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 23,
         "max_position_embeddings": 48, "layer_norm_eps": 1e-12}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {kind: {} for kind in ENCODERS} | {
    "electra": {"embedding_size": 12}, "albert": {"embedding_size": 12},
    "modernbert": {"hidden_size": 24, "local_attention": 9}}  # fmt: skip


class Large(RandomWeights):
    """Random numbers far from those of a fresh model, so that attention is far from even; biases among them."""

    def made(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng([self.seed, *name.encode()])
        if len(shape) == 1:
            return (rng.standard_normal(shape) / 10 + name.endswith("orm.weight")).astype(np.float32)
        size = 1.0 if "embeddings" in name or "bias" in name else shape[-1] ** -0.5
        return (size * rng.standard_normal(shape)).astype(np.float32)


def small_encoder(kind: str = "bert", seed: int = 0, config: dict[str, Any] | None = None, **options: Any) -> Any:
    """An encoder of odd sizes. config: changes of it. options: dtype, ops."""
    return ENCODERS[kind](Large(seed), {"model_type": kind, **SMALL, **OWN[kind], **(config or {})}, **options)
