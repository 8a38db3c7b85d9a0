"""A trained model of the Llama kind for tests of the page, with the vocabulary that it was trained with."""

from __future__ import annotations

import json
from pathlib import Path

from sentencepiece_helpers import BYTE, CONTROL, NORMAL, UNKNOWN, written


def story_llama(data: Path, folder: Path) -> Path:
    """Makes a folder of llama_stories260k and its pieces as a tokenizer.model."""
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(data / name)
    pieces = []
    for at, one in enumerate(json.loads((data / "vocab.json").read_text("utf-8"))):
        text = one["piece_latin1"].encode("latin-1").decode("utf-8")
        kind = UNKNOWN if at == 0 else CONTROL if at < 3 else BYTE if at < 259 else NORMAL
        pieces.append((text.strip() if at < 3 else text.replace(" ", "▁"), one["score"], kind))
    (folder / "tokenizer.model").write_bytes(written(pieces))
    return folder
