"""Model folders for tests: safetensors files written byte by byte, so that a test can also write a lying one."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CODES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "uint8": "U8"}


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 -> the uint16 bits of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """uint16 bits of bfloat16 -> float32, exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def safetensors_bytes(tensors: Mapping[str, tuple[str, np.ndarray]], **changes: Any) -> bytes:
    """A safetensors file of `{name: (dtype code, array)}`, the tensors in the order given.

    changes: header entries by name, put over the true ones (None removes one).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (code, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    for name, entry in changes.items():
        header[name] = entry
        if entry is None:
            del header[name]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def encode(x: np.ndarray, dtype: str) -> tuple[str, np.ndarray]:
    """The array as (safetensors code, array that holds the stored bits)."""
    return CODES[dtype], to_bfloat16(x) if dtype == "bfloat16" else np.asarray(x).astype(dtype)


def write_model(
    folder: str | Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    dtype: str = "float32",
    shards: int = 1,
    prefix: str = "",
) -> Path:
    """Write a Hugging Face model folder and return it.

    tensors: names without a prefix; dtype: what is stored, "float32", "float16" or "bfloat16"; shards: above 1 the
    tensors go round-robin into that many files with an index; prefix: "" or "transformer." (`lm_head.*` takes none).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(config), indent=2))
    named = {name if name.startswith("lm_head.") else prefix + name: encode(x, dtype) for name, x in tensors.items()}
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(named))
        return folder
    names = list(named)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: named[name] for name in names[shard::shards]}
        (folder / file).write_bytes(safetensors_bytes(part))
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(array.nbytes for _, array in named.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


# A model's folder with a few tensors

SMALL_CONFIG = {"model_type": "gpt2", "n_layer": 1}


def some_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = {"wte.weight": (7, 4), "h.0.ln_1.weight": (4,), "h.0.attn.c_attn.weight": (4, 12)}
    shapes["lm_head.weight"] = shapes["wte.weight"]
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def folder_of(tmp_path: Path, file: bytes | None = None, config: str = "{}") -> Path:
    (tmp_path / "config.json").write_text(config)
    if file is not None:
        (tmp_path / "model.safetensors").write_bytes(file)
    return tmp_path


def one(code: str, array: np.ndarray) -> bytes:
    return safetensors_bytes({"x": (code, array)})
