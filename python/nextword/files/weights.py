"""Weights files: a Hugging Face folder, or a hub id, opened as named arrays over a memory map.

Left out: what a tensor means, which shape it must have and whether its numbers are finite. The models check that.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nextword.arithmetic.formats import PackedBytes
from nextword.files import hub, packed_file, whole
from nextword.files.weight_names import harmless, nearest, of_adapter, plain
from nextword.machine.shown import listed, quoted

__all__ = ["MissingTensorError", "Weights", "open_model"]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
VOCABULARY_FILES = ("vocab.json", "merges.txt", "encoder.json", "vocab.bpe", "tokenizer.json", "added_tokens.json",
                    "special_tokens_map.json", "tokenizer_config.json")  # fmt: skip
GENERATION = "generation_config.json"
HUB_FILES = ("config.json", GENERATION, "adapter_config.json", SINGLE, INDEX, "model-*.safetensors", *VOCABULARY_FILES)

# NumPy has no bfloat16: its bits are given out as uint16. float32 = (bits.astype(uint32) << 16).view(float32)
READABLE: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}

# Bytes of a safetensors header, and of config.json or an index, that are read at all: a name and its place take about
# 100, so this is some 40,000 tensors, where GPT-2's largest has 580. To parse it takes a second and 100 MB at most.
HEADER_LIMIT = 4_000_000
JSON_LIMIT = 32_000_000

# What a file is when it is not safetensors: its first bytes, its name, the way out.
OTHER_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` in its folder"),
    (b"PK\x03\x04", "a PyTorch checkpoint, not safetensors", "convert it with `save_pretrained` of transformers"),
    (b"GGUF", "a GGUF file, not safetensors", "take the safetensors file of the same model"),
    (b"<", "an HTML or XML page, not safetensors", "the download went wrong; fetch the file again"),
)


NOT_MERGED = (
    "which belongs to an adapter (LoRA or another of PEFT) that is not merged into the weights; merge it once where "
    "peft is installed: AutoPeftModelForCausalLM.from_pretrained(adapter).merge_and_unload().save_pretrained(folder), "
    "and load that folder"
)


class MissingTensorError(ValueError, KeyError):
    """A tensor's name that the file does not hold. A KeyError too, as the mapping protocol wants it."""

    __str__ = ValueError.__str__  # KeyError's would quote the message


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


