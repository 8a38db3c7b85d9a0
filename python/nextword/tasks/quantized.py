"""Model folders with packed weights: made of any other model, written whole or not at all."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nextword.arithmetic import ops
from nextword.arithmetic.formats import DTYPES, PackedBytes
from nextword.files import packed_file, whole
from nextword.files.json_text import json_text
from nextword.files.model_folder import GENERATION, SINGLE, TEMPLATE, VOCABULARY_FILES, VOCABULARY_GGUF
from nextword.files.sentence_files import sentence_names
from nextword.files.weights import GGUFWeights, Weights, open_model
from nextword.models import build
from nextword.models.network import Network

__all__ = ["quantize"]


def quantize(path_or_id: str | os.PathLike[str], dtype: str, out: str | os.PathLike[str],
             progress: Callable[[int, int], None] | None = None) -> Path:
    """Write a model's folder anew with its weights in fewer bits. `load` then converts nothing.

    path_or_id: what `load` takes; dtype: "int8", "int4", "bfloat16" or "float32"; out: a folder that is not there or
        empty. It gets `config.json`, the files of the vocabulary, of the template of messages and of
        sentence-transformers as they are (of a GGUF file `vocabulary.gguf`, its metadata), and one
        `model.safetensors` (packed_file.py).
    progress: called with (tensors done, all).
    Returns out. Raises FileExistsError if it is not empty, OSError if it cannot be written, else as `load` does. After
    an error or Ctrl-C nothing is left of it.

    >>> import nextword, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nextword.load(quantize(nextword.DEMO, "int8", Path(folder) / "small")).model.dtype
    'int8'
    """
    if dtype not in DTYPES:
        raise ValueError(f"quantize: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    target = Path(out).expanduser().absolute()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(f"quantize: {target} is there and no empty folder; give one that is not there")
    weights = open_model(path_or_id)
    if isinstance(weights, GGUFWeights):
        weights.require(dtype)
    model = build(_Told(weights, progress), dtype=dtype)
    whole.write_folder("quantize", target, lambda part: _write(model, weights, part))
    return Path(out)


def _write(model: Network, weights: Weights, folder: Path) -> None:
    """The files of a model, and the vocabulary of the folder that its weights came from."""
    note = {"quant_method": "nextword", "dtype": model.dtype}
    (folder / "config.json").write_text(json_text({**weights.config, "quantization_config": note}, indent=2) + "\n")
    beside: list[str] = []
    if not isinstance(weights, GGUFWeights):
        beside = [*VOCABULARY_FILES, VOCABULARY_GGUF, GENERATION, TEMPLATE, *sentence_names(weights.folder)]
    for name in beside:
        if whole.present("quantize", weights.folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((weights.folder / name).read_bytes())
    if isinstance(weights, GGUFWeights):
        (folder / VOCABULARY_GGUF).write_bytes(weights.vocabulary())
    tensors = {name: PackedBytes(ops.packed_bytes(x), x.dtype, *x.shape) if isinstance(x, ops.Packed) else x
               for name, x in model.tensors().items()}  # fmt: skip
    with (folder / SINGLE).open("wb") as file:
        packed_file.write(file, tensors, model.dtype)
        file.flush()
        os.fsync(file.fileno())


class _Told(Mapping[str, Any]):
    """A folder's weights; says how many tensors have been taken."""

    def __init__(self, weights: Weights, progress: Callable[[int, int], None] | None) -> None:
        self.source, self.config, self.describe = weights.source, weights.config, weights.describe
        self._weights, self._progress = weights, progress
        self._taken: set[str] = set()

    def renamed(self, own_name: Callable[[str], str | None]) -> "_Told":
        """The same by the names that a model has for them."""
        return _Told(self._weights.renamed(own_name), self._progress)

    def __getitem__(self, name: str) -> Any:
        if self._progress is not None and name not in self._taken:
            self._progress(len(self._taken), len(self))
        self._taken.add(name)
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __contains__(self, name: object) -> bool:
        return name in self._weights
