"""ONNX Runtime on the graph that its transformer optimizer makes of a BERT: EmbedLayerNormalization, Attention with the
lengths of the texts, SkipLayerNormalization, BiasGelu. `dynamic`: int8 weights by its quantize_dynamic."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import padded

FUSED = "com.microsoft"  # the domain of ONNX Runtime's own operators


def file(data: Path, precision: str) -> Path:
    return data / f"onnxruntime-{precision}.onnx"


def convert(data: Path, precision: str) -> None:
    import onnx

    source = file(data, "float32")
    onnx.save(graph(data), source)
    if precision == "dynamic":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(source, file(data, precision), op_types_to_quantize=["MatMul", "Attention"],
                         weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})


def graph(data: Path) -> Any:
    import folder as shared
    from onnx import TensorProto, helper, numpy_helper

    w, config = shared.read(data), padded.config(data)
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, tensor: Any) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(tensor), name))
        return name

    def node(kind: str, inputs: list[str], outputs: int = 1, domain: str = FUSED, **attributes: Any) -> str:
        names = [f"value_{len(nodes)}_{n}" for n in range(outputs)]
        nodes.append(helper.make_node(kind, inputs, names, name=f"{kind}_{len(nodes)}", domain=domain, **attributes))
        return names[0]

    def pair(name: str) -> list[str]:
        return [constant(f"{name}.{part}", w[f"{name}.{part}"]) for part in ("weight", "bias")]

    def product(x: str, name: str) -> str:
        return node("MatMul", [x, constant(f"{name}.matrix", w[f"{name}.weight"].T)], domain="")

    def bias(name: str) -> str:
        return constant(f"{name}.bias", w[f"{name}.bias"])

    def added(x: str, skip: str, norm: str, linear: str) -> str:
        return node("SkipLayerNormalization", [x, skip, *pair(norm), bias(linear)], epsilon=config["layer_norm_eps"])

    x = node("EmbedLayerNormalization",
             ["ids", "", constant("words", w["embeddings.word_embeddings.weight"]),
              constant("positions", shared.positions(w)), "", *pair("embeddings.LayerNorm"), "mask"],
             2, epsilon=config["layer_norm_eps"])
    lengths = x[:-1] + "1"
    for layer in range(config["num_hidden_layers"]):
        h = f"encoder.layer.{layer}."
        parts = [f"{h}attention.self.{part}" for part in ("query", "key", "value")]
        matrix = constant(f"{h}qkv.matrix", np.concatenate([w[f"{part}.weight"].T for part in parts], 1))
        vector = constant(f"{h}qkv.bias", np.concatenate([w[f"{part}.bias"] for part in parts]))
        mixed = node("Attention", [x, matrix, vector, lengths], num_heads=config["num_attention_heads"])
        dense = f"{h}attention.output.dense"
        x = added(product(mixed, dense), x, f"{h}attention.output.LayerNorm", dense)
        up, down = f"{h}intermediate.dense", f"{h}output.dense"
        x = added(product(node("BiasGelu", [product(x, up), bias(up)]), down), x, f"{h}output.LayerNorm", down)
    size = ("texts", "tokens")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, size) for name in ("ids", "mask")]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, (*size, config["hidden_size"]))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(helper.make_graph(nodes, "bert", inputs, [output], constants), opset_imports=opsets,
                             ir_version=9)


def load(data: Path, precision: str, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(file(data, precision), options, providers=["CPUExecutionProvider"])

    def hidden(ids: Any, lengths: Any) -> Any:
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int32)
        return session.run(None, {"ids": ids, "mask": mask})[0]

    return padded.embedder(data, padded.config(data)["hidden_size"], hidden)
