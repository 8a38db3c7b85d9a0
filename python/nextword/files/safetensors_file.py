"""One safetensors file: validated, mapped into memory, its tensors as views of the map."""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nextword.arithmetic.formats import PackedBytes
from nextword.files import packed_file

__all__ = ["TensorFile", "refuse_other_kinds"]

# NumPy has no bfloat16: its bits are given out as uint16. float32 = (bits.astype(uint32) << 16).view(float32)
READABLE: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}

# Bytes of a header that are read at all: a name and its place take about 100, so this is some 40,000 tensors, some
# hundred times as many as most models have. To parse it takes a second and 100 MB at most.
HEADER_LIMIT = 4_000_000

# What a file is when it is not safetensors: its first bytes, its name, the way out.
OTHER_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` in its folder"),
    (b"PK\x03\x04", "a PyTorch checkpoint, not safetensors", "convert it with `save_pretrained` of transformers"),
    (b"GGUF", "a GGUF file, not safetensors", "load it by its own path"),
    (b"<", "an HTML or XML page, not safetensors", "the download went wrong; fetch the file again"),
)


class Entry(NamedTuple):
    """One tensor as the file's header describes it; begin and end count bytes from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile:
    """One validated and mapped safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries, about = read_header(path)
        self.matrices = packed_file.matrices(about, self.entries, path)
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if any(entry.end > len(self.map) for entry in self.entries.values()):
            raise ValueError(f"weights: {path} became shorter while it was opened; is it still being written?")
        self.bytes = np.frombuffer(self.map, np.uint8)
        if hasattr(mmap, "MADV_WILLNEED"):  # reading ahead halves the time from a cold disk
            self.map.madvise(mmap.MADV_WILLNEED)

    def read(self, name: str, label: str) -> npt.NDArray[Any] | PackedBytes:
        """The tensor's view of the map; a copy only where the file stores numbers unaligned."""
        entry = self.entries[name]
        if name in self.matrices:
            return PackedBytes(self.bytes[entry.begin : entry.end], *self.matrices[name])
        if entry.dtype not in READABLE:
            raise ValueError(
                f"weights: {label} is stored as {entry.dtype}; expected float32, float16 or bfloat16: "
                "convert the file, for example with model.to(torch.float32).save_pretrained(folder)"
            )
        flat: npt.NDArray[Any] = self.bytes[entry.begin : entry.end].view(READABLE[entry.dtype])
        if not flat.flags.aligned:
            flat = flat.copy()
            flat.flags.writeable = False
        try:
            return flat.reshape(entry.shape)
        except ValueError as error:
            raise ValueError(f"weights: {label} has the shape {list(entry.shape)}, which NumPy cannot hold") from error

    def forget(self, name: str) -> None:
        """Give the tensor's pages back to the system. They stay in the page cache; a later read maps them again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            entry = self.entries[name]
            begin = entry.begin // mmap.PAGESIZE * mmap.PAGESIZE
            if begin < entry.end:
                self.map.madvise(mmap.MADV_DONTNEED, begin, entry.end - begin)


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, Any]]:
    """Validate the file with the safetensors library, then read where each tensor lies, and the metadata.

    The library checks that the tensors cover the data exactly, one after the other; its NumPy front cannot give out
    bfloat16, so the offsets are read here from the header that it has accepted, and held against the file once more.
    """
    import safetensors

    size = path.stat().st_size
    with path.open("rb") as file:
        first_bytes = file.read(64)
        refuse_other_kinds(path, first_bytes)
        length = int.from_bytes(first_bytes[:8], "little")
        if size < 8 or length > size - 8:
            raise ValueError(
                f"weights: {path} is truncated or no safetensors file: "
                f"its header claims {length} bytes and the file has {size}"
            )
        if length > HEADER_LIMIT:
            raise ValueError(
                f"weights: {path} has a header of {length:,} bytes; {HEADER_LIMIT:,} are read, those of some 40,000 "
                "tensors: expected the weights of one model"
            )
        file.seek(8)
        raw = file.read(length)
    data = 8 + length
    entries = {}
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
        header = json.loads(raw, object_pairs_hook=without_duplicates)
        about = header.pop("__metadata__", None) or {}
        for name, tensor in header.items():
            begin, end = tensor["data_offsets"]
            entry = Entry(tensor["dtype"], tuple(tensor["shape"]), data + begin, data + end)
            if not data <= entry.begin <= entry.end <= size:
                raise ValueError(f"tensor {name!r} lies outside the file")
            if entry.dtype in READABLE and math.prod(entry.shape) * READABLE[entry.dtype].itemsize != end - begin:
                raise ValueError(f"tensor {name!r} has a shape that its bytes do not fill")
            entries[name] = entry
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"weights: {path} is truncated or damaged: {error}") from error
    return entries, about


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("the header names a tensor or a field twice")
    return found


def refuse_other_kinds(path: Path, first_bytes: bytes) -> None:
    """Raise ValueError for what often lies in the place of a safetensors file, by how it begins."""
    for start, kind, way_out in OTHER_KINDS:
        if first_bytes.startswith(start):
            raise ValueError(f"weights: {path} is {kind}; {way_out}")
