"""Weights files: a Hugging Face folder, a hub id, or a GGUF file, opened as named arrays over a memory map.

Left out: what a tensor means, which shape it must have and whether its numbers are finite. The models check that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from nextword.arithmetic.formats import PackedBytes
from nextword.files import hub, packed_file
from nextword.files.bundled import bundled
from nextword.files.gguf import GGUF
from nextword.files.gguf_tensors import GGUFTensors, is_gguf
from nextword.files.model_folder import (
    GENERATION,
    HUB_FILES,
    INDEX,
    NOT_MERGED,
    SINGLE,
    VOCABULARY_GGUF,
    find_tensors,
    present,
    read_json,
    refuse_adapters,
)
from nextword.files.weight_names import nearest, of_adapter, unwrapped
from nextword.machine import memory
from nextword.machine.shown import listed, quoted

__all__ = ["GGUFWeights", "MissingTensorError", "Weights", "open_model"]


class Tensors(Protocol):
    """A file of named tensors, mapped into memory."""

    path: Path

    def read(self, name: str, label: str) -> Any:
        """A tensor. label: what messages call it. Raises ValueError for one that is not stored in a way that is read.
        """

    def forget(self, name: str) -> None:
        """Give its pages back to the system."""


Place = tuple[Tensors, str]  # of a tensor: its file and its name there


class MissingTensorError(ValueError, KeyError):
    """A tensor's name that the file does not hold. A KeyError too, as the mapping protocol wants it."""

    __str__ = ValueError.__str__  # KeyError's would quote the message


class Weights(Mapping[str, npt.NDArray[Any] | PackedBytes]):
    """The named tensors of a model folder, read-only, each a view of the memory-mapped file.

    folder: where the files lie; config, generation_config: the contents of `config.json` and of
    `generation_config.json`, None where that is not there. Names are without what wrappers have put into them
    (`module.`, `_orig_mod.`, ...); `renamed` gives them the names of a model.
    source: the file that config comes from. origin, revision: the absolute path of the folder and None, or the hub's id
        and its revision.
    `weights[name]` is float32 or float16 as stored, bfloat16 as its uint16 bits, and PackedBytes for a matrix in a file
    of packed weights (packed_file.py). Reading a tensor releases the mapped pages of the one read before, so that who
    copies tensor after tensor holds one of them at a time (arrays given out earlier stay valid and are read from the
    page cache again). `len` and `in` read no data.

    metadata: what the GGUF file that the model came in says of itself, its vocabulary and chat template among it; None
        of other models. nearest, kind: the dtype of ours that comes nearest to how most numbers of its matrices are
        stored, and the file's own word for that; None for what `load` takes as it is.

    The files must not be written to while they are in use: a map of a file that shrinks ends the process.

    Raises MissingTensorError (a ValueError and a KeyError) for an unknown name, ValueError for another stored dtype.

    >>> import nextword
    >>> weights = open_model(Path(nextword.__file__).parent / "demo")
    >>> weights["transformer.wte.weight"].shape
    (4096, 256)
    """

    metadata: Mapping[str, Any] | None = None
    nearest: str | None = None
    kind: str | None = None

    def __init__(self, folder: Path, origin: str | None = None, revision: str | None = None) -> None:
        self.folder, self.source = folder, folder / "config.json"
        self.origin, self.revision = origin or str(folder.absolute()), revision
        refuse_adapters(folder)
        self.config = read_json(folder / "config.json")
        self.generation_config = read_json(folder / GENERATION) if present(folder / GENERATION) else None
        if present(folder / VOCABULARY_GGUF):
            self.metadata = GGUF(folder / VOCABULARY_GGUF).metadata
        found = find_tensors(folder)
        for file, stored in found.tensors:
            if of_adapter(stored):
                raise ValueError(f"weights: {file.path} holds {quoted(stored)}, {NOT_MERGED}")
        self._places = by_name((unwrapped(stored), (file, stored)) for file, stored in found.tensors)
        self._unlisted = found.unlisted
        self._last: Place | None = None
        packed_file.check_config(self.config, {file for file, _ in found.tensors}, folder / "config.json")

    def renamed(self, own_name: Callable[[str], str | None]) -> Weights:
        """The same tensors by the names that a model has for them.

        own_name: from a name here to the model's; None for what no model reads, which is left out.
        Raises ValueError if two of them are the same tensor, or if a shard holds more than its index says.

        >>> import nextword
        >>> weights = open_model(nextword.DEMO)
        >>> weights.renamed(lambda name: name.removeprefix("transformer."))["wte.weight"].shape
        (4096, 256)
        """
        for file in dict.fromkeys(file for file, _ in self._unlisted):
            others = [name for one, name in self._unlisted if one is file and own_name(unwrapped(name)) is not None]
            if others:
                raise ValueError(
                    f"weights: {file.path} holds {listed(others)}, which {INDEX} does not put there; "
                    "the index and the shards are not of one model, or were not written to the end"
                )
        other = copy(self)
        named = ((own_name(name), place) for name, place in self._places.items())
        other._places = by_name((name, place) for name, place in named if name is not None)
        return other

    def __getitem__(self, name: str) -> npt.NDArray[Any] | PackedBytes:
        place = self._places.get(name)
        if place is None:
            raise MissingTensorError(f"weights: {self._where()} has no tensor {str(name)!r}; {self._near(str(name))}")
        self.release()
        self._last = place
        found: npt.NDArray[Any] | PackedBytes = place[0].read(place[1], self.describe(name))
        return found

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


