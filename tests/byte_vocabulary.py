"""A byte-level vocabulary without merges: token i is byte i, so that every character beyond ASCII is several tokens."""

from __future__ import annotations

import json
from pathlib import Path

from nextword.text.tokenizer import Tokenizer


def alphabet() -> list[str]:
    """The character by which GPT-2's vocabulary files write each byte (Radford et al. 2019, encoder.py)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte if byte in shown else next(hidden)) for byte in range(256)]


def write_byte_vocabulary(folder: Path) -> Path:
    """Write vocab.json and merges.txt; id 256 is the end token."""
    names = {name: byte for byte, name in enumerate(alphabet())} | {"<|endoftext|>": 256}
    (folder / "vocab.json").write_text(json.dumps(names), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder


def byte_tokenizer(folder: Path) -> Tokenizer:
    """The vocabulary, loaded."""
    return Tokenizer.load(write_byte_vocabulary(folder))
