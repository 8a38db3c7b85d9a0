"""CTranslate2's Generator. A precision is its compute type; the model is built from its own decoder specification."""

import time
from pathlib import Path
from typing import Any

import ctranslate2
from shape import HEADS, LAYERS, VOCABULARY


def folder(data: Path, precision: str) -> Path:
    return data / ("ct2-int8" if precision.startswith("int8") else "ct2-float32")


def convert(data: Path, precision: str) -> None:
    import numpy as np
    import weights
    from ctranslate2.specs import common_spec, transformer_spec

    w = weights.read(data)
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        LAYERS, HEADS, pre_norm=True, activation=common_spec.Activation.GELUTanh
    )

    def norm(target: Any, name: str) -> None:
        target.gamma, target.beta = w[f"{name}.weight"], w[f"{name}.bias"]

    def linear(target: Any, name: str) -> None:
        target.weight, target.bias = np.ascontiguousarray(w[f"{name}.weight"].T), w[f"{name}.bias"]

    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = decoder.projection.weight = w["wte.weight"]
    decoder.position_encodings.encodings = w["wpe.weight"]
    norm(decoder.layer_norm, "ln_f")
    for index, layer in enumerate(decoder.layer):
        h = f"h.{index}"
        norm(layer.self_attention.layer_norm, f"{h}.ln_1")
        linear(layer.self_attention.linear[0], f"{h}.attn.c_attn")
        linear(layer.self_attention.linear[1], f"{h}.attn.c_proj")
        norm(layer.ffn.layer_norm, f"{h}.ln_2")
        linear(layer.ffn.linear_0, f"{h}.mlp.c_fc")
        linear(layer.ffn.linear_1, f"{h}.mlp.c_proj")
    spec.register_vocabulary([f"t{token}" for token in range(VOCABULARY - 1)] + ["<end>"])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "<end>"
    spec.validate()
    spec.optimize(quantization="int8" if precision.startswith("int8") else None)
    folder(data, precision).mkdir(exist_ok=True)
    spec.save(str(folder(data, precision)))


def load(data: Path, precision: str, threads: int) -> Any:
    generator = ctranslate2.Generator(
        str(folder(data, precision)), device="cpu", compute_type=precision, inter_threads=1, intra_threads=threads
    )

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        tokens = [[f"t{token}" for token in prompt] for prompt in prompts]
        stamps: list[tuple[int, float]] = []

        def stamp(result: Any) -> bool:
            stamps.append((result.step, time.perf_counter()))
            return False  # go on

        start = time.perf_counter()
        results = generator.generate_batch(
            tokens,
            callback=stamp,  # one call per token and sequence: the only way to see when prefill ends
            max_length=new,
            min_length=new,
            sampling_topk=1,
            beam_size=1,
            include_prompt_in_result=False,
            end_token="<end>",
            return_end_token=False,
        )
        first = max(at for step, at in stamps if step == stamps[0][0])
        return [result.sequences_ids[0] for result in results], first - start, stamps[-1][1] - first

    return generate
