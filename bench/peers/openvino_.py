"""OpenVINO's CPU plugin on a stateful graph, as its own exporter makes it: the cache is the model's state, attention is
one fused operator, logits of the last position only. `+bf16` after a precision: activations in bfloat16."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from shape import EPSILON, HEAD_WIDTH, HEADS, LAYERS, WIDTH


def file(data: Path, precision: str) -> Path:
    stored = {"bfloat16": "float16"}.get(precision, precision.removesuffix("+bf16"))
    return data / f"openvino-{stored}.xml"


def convert(data: Path, precision: str) -> None:
    target = file(data, precision)
    model = graph(data)
    if target.stem.startswith("openvino-int"):
        import nncf

        how: dict[str, Any] = {"mode": nncf.CompressWeightsMode.INT8_SYM}
        if "int4" in target.stem:  # `-all`: the tied output matrix too
            how = {"mode": nncf.CompressWeightsMode.INT4_SYM, "group_size": 64, "ratio": 1.0}
            how["all_layers"] = target.stem.endswith("-all")
        model = nncf.compress_weights(model, **how)
    ov.save_model(model, target, compress_to_fp16=target.stem.endswith("float16"))


def graph(data: Path) -> Any:
    import weights
    from openvino import opset13 as op

    w = weights.read(data)
    batch_axis = op.constant(np.int64(0))

    def integers(*values: int) -> Any:
        return op.constant(np.array(values, np.int64))

    def parameter(name: str, kind: type, dimensions: int) -> Any:
        node = op.parameter([-1] * dimensions, kind, name)
        node.output(0).set_names({name})
        return node

    def norm(x: Any, name: str) -> Any:
        x = op.mvn(x, integers(-1), True, EPSILON, "inside_sqrt")
        return op.add(op.multiply(x, op.constant(w[f"{name}.weight"])), op.constant(w[f"{name}.bias"]))

    def linear(x: Any, name: str) -> Any:
        matrix = op.constant(np.ascontiguousarray(w[f"{name}.weight"].T))
        return op.add(op.matmul(x, matrix, False, True), op.constant(w[f"{name}.bias"]))

    ids, positions = parameter("input_ids", np.int64, 2), parameter("position_ids", np.int64, 2)
    order = parameter("beam_idx", np.int32, 1)
    rows = op.gather(op.shape_of(ids), integers(0), batch_axis)
    empty = op.broadcast(op.constant(np.float32(0)), op.concat([rows, integers(HEADS, 0, HEAD_WIDTH)], 0))
    updates: list[Any] = []

    def remember(name: str, current: Any) -> Any:
        past = op.read_value(empty, name, np.float32, ov.PartialShape([-1, HEADS, -1, HEAD_WIDTH]))
        both = op.concat([op.gather(past, order, batch_axis), current], -2)
        updates.append(op.assign(both, name))
        return both

    def causal_mask(keys: Any) -> Any:
        count = op.squeeze(op.gather(op.shape_of(keys), integers(2), batch_axis), integers(0))
        key = op.unsqueeze(op.range(batch_axis, count, op.constant(np.int64(1)), "i64"), integers(0, 1, 2))
        seen = op.less_equal(key, op.unsqueeze(positions, integers(1, 3)))
        return op.select(seen, op.constant(np.float32(0)), op.constant(np.float32(-65504)))

    table, mask = op.constant(w["wte.weight"]), None
    x = op.add(op.gather(table, ids, batch_axis), op.gather(op.constant(w["wpe.weight"]), positions, batch_axis))
    for layer in range(LAYERS):
        h = f"h.{layer}"
        qkv = linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn")
        parts = op.variadic_split(qkv, op.constant(np.int64(-1)), integers(WIDTH, WIDTH, WIDTH))
        q, k, v = (
            op.transpose(op.reshape(part, integers(0, 0, HEADS, HEAD_WIDTH), True), integers(0, 2, 1, 3))
            for part in parts.outputs()
        )
        k, v = remember(f"key_{layer}", k), remember(f"value_{layer}", v)
        if mask is None:
            mask = causal_mask(k)
        mixed = op.transpose(op.scaled_dot_product_attention(q, k, v, mask), integers(0, 2, 1, 3))
        x = op.add(x, linear(op.reshape(mixed, integers(0, 0, WIDTH), True), f"{h}.attn.c_proj"))
        inner = op.gelu(linear(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc"), "TANH")
        x = op.add(x, linear(inner, f"{h}.mlp.c_proj"))
    last = norm(op.gather(x, integers(-1), op.constant(np.int64(1))), "ln_f")
    logits = op.matmul(last, table, False, True)
    logits.output(0).set_names({"logits"})
    return ov.Model([op.result(logits)], updates, [ids, positions, order], "gpt2")


def settings(precision: str, threads: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision.endswith(("bfloat16", "+bf16")) else "f32",
    }
    return found | ({"KV_CACHE_PRECISION": "f32"} if precision == "float32" else {})


def load(data: Path, precision: str, threads: int) -> Any:
    request = ov.Core().compile_model(file(data, precision), "CPU", settings(precision, threads)).create_infer_request()

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        ids = np.array(prompts, np.int64)
        rows, tokens = ids.shape
        order = np.arange(rows, dtype=np.int32)
        start = time.perf_counter()
        request.reset_state()

        def step(ids: Any, past: int) -> Any:
            positions = np.ascontiguousarray(np.broadcast_to(np.arange(past, past + ids.shape[1]), ids.shape))
            request.set_tensor("input_ids", ov.Tensor(ids))
            request.set_tensor("position_ids", ov.Tensor(positions))
            request.set_tensor("beam_idx", ov.Tensor(order))
            request.infer()
            return request.get_output_tensor(0).data.reshape(rows, -1).argmax(-1).astype(np.int64)

        chosen = [step(ids, 0)]
        first = time.perf_counter()
        for index in range(new - 1):
            chosen.append(step(np.ascontiguousarray(chosen[-1][:, None]), tokens + index))
        return np.array(chosen).T.tolist(), first - start, time.perf_counter() - first

    return generate
