"""The tensors of a GGUF file as a model takes them: by Hugging Face's names, in its order, one at a time."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nextword.arithmetic.blocks import PIECE, Blocks, dequantise
from nextword.arithmetic.formats import PANEL, panel_bytes
from nextword.files.gguf import GGUF, MAGIC
from nextword.files.gguf_config import config_of, names_of
from nextword.files.gguf_names import FREQUENCIES, HEAD, TOKENS

__all__ = ["GGUFTensors", "is_gguf"]

AS_STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # bfloat16 as its bits
# Of each kind the dtype that comes nearest. Q4_0 is int4 but for the scale's last bits; blocks of Q4_1 and Q4_K have a
# least number, too, which int4 has not: SmolLM2-135M in Q4_1 loses 0.34 nats a token in int4, and 0.03 in int8.
NEAREST = {"F32": "float32", "F16": "bfloat16", "BF16": "bfloat16", "Q4_0": "int4",
           **dict.fromkeys(("Q8_0", "Q6_K", "Q5_K", "Q5_0", "Q5_1", "Q4_K", "Q4_1"), "int8")}


def is_gguf(path: Path) -> bool:
    """Whether the path is a file that is one by its name or its first bytes.

    >>> is_gguf(Path("no/such/model.gguf"))
    False
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".gguf" or file.read(len(MAGIC)) == MAGIC


class GGUFTensors:
    """One GGUF file: its configuration, and its tensors by their stored names, as `weights.Tensors` has them.

    metadata: what the file says of itself. config: in the fields of a config.json. names: Hugging Face's name of a
    tensor -> the stored one, without those that the configuration has taken in and a head that is the embedding again.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, GGUF(path)
        self.entries, self.forget, self.vocabulary = self._file.tensors, self._file.forget, self._file.vocabulary
        self.metadata, self.config = self._file.metadata, config_of(self._file)
        known = names_of(self._file)
        self._turned = {name for name in self.entries if known.part(name) in known.turned}
        self._flat = {name for name in self.entries if known.part(name) in known.flat}
        self._head = self.config.get("head_dim", 1)  # rows of a head
        left_out = {FREQUENCIES}
        if self._same(TOKENS, HEAD):
            self.config["tie_word_embeddings"] = True
            left_out.add(HEAD)
        self.names = [(known.own_name(name), name) for name in self.entries if name not in left_out]

    @property
    def kind(self) -> str:
        """How most numbers of its matrices are stored."""
        counts: Counter[str] = Counter()
        for entry in self.entries.values():
            if len(entry.shape) == 2:
                counts[entry.kind] += math.prod(entry.shape)
        return counts.most_common(1)[0][0]

    @property
    def nearest(self) -> str:
        """The dtype of ours that comes nearest to that."""
        return NEAREST[self.kind]

    def packed_bytes(self, dtype: str) -> int:
        """How much memory its matrices take in a dtype."""
        shapes = [self.entries[stored].shape for _, stored in self.names]
        return sum(-(-shape[0] // PANEL) * panel_bytes(dtype, shape[1]) for shape in shapes if len(shape) == 2)

    def read(self, name: str, label: str) -> npt.NDArray[Any] | Blocks:
        """The tensor, read-only: float32 or float16 as stored, bfloat16 as its uint16 bits, float32 of all other kinds,
        and Blocks for a matrix of more than `blocks.PIECE` numbers of these."""
        kind, shape, begin, end = self.entries[name]
        data, rows, cols = self._file.data[begin:end], math.prod(shape[:-1]), shape[-1]
        if name in self._turned and len(shape) == 2:
            data = _straight(data.reshape(rows, -1), self._head, label).ravel()
        if len(shape) == 2 and rows * cols > PIECE and kind not in AS_STORED and name not in self._flat:
            return Blocks(data, kind, rows, cols, partial(self.forget, name))
        x: npt.NDArray[Any]
        if kind not in AS_STORED:
            x = dequantise(data, kind, rows, cols).reshape(shape)
        else:
            x = data.view(AS_STORED[kind]).reshape(shape)
            x = x if x.flags.aligned else x.copy()
        if name in self._turned and len(shape) == 1:
            x = _straight(x[:, None], self._head, label).ravel()
        x.flags.writeable = False
        return x.T if name in self._flat and len(shape) == 2 else x

    def _same(self, first: str, second: str) -> bool:
        """Whether two tensors are there and stored with the same bytes."""
        if first not in self.entries or second not in self.entries:
            return False
        one, other = self.entries[first], self.entries[second]
        if one[:2] != other[:2]:
            return False
        step, data = 1 << 24, self._file.data
        found = all(np.array_equal(data[one.begin + at : min(one.begin + at + step, one.end)],
                                   data[other.begin + at : min(other.begin + at + step, other.end)])
                    for at in range(0, one.end - one.begin, step))  # fmt: skip
        self.forget(first)
        self.forget(second)
        return found


def _straight(rows: npt.NDArray[Any], head: int, label: str) -> npt.NDArray[Any]:
    """Rows in Hugging Face's order: of each head the first of all pairs that turn together, then the second."""
    if len(rows) % head or head % 2:
        raise ValueError(f"weights: {label} must have whole heads of {head} rows, in pairs, got {len(rows)} rows")
    return rows.reshape(-1, head // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
