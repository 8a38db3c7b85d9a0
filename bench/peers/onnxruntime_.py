"""ONNX Runtime on a graph of its fused operators: GroupQueryAttention over a key-value buffer that is updated in place,
FastGelu, logits of the last position only."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from shape import EPSILON, HEAD_WIDTH, HEADS, LAYERS, VOCABULARY

FUSED = "com.microsoft"  # the domain of ONNX Runtime's own operators


def file(data: Path, precision: str) -> Path:
    return data / f"gpt2-{precision}.onnx"


def convert(data: Path, precision: str) -> None:
    import onnx

    source = file(data, "float32")
    if not source.exists():
        onnx.save(graph(data), source)
    if precision == "int8dyn":  # int8 weights per column, activations quantised as they come
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            source,
            file(data, precision),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    elif precision.startswith("nbits"):  # blocks of 32 weights with one scale; int8 arithmetic
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        bits = int(precision.removeprefix("nbits"))
        quantiser = MatMulNBitsQuantizer(
            onnx.load(source), block_size=32, is_symmetric=True, accuracy_level=4, bits=bits
        )
        quantiser.process()
        quantiser.model.save_model_to_file(str(file(data, precision)), False)


def graph(data: Path) -> Any:
    import onnx
    import weights
    from onnx import TensorProto, helper, numpy_helper

    w = weights.read(data)
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, tensor: Any) -> str:
        constants.append(numpy_helper.from_array(np.require(tensor, requirements="C"), name))
        return name

    def node(kind: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        outputs = outputs or [f"value_{len(nodes)}"]
        nodes.append(helper.make_node(kind, inputs, outputs, name=f"{kind}_{len(nodes)}", **attributes))
        return outputs[0]

    def norm(x: str, name: str) -> str:
        scale, shift = constant(f"{name}.scale", w[f"{name}.weight"]), constant(f"{name}.shift", w[f"{name}.bias"])
        return node("LayerNormalization", [x, scale, shift], axis=-1, epsilon=EPSILON)

    def product(x: str, name: str) -> str:
        return node("MatMul", [x, constant(f"{name}.matrix", w[f"{name}.weight"])])

    def bias(name: str) -> str:
        return constant(f"{name}.vector", w[f"{name}.bias"])

    def linear(x: str, name: str) -> str:
        return node("Add", [product(x, name), bias(name)])

    def value(name: str, kind: int, *dimensions: str | int) -> Any:
        return helper.make_tensor_value_info(name, kind, dimensions)

    inputs = [
        value("input_ids", TensorProto.INT64, "rows", "tokens"),
        value("position_ids", TensorProto.INT64, "rows", "tokens"),
        value("past_lengths", TensorProto.INT32, "rows"),
        value("total_length", TensorProto.INT32, 1),
    ]
    outputs = [value("logits", TensorProto.FLOAT, "rows", VOCABULARY)]
    tokens = node("Gather", [constant("wte", w["wte.weight"]), "input_ids"])
    x = node("Add", [tokens, node("Gather", [constant("wpe", w["wpe.weight"]), "position_ids"])])
    for layer in range(LAYERS):
        h = f"h.{layer}"
        cache = ("rows", HEADS, "capacity", HEAD_WIDTH)
        inputs += [value(f"past_{part}_{layer}", TensorProto.FLOAT, *cache) for part in ("key", "value")]
        outputs += [value(f"present_{part}_{layer}", TensorProto.FLOAT, *cache) for part in ("key", "value")]
        attention = node(
            "GroupQueryAttention",
            [linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn"), "", "", f"past_key_{layer}", f"past_value_{layer}",
             "past_lengths", "total_length"],
            [f"attention_{layer}", f"present_key_{layer}", f"present_value_{layer}"],
            domain=FUSED,
            num_heads=HEADS,
            kv_num_heads=HEADS,
        )
        x = node("Add", [x, linear(attention, f"{h}.attn.c_proj")])
        inner = product(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc")
        inner = node("FastGelu", [inner, bias(f"{h}.mlp.c_fc")], domain=FUSED)
        x = node("Add", [x, linear(inner, f"{h}.mlp.c_proj")])
    last = node("Gather", [x, constant("last", np.array(-1, np.int64))], axis=1)
    node("MatMul", [norm(last, "ln_f"), constant("head", w["wte.weight"].T)], ["logits"])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
    body = helper.make_graph(nodes, "gpt2", inputs, outputs, constants)
    model: onnx.ModelProto = helper.make_model(body, opset_imports=opsets, ir_version=9)
    return model


def load(data: Path, precision: str, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(file(data, precision), options, providers=["CPUExecutionProvider"])
    caches: dict[tuple[int, int], dict[str, Any]] = {}

    def cache(rows: int, tokens: int) -> dict[str, Any]:
        """Buffers that serve as past and present at once; the smaller of two capacities that holds the tokens."""
        capacity = 256 if tokens <= 256 else 1024
        if (rows, capacity) not in caches:
            caches[rows, capacity] = {
                f"{part}_{layer}": ort.OrtValue.ortvalue_from_numpy(
                    np.zeros((rows, HEADS, capacity, HEAD_WIDTH), np.float32)
                )
                for part in ("key", "value")
                for layer in range(LAYERS)
            }
        return caches[rows, capacity]

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        ids = np.array(prompts, np.int64)
        rows, tokens = ids.shape
        buffers = cache(rows, tokens + new)
        start = time.perf_counter()

        def bind() -> Any:
            binding = session.io_binding()
            binding.bind_output("logits", "cpu")
            for name, buffer in buffers.items():
                binding.bind_ortvalue_input(f"past_{name}", buffer)
                binding.bind_ortvalue_output(f"present_{name}", buffer)
            return binding

        def step(binding: Any, ids: Any, past: int) -> Any:
            total = past + ids.shape[1]
            positions = np.ascontiguousarray(np.broadcast_to(np.arange(past, total), ids.shape))
            binding.bind_cpu_input("input_ids", ids)
            binding.bind_cpu_input("position_ids", positions)
            binding.bind_cpu_input("past_lengths", np.full(rows, total - 1, np.int32))
            binding.bind_cpu_input("total_length", np.array([total], np.int32))
            session.run_with_iobinding(binding)
            return binding.get_outputs()[0].numpy().argmax(-1).astype(np.int64)

        chosen = [step(bind(), ids, 0)]
        first = time.perf_counter()
        binding = bind()
        for index in range(new - 1):
            chosen.append(step(binding, np.ascontiguousarray(chosen[-1][:, None]), tokens + index))
        return np.array(chosen).T.tolist(), first - start, time.perf_counter() - first

    return generate
