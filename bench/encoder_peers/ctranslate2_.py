"""CTranslate2's Encoder; a precision is its compute type. The model is built from its own encoder specification."""

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import padded


def folder(data: Path, precision: str) -> Path:
    return data / ("ct2-int8" if precision.startswith("int8") else "ct2-float32")


def convert(data: Path, precision: str) -> None:
    import folder as shared
    from ctranslate2.specs import common_spec, transformer_spec

    w, config = shared.read(data), padded.config(data)
    spec = transformer_spec.TransformerEncoderModelSpec(transformer_spec.TransformerEncoderSpec(
        config["num_hidden_layers"], config["num_attention_heads"], pre_norm=False,
        activation=common_spec.Activation.GELU, layernorm_embedding=True,
    ))

    def norm(target: Any, name: str) -> None:
        target.gamma, target.beta = w[f"{name}.weight"], w[f"{name}.bias"]

    def linear(target: Any, *names: str) -> None:
        target.weight = np.concatenate([w[f"{name}.weight"] for name in names])
        target.bias = np.concatenate([w[f"{name}.bias"] for name in names])

    encoder = spec.encoder
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = w["embeddings.word_embeddings.weight"]
    encoder.position_encodings.encodings = shared.positions(w)
    norm(encoder.layernorm_embedding, "embeddings.LayerNorm")
    for index, layer in enumerate(encoder.layer):
        h = f"encoder.layer.{index}."
        linear(layer.self_attention.linear[0], *(f"{h}attention.self.{part}" for part in ("query", "key", "value")))
        linear(layer.self_attention.linear[1], f"{h}attention.output.dense")
        norm(layer.self_attention.layer_norm, f"{h}attention.output.LayerNorm")
        linear(layer.ffn.linear_0, f"{h}intermediate.dense")
        linear(layer.ffn.linear_1, f"{h}output.dense")
        norm(layer.ffn.layer_norm, f"{h}output.LayerNorm")
    spec.register_vocabulary((data / "hf" / "vocab.txt").read_text(encoding="utf-8").splitlines())
    spec.config.unk_token, spec.config.layer_norm_epsilon = "[UNK]", config["layer_norm_eps"]
    spec.validate()
    spec.optimize(quantization="int8" if precision.startswith("int8") else None)
    folder(data, precision).mkdir(exist_ok=True)
    spec.save(str(folder(data, precision)))


def load(data: Path, precision: str, threads: int) -> Any:
    encoder = ctranslate2.Encoder(
        str(folder(data, precision)), device="cpu", compute_type=precision, inter_threads=1, intra_threads=threads
    )

    def hidden(ids: Any, lengths: Any) -> Any:
        view = ctranslate2.StorageView.from_array
        return np.asarray(encoder.forward_batch(view(ids), view(lengths)).last_hidden_state)

    return padded.embedder(data, padded.config(data)["hidden_size"], hidden)
