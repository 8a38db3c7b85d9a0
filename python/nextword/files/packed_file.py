"""Files of packed weights: the format, how one is written, and what its header says.

A safetensors file with a model's tensors under Hugging Face's names. Matrices are uint8 [bytes], which `ops.packed`
takes as they are (csrc/kernels/formats.h); they come first, each from a multiple of 64 bytes on. All else is float32.

    metadata   format "nextword packed weights", version "1",
               dtype: of the matrices,
               matrices: JSON, name -> [depth, cols], as a product takes it: embeddings are [width, vocabulary]
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.formats import DTYPES, PackedBytes

FORMAT, VERSION = "nextword packed weights", "1"
LINE = 64  # bytes


def write(file: BinaryIO, tensors: Mapping[str, NDArray[np.float32] | PackedBytes], dtype: str) -> None:
    """Write a model's tensors, the matrices of which are packed in dtype."""
    packed = {name: x for name, x in tensors.items() if isinstance(x, PackedBytes)}
    vectors = {name: np.ascontiguousarray(x, "<f4") for name, x in tensors.items() if not isinstance(x, PackedBytes)}
    shapes = {name: [x.depth, x.cols] for name, x in packed.items()}
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT, "version": VERSION, "dtype": dtype,
                                               "matrices": json.dumps(shapes)}}  # fmt: skip
    end = 0
    for name, code, x in [*((name, "U8", x.data) for name, x in packed.items()),
                          *((name, "F32", x) for name, x in vectors.items())]:  # fmt: skip
        begin, end = end, end + x.nbytes
        header[name] = {"dtype": code, "shape": list(x.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % LINE)
    file.write(len(text).to_bytes(8, "little") + text)
    for data in (*(x.data for x in packed.values()), *vectors.values()):
        file.write(data.data)


def matrices(about: Mapping[str, Any], tensors: Mapping[str, Any], path: Path) -> dict[str, tuple[str, int, int]]:
    """dtype, depth and cols of each packed matrix by the metadata; none for a file that holds no packed weights.

    tensors: by name, what the file holds. Raises ValueError that names the file for metadata that cannot be believed.
    """
    if about.get("format") != FORMAT:
        return {}
    dtype, version = about.get("dtype"), about.get("version")
    again = "write it anew with `nextword quantize`"
    if version != VERSION:
        raise ValueError(f"weights: {path} has version {str(version)[:20]!r} of packed weights, this nextword reads "
                         f"{VERSION!r}; {again}")
    if dtype not in DTYPES:
        raise ValueError(f"weights: {path} claims the dtype {str(dtype)[:20]!r}, expected one of {', '.join(DTYPES)}; "
                         f"{again}")
    try:
        shapes = json.loads(about["matrices"])
        found = {name: (dtype, int(depth), int(cols)) for name, (depth, cols) in shapes.items()
                 if type(depth) is type(cols) is int}  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        shapes, found = {None: None}, {}
    if len(found) < len(shapes):
        raise ValueError(f"weights: {path} does not say which matrices it holds: its metadata is damaged; {again}")
    for name in found.keys() - tensors.keys():
        raise ValueError(f"weights: {path} claims to hold the matrix {name!r} and does not; {again}")
    return found


def check_config(config: Mapping[str, Any], files: Collection[Any], path: Path) -> None:
    """Hold what config.json says of packed weights against the files' own words. files: with `matrices`, as above.

    Raises ValueError that names the path of config.json.
    """
    note = config.get("quantization_config")
    if not isinstance(note, dict) or note.get("quant_method") != "nextword":
        return
    stored = sorted({dtype for file in files for dtype, _, _ in file.matrices.values()})
    if stored != [note.get("dtype")]:
        raise ValueError(f"weights: {path} says that the weights are packed as {str(note.get('dtype'))[:20]}, and the "
                         f"files hold {' and '.join(stored) or 'none'} packed; they do not belong together: remove "
                         "quantization_config if the files are right, or write them anew with `nextword quantize`")
