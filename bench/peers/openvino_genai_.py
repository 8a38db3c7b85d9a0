"""OpenVINO GenAI: its generation loop in C++ over openvino_.py's graph, which gains the mask that the loop feeds."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_
import openvino_genai


def folder(data: Path, precision: str) -> Path:
    return data / openvino_.file(data, precision).stem.replace("openvino", "openvino-genai")


def convert(data: Path, precision: str) -> None:
    from openvino import opset13 as op

    source = openvino_.file(data, precision)
    if not source.exists():
        openvino_.convert(data, precision)
    model = ov.Core().read_model(source)
    mask = op.parameter([-1, -1], np.int64, "attention_mask")  # the graph computes its own from the positions
    mask.output(0).set_names({"attention_mask"})
    model.add_parameters([mask])
    model.validate_nodes_and_infer_types()
    target = folder(data, precision)
    target.mkdir(exist_ok=True)
    ov.save_model(model, target / "openvino_model.xml", compress_to_fp16=False)  # as it was stored
    shutil.copy(data / "hf" / "config.json", target)


def load(data: Path, precision: str, threads: int) -> Any:
    settings = openvino_.settings(precision, threads) | {"ATTENTION_BACKEND": "SDPA"}
    pipeline = openvino_genai.LLMPipeline(folder(data, precision), "CPU", **settings)

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        ids = ov.Tensor(np.array(prompts, np.int64))
        start = time.perf_counter()
        result = pipeline.generate(ids, max_new_tokens=new, ignore_eos=True, do_sample=False, apply_chat_template=False)
        wall = time.perf_counter() - start
        prefill = wall if new == 1 else result.perf_metrics.get_ttft().mean / 1e3
        return [list(row)[-new:] for row in result.tokens], prefill, wall - prefill

    return generate
