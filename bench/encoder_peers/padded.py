"""What an engine that only has the encoder needs around it: tokens, padded batches of texts of like length, the mean
over a text's tokens, length 1. As sentence-transformers does it, in NumPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer


def embedder(data: Path, width: int, hidden: Callable[[Any, Any], Any]) -> Callable[[list[str], int], Any]:
    """hidden(ids int32 [texts, tokens], lengths [texts]) -> float32 [texts, tokens, width]."""
    tokenizer = Tokenizer.from_file(str(data / "hf" / "tokenizer.json"))
    tokenizer.no_padding()

    def embed(texts: list[str], batch: int) -> Any:
        ids = [one.ids for one in tokenizer.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]), reverse=True)
        out = np.empty((len(ids), width), np.float32)
        for first in range(0, len(ids), batch):
            rows = order[first : first + batch]
            lengths = np.array([len(ids[row]) for row in rows], np.int32)
            given = np.zeros((len(rows), int(lengths[0])), np.int32)
            for place, row in enumerate(rows):
                given[place, : lengths[place]] = ids[row]
            seen = np.arange(given.shape[1]) < lengths[:, None]
            share = seen / lengths[:, None].astype(np.float32)
            out[rows] = np.matmul(share[:, None].astype(np.float32), hidden(given, lengths))[:, 0]
        out /= np.maximum(np.sqrt((out * out).sum(1, keepdims=True)), 1e-12)
        return out

    return embed


def config(data: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads((data / "hf" / "config.json").read_text())
    return found
