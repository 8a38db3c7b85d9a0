"""GGUF files for tests, written byte by byte, so that a test can also write a lying one; small models as such files."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from nextword.arithmetic.blocks import KINDS

NUMBERS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13,
           "Q6_K": 14, "BF16": 30}  # fmt: skip
TYPES = {"B": 0, "b": 1, "H": 2, "h": 3, "I": 4, "i": 5, "f": 6, "?": 7, "Q": 10, "q": 11, "d": 12}
TEXT, ARRAY = 8, 9


def text(x: str | bytes) -> bytes:
    raw = x.encode() if isinstance(x, str) else x
    return struct.pack("<Q", len(raw)) + raw


def value(x: Any) -> bytes:
    """The type and the bytes of a value: int as uint32, float as float32, text, truth value, list of texts, array of
    numbers; bytes as they are."""
    if isinstance(x, bytes):
        return x
    if isinstance(x, bool | int | float):
        code = "?" if isinstance(x, bool) else "I" if isinstance(x, int) else "f"
        return struct.pack("<I" + code, TYPES[code], x)
    if isinstance(x, str):
        return struct.pack("<I", TEXT) + text(x)
    if isinstance(x, np.ndarray):
        code = x.dtype.newbyteorder("<").char.replace("l", "q").replace("L", "Q")
        return struct.pack("<IIQ", ARRAY, TYPES[code], x.size) + x.astype(x.dtype.newbyteorder("<")).tobytes()
    return struct.pack("<IIQ", ARRAY, TEXT, len(x)) + b"".join(map(text, x))


def gguf_bytes(metadata: Mapping[str, Any], tensors: Mapping[str, tuple[Any, ...]] = {}, *, version: int = 3,
               alignment: int = 32, counts: tuple[int, int] | None = None) -> bytes:
    """A file of `{name: (kind or its number, shape as NumPy has it, bytes)}`; a fourth entry is the offset, if another
    than the right one. counts: of tensors and metadata, if others than theirs."""
    counts = counts or (len(tensors), len(metadata))
    head = b"GGUF" + struct.pack("<IQQ", version, *counts)
    head += b"".join(text(name) + value(x) for name, x in metadata.items())
    data = b""
    for name, (kind, shape, raw, *offset) in tensors.items():
        data += bytes(-len(data) % alignment)
        number = NUMBERS.get(kind, kind)
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), number,
                                         *(offset or [len(data)]))
        data += raw
    return head + bytes(-len(head) % alignment) + data


def random_blocks(kind: str, rows: int, cols: int, rng: np.random.Generator) -> bytes:
    """Blocks of any bits whose scales are numbers of a usual size."""
    numbers, size = KINDS[kind]
    x = rng.standard_normal((rows * cols // numbers, numbers), np.float32)
    if kind in ("F32", "F16", "BF16"):
        raw = {"F32": x, "F16": x.astype(np.float16), "BF16": (x.view(np.uint32) >> 16).astype(np.uint16)}[kind]
        return raw.tobytes()
    blocks = rng.integers(0, 256, (len(x), size), np.uint8)
    halves = (rng.uniform(0.001, 0.01, (len(x), 2))).astype(np.float16).view(np.uint8)
    at = 208 if kind == "Q6_K" else 0
    width = 4 if kind in ("Q4_1", "Q5_1", "Q4_K", "Q5_K") else 2
    blocks[:, at : at + width] = halves[:, :width]
    return blocks.tobytes()


def stored(x: np.ndarray, kind: str = "F32") -> tuple[str, tuple[int, ...], bytes]:
    """An array as a tensor of a file, in a kind that holds numbers one by one."""
    x = np.ascontiguousarray(x, np.float32)
    bits = {"F32": lambda: x, "F16": lambda: x.astype(np.float16),
            "BF16": lambda: (x.view(np.uint32) >> 16).astype(np.uint16)}[kind]()
    return kind, x.shape, bits.tobytes()


def interleaved(x: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys in the order in which files of the architecture llama have them."""
    return x.reshape(heads, 2, len(x) // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


# A small model of each architecture

DECODER = {"embedding_length": 64, "block_count": 2, "context_length": 128, "feed_forward_length": 96,
           "attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-5,
           "rope.freq_base": 100000.0, "rope.dimension_count": 16}  # fmt: skip


def decoder_metadata(architecture: str = "llama", **changes: Any) -> dict[str, Any]:
    """The metadata of a decoder of the Llama kind; changes: of fields by their names with _ for dots, None removes."""
    fields = {**DECODER, **{name.replace("__", "."): x for name, x in changes.items()}}
    named = {f"{architecture}.{name}": x for name, x in fields.items() if x is not None}
    return {"general.architecture": architecture, **named}


def decoder_tensors(architecture: str = "llama", *, vocabulary: int = 100, tied: bool = True, bias: bool | None = None,
                    seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 arrays under a file's names, in Hugging Face's order of rows."""
    rng = np.random.default_rng(seed)
    width, inner, q, kv = 64, 96, 64, 32
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocabulary, width), "output_norm.weight": (width,)}
    if not tied:
        shapes["output.weight"] = (vocabulary, width)
    for layer in range(2):
        b = f"blk.{layer}."
        shapes |= {b + "attn_norm.weight": (width,), b + "attn_q.weight": (q, width), b + "attn_k.weight": (kv, width),
                   b + "attn_v.weight": (kv, width), b + "attn_output.weight": (width, q),
                   b + "ffn_norm.weight": (width,), b + "ffn_gate.weight": (inner, width),
                   b + "ffn_up.weight": (inner, width), b + "ffn_down.weight": (width, inner)}  # fmt: skip
        if architecture == "qwen3":
            shapes |= {b + "attn_q_norm.weight": (16,), b + "attn_k_norm.weight": (16,)}
        if bias if bias is not None else architecture == "qwen2":
            shapes |= {b + "attn_q.bias": (q,), b + "attn_k.bias": (kv,), b + "attn_v.bias": (kv,)}
    return {name: (rng.standard_normal(shape) / 8 + (len(shape) == 1)).astype(np.float32)
            for name, shape in shapes.items()}


def decoder_file(architecture: str = "llama", kind: str = "F32", metadata: Mapping[str, Any] = {},
                 **settings: Any) -> bytes:
    """A whole file of such a model; the queries' and keys' rows of llama interleaved. metadata: more of them."""
    tensors = {}
    for name, x in decoder_tensors(architecture, **settings).items():
        if architecture == "llama" and ("attn_q." in name or "attn_k." in name):
            x = interleaved(x, 4 if "attn_q." in name else 2)
        tensors[name] = stored(x, kind if x.ndim == 2 else "F32")
    return gguf_bytes({**decoder_metadata(architecture), **metadata}, tensors)
