"""A tiny encoder of random weights, for examples and tests: its answers mean nothing, but are the same every time."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nextword.files import packed_file
from nextword.files.model_folder import SINGLE
from nextword.models import ENCODERS
from nextword.models.random_weights import RandomWeights

__all__ = ["example", "write_example"]

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "cat", "dog", "ran", "sat", "story", "##s", ".", "?")
CLASSES = {"": "Model", "masked": "ForMaskedLM", "classes": "ForSequenceClassification",
           "tags": "ForTokenClassification"}  # fmt: skip


def example(head: str = "", labels: int = 2) -> Any:
    """The encoder, a TextEncoder. head: "", "masked", "classes" or "tags"; labels: how many classes it has.

    >>> example()
    TextEncoder(bert: 2 layers, 2 heads, width 16, vocabulary 15, context 32; heads: none but its hidden states \
(embed, similarity, hidden))
    """
    from nextword.tasks.loading import load

    with tempfile.TemporaryDirectory() as folder:
        return load(write_example(Path(folder), head, labels))


def write_example(folder: Path, head: str = "", labels: int = 2) -> Path:
    """Write its folder, which is there, and return it."""
    kind = next(iter(ENCODERS))
    architecture = ENCODERS[kind]
    config = {"model_type": kind, "architectures": [CLASSES[head]], "vocab_size": len(WORDS), "hidden_size": 16,
              "num_hidden_layers": 2, architecture.Config.of_heads: 2, "intermediate_size": 32,
              "max_position_embeddings": 32, "num_labels": labels}  # fmt: skip
    made = _Noted(head)
    architecture(made, config)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    with (folder / SINGLE).open("wb") as file:
        packed_file.write(file, made.tensors, "float32")
    return folder


class _Noted(RandomWeights):
    """Random weights that keep what they gave, and have those of a head."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.head = head
        self.tensors: dict[str, Any] = {}

    def made(self, name: str, shape: tuple[int, ...]) -> Any:
        """The tensor of this name: larger than a fresh model's, so that texts differ."""
        found = super().made(name, shape)
        self.tensors[name] = found if found.ndim == 1 else found * np.float32(20)
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return self.head == "masked" and "predictions" in str(name)
