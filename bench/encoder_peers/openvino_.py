"""OpenVINO's CPU plugin on a graph with its fused attention. int8: weights and activations by NNCF's `quantize` for
transformers, calibrated on the texts; bfloat16: the hint for the arithmetic, weights stored as float16."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import padded


def file(data: Path, precision: str) -> Path:
    return data / f"openvino-{precision}.xml"


def convert(data: Path, precision: str) -> None:
    model = graph(data)
    if precision == "int8":
        import json

        import nncf
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(data / "hf" / "tokenizer.json"))
        some = json.loads((data / "texts.json").read_text())["mixed"][:32]
        given = [inputs(np.array([one.ids]), np.array([len(one.ids)])) for one in tokenizer.encode_batch(some)]
        model = nncf.quantize(model, nncf.Dataset(given), model_type=nncf.ModelType.TRANSFORMER,
                              subset_size=len(given))
    ov.save_model(model, file(data, precision), compress_to_fp16=precision == "bfloat16")


def inputs(ids: Any, lengths: Any) -> dict[str, Any]:
    return {"ids": ids.astype(np.int64), "mask": np.arange(ids.shape[1]) < lengths[:, None]}


def graph(data: Path) -> Any:
    import folder as shared
    from openvino import opset13 as op

    w, config = shared.read(data), padded.config(data)
    heads, width = config["num_attention_heads"], config["hidden_size"]
    zero = op.constant(np.int64(0))

    def integers(*values: int) -> Any:
        return op.constant(np.array(values, np.int64))

    def parameter(name: str, kind: type) -> Any:
        node = op.parameter([-1, -1], kind, name)
        node.output(0).set_names({name})
        return node

    def norm(x: Any, name: str) -> Any:
        x = op.mvn(x, integers(-1), True, config["layer_norm_eps"], "inside_sqrt")
        return op.add(op.multiply(x, op.constant(w[f"{name}.weight"])), op.constant(w[f"{name}.bias"]))

    def linear(x: Any, name: str) -> Any:
        return op.add(op.matmul(x, op.constant(w[f"{name}.weight"]), False, True), op.constant(w[f"{name}.bias"]))

    def split(x: Any) -> Any:
        return op.transpose(op.reshape(x, integers(0, 0, heads, width // heads), True), integers(0, 2, 1, 3))

    ids, mask = parameter("ids", np.int64), parameter("mask", np.bool_)
    count = op.gather(op.shape_of(ids), op.constant(np.int64(1)), zero)
    places = op.range(zero, count, op.constant(np.int64(1)), "i64")
    x = op.gather(op.constant(w["embeddings.word_embeddings.weight"]), ids, zero)
    x = norm(op.add(x, op.gather(op.constant(shared.positions(w)), places, zero)), "embeddings.LayerNorm")
    seen = op.select(op.unsqueeze(mask, integers(1, 2)), op.constant(np.float32(0)), op.constant(np.float32(-65504)))
    for layer in range(config["num_hidden_layers"]):
        h = f"encoder.layer.{layer}."
        q, k, v = (split(linear(x, f"{h}attention.self.{part}")) for part in ("query", "key", "value"))
        mixed = op.transpose(op.scaled_dot_product_attention(q, k, v, seen), integers(0, 2, 1, 3))
        mixed = linear(op.reshape(mixed, integers(0, 0, width), True), f"{h}attention.output.dense")
        x = norm(op.add(mixed, x), f"{h}attention.output.LayerNorm")
        inner = linear(op.gelu(linear(x, f"{h}intermediate.dense"), "ERF"), f"{h}output.dense")
        x = norm(op.add(inner, x), f"{h}output.LayerNorm")
    return ov.Model([op.result(x)], [ids, mask], "bert")


def load(data: Path, precision: str, threads: int) -> Any:
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32"}
    request = ov.Core().compile_model(file(data, precision), "CPU", settings).create_infer_request()
    return padded.embedder(data, padded.config(data)["hidden_size"],
                           lambda ids, lengths: request.infer(inputs(ids, lengths))[0])