class Weights(Mapping[str, npt.NDArray[Any] | PackedBytes]):
    """The named tensors of a model folder, read-only, each a view of the memory-mapped file.

    folder: where the files lie; config, generation_config: the contents of `config.json` and of
    `generation_config.json`, None where that is not there. Names are without what wrappers have put before
    them (`transformer.`, `model.`, `module.`, `_orig_mod.`); stored masks (`h.N.attn.bias`, `h.N.attn.masked_bias`) and
    `position_ids` are left out, and nothing else is: `lm_head.weight` is there if the file has it.
    origin, revision: the absolute path of the folder and None, or the hub's id and its revision.
    `weights[name]` is float32 or float16 as stored, bfloat16 as its uint16 bits, and PackedBytes for a matrix in a file
    of packed weights (packed_file.py). Reading a tensor releases the mapped pages of the one read before, so that who
    copies tensor after tensor holds one of them at a time (arrays given out earlier stay valid and are read from the
    page cache again). `len` and `in` read no data.

    The files must not be written to while they are in use: a map of a file that shrinks ends the process.

    Raises MissingTensorError (a ValueError and a KeyError) for an unknown name, ValueError for another stored dtype.

    >>> import nextword
    >>> weights = open_model(Path(nextword.__file__).parent / "demo")
    >>> weights["wte.weight"].shape == (weights.config["vocab_size"], weights.config["n_embd"])
    True
    """

    def __init__(self, folder: Path, origin: str | None = None, revision: str | None = None) -> None:
        self.folder = folder
        self.origin, self.revision = origin or str(folder.absolute()), revision
        refuse_adapters(folder)
        self.config = read_json(folder / "config.json")
        self.generation_config = read_json(folder / GENERATION) if present(folder / GENERATION) else None
        self._places: dict[str, tuple[TensorFile, str]] = {}
        self._last: tuple[TensorFile, str] | None = None
        for file, stored in find_tensors(folder):
            name = plain(stored)
            if harmless(name):
                continue
            if of_adapter(stored):
                raise ValueError(f"weights: {file.path} holds {quoted(stored)}, {NOT_MERGED}")
            if name in self._places:
                other, twin = self._places[name]
                raise ValueError(
                    f"weights: {file.path} stores {quoted(stored)} and {other.path} stores {quoted(twin)}: "
                    f"both are the tensor {quoted(name)}; remove one of them"
                )
            self._places[name] = (file, stored)
        packed_file.check_config(self.config, {file for file, _ in self._places.values()}, folder / "config.json")

    def __getitem__(self, name: str) -> npt.NDArray[Any] | PackedBytes:
        place = self._places.get(name)
        if place is None:
            raise MissingTensorError(f"weights: {self._where()} has no tensor {str(name)!r}; {self._near(str(name))}")
        self.release()
        self._last = place
        return place[0].read(place[1], self.describe(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __repr__(self) -> str:
        return f"Weights({str(self.folder)!r}, {len(self)} tensors)"

    def describe(self, name: str) -> str:
        """The tensor and its file in words, for messages: "tensor 'ln_f.bias' of /path/model.safetensors"."""
        place = self._places.get(name)
        if place is None:
            return f"tensor {name!r} (absent from {self._where()}; {self._near(name)})"
        return f"tensor {quoted(place[1])} of {place[0].path}"

    def release(self) -> None:
        """Give the pages of the tensor read last back to the system."""
        if self._last is not None:
            self._last[0].forget(self._last[1])
            self._last = None

    def _near(self, name: str) -> str:
        near = nearest(name, (stored for _, stored in self._places.values()))
        return f"nearest names: {listed(near)}" if near else f"it holds {len(self)} tensors, none of a like name"

    def _where(self) -> str:
        files = {file.path for file, _ in self._places.values()}
        return str(files.pop() if len(files) == 1 else self.folder)


def open_model(path_or_id: str | os.PathLike[str], revision: str | None = None) -> Weights:
    """Open a model's weights: a local folder, or a hub id such as "gpt2" or "openai-community/gpt2-medium@main".

    The folder holds `config.json` and `model.safetensors`, or shards and `model.safetensors.index.json`. An existing
    folder wins over a hub id. Hub files come through `huggingface_hub` (the extra `hub`) with its cache; with
    HF_HUB_OFFLINE=1 only the cache is used.
    revision: a branch, tag or commit of a hub model, the same as behind an "@"; None: its main branch.

    Raises OSError for what is absent or cannot be fetched, ValueError for files that are not what they claim to be,
    ImportError for a hub id without the extra.
    """
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"load: revision must be None for a folder, got {revision!r} for {folder}")
        return Weights(folder)
    if folder.exists():
        raise NotADirectoryError(
            f"weights: {folder} is a file; pass the folder that holds it, with config.json and {SINGLE}"
        )
    named = hub.parse(path_or_id, revision)
    if named is None:
        raise FileNotFoundError(
            f"weights: there is no folder {str(path_or_id)!r}, and it is no hub id "
            '(those read like "gpt2", "openai-community/gpt2-medium" or "gpt2@main")'
        )
    folder = hub.fetch(*named, HUB_FILES)
    refuse_adapters(folder)
    if not any(present(folder / name) for name in (SINGLE, INDEX)):
        raise FileNotFoundError(hub.instead(*named, SINGLE))
    return Weights(folder, *named)


def find_tensors(folder: Path) -> Iterator[tuple[TensorFile, str]]:
    """Every tensor of the folder as (its file, its stored name)."""
    single, index = folder / SINGLE, folder / INDEX
    if present(single):
        file = TensorFile(single)
        yield from ((file, name) for name in file.entries)
    elif present(index):
        yield from find_sharded(folder, index)
    else:
        raise FileNotFoundError(f"weights: {folder} holds no {SINGLE}{instead_of_weights(folder)}")


def find_sharded(folder: Path, index: Path) -> Iterator[tuple[TensorFile, str]]:
    """Every tensor that the index names, after checking that its shard holds it, and that the shards hold no others."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"weights: {index} has no 'weight_map' of tensor names to shard files")
    files: dict[str, TensorFile] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", shard):
            raise ValueError(
                f"weights: {index} puts {quoted(name)} into {quoted(str(shard))}; "
                "expected the name of a .safetensors file beside it"
            )
        if shard not in files:
            if not present(folder / shard):
                raise FileNotFoundError(f"weights: {index} names the shard {shard}, which is not in {folder}")
            files[shard] = TensorFile(folder / shard)
        if name not in files[shard].entries:
            raise ValueError(f"weights: {index} puts {quoted(name)} into {shard}, which does not hold it")
    for shard, file in files.items():
        others = [name for name in file.entries if weight_map.get(name) != shard and not harmless(plain(name))]
        if others:
            raise ValueError(
                f"weights: {file.path} holds {listed(others)}, which {index.name} does not put there; "
                "the index and the shards are not of one model, or were not written to the end"
            )
    yield from ((files[shard], name) for name, shard in weight_map.items())


def refuse_adapters(folder: Path) -> None:
    """An adapter beside a model changes its logits, and alone it is no model."""
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        if (folder / name).exists():
            raise ValueError(f"weights: {folder} holds {name}, {NOT_MERGED}")


def instead_of_weights(folder: Path) -> str:
    """What the folder without weights holds instead, and what to do about it."""
    names = sorted(path.name for path in folder.iterdir())
    if any(re.fullmatch(r"pytorch_model.*\.bin", name) for name in names):
        return (
            ", only PyTorch's pytorch_model.bin; convert it once where transformers is installed: "
            "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)"
        )
    other = [name for name in names if name.endswith(".safetensors")]
    if other:
        return f" and no {INDEX}; rename {other[0]} if that is the model" if len(other) == 1 else f" and no {INDEX}"
    return "; it is empty" if not names else f"; it holds {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"


def present(path: Path) -> bool:
    """Whether the path is a file; an error if it is there and something else."""
    return whole.present("weights", path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds."""
    if not present(path):
        raise FileNotFoundError(f"weights: {path.parent} holds no {path.name}; is it a model's folder?")
    if path.stat().st_size > JSON_LIMIT:
        raise ValueError(f"weights: {path} has {path.stat().st_size:,} bytes; expected JSON of {JSON_LIMIT:,} at most")
    raw = path.read_bytes()
    refuse_other_kinds(path, raw)
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        raise ValueError(f"weights: {path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"weights: {path} must hold a JSON object, got {type(found).__name__}")
    return found


def refuse_other_kinds(path: Path, first_bytes: bytes) -> None:
    for start, kind, way_out in OTHER_KINDS:
        if first_bytes.startswith(start):
            raise ValueError(f"weights: {path} is {kind}; {way_out}")


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
                "tensors: expected the weights of one GPT-2 model"
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