class GGUFWeights(Weights):
    """The same of one GGUF file: all that stands there, in Hugging Face's names and order of rows.

    folder: where the file lies. Matrices of the kinds that have blocks are float32, large ones `blocks.Blocks`.
    """

    def __init__(self, path: Path) -> None:
        self.folder, self.source = path.parent, path
        self.origin, self.revision, self.generation_config = str(path.absolute()), None, None
        file = self._file = GGUFTensors(path)
        self.config, self.metadata, self.kind, self.nearest = file.config, file.metadata, file.kind, file.nearest
        self._places = by_name((name, (file, stored)) for name, stored in file.names)
        self._unlisted, self._last = [], None

    def vocabulary(self) -> bytes:
        """A file of the metadata alone: what VOCABULARY_GGUF in a folder holds."""
        return self._file.vocabulary()

    def require(self, dtype: str) -> None:
        """Raises MemoryError if there is not enough for its matrices in a dtype."""
        memory.require("load", f"{self.source} in {dtype}", self._file.packed_bytes(dtype),
                       "take a dtype of fewer bits, or a smaller model")


def by_name(named: Iterable[tuple[str, Place]]) -> dict[str, Place]:
    """A dictionary. Raises ValueError if a name comes twice."""
    found: dict[str, Place] = {}
    for name, (file, stored) in named:
        if name in found:
            other, twin = found[name]
            raise ValueError(
                f"weights: {file.path} stores {quoted(stored)} and {other.path} stores {quoted(twin)}: "
                f"both are the tensor {quoted(name)}; remove one of them"
            )
        found[name] = file, stored
    return found


def open_model(path_or_id: str | os.PathLike[str], revision: str | None = None) -> Weights:
    """Open a model's weights: a local folder or GGUF file, or a hub id such as "gpt2" or
    "openai-community/gpt2-medium@main", or a model of the package, such as "nextword:nano-sort".

    The folder holds `config.json` and `model.safetensors`, or shards and `model.safetensors.index.json`. An existing
    folder wins over a hub id. Hub files come through `huggingface_hub` (the extra `hub`) with its cache; with
    HF_HUB_OFFLINE=1 only the cache is used.
    revision: a branch, tag or commit of a hub model, the same as behind an "@"; None: its main branch.

    Raises OSError for what is absent or cannot be fetched, ValueError for files that are not what they claim to be,
    ImportError for a hub id without the extra.
    """
    own = bundled(path_or_id)
    folder = own or Path(path_or_id).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"load: revision must be None for a folder, got {revision!r} for {folder}")
        return Weights(folder, str(path_or_id) if own else None)
    if is_gguf(folder):
        if revision is not None:
            raise ValueError(f"load: revision must be None for a file, got {revision!r} for {folder}")
        return GGUFWeights(folder)
    if folder.exists():
        raise NotADirectoryError(
            f"weights: {folder} is a file; pass the folder that holds it, with config.json and {SINGLE}"
        )
    if folder.suffix == ".gguf":
        raise FileNotFoundError(f"weights: there is no file {str(path_or_id)!r}")
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
