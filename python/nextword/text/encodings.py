"""The published encodings of tiktoken: rank file, splitting pattern, special tokens. They are read in tokenizer.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nextword.text.claims import ENDOFTEXT

_ENDOFPROMPT = "<|endofprompt|>"
_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")


class Encoding(NamedTuple):
    """A published encoding: its rank file, its splitting pattern and its special tokens."""

    file: str
    pattern: str
    specials: Mapping[str, int]


# The numbers that no token of the format has are reserved; 200018 has two names.
_HARMONY = {
    _ENDOFPROMPT: 200018,
    "<|startoftext|>": 199998,
    ENDOFTEXT: 199999,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
}
_RESERVED = {f"<|reserved_{id}|>": id for id in range(200000, 201088) if id == 200018 or id not in _HARMONY.values()}
ENCODINGS = {
    "gpt2": Encoding("r50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256}),
    "r50k_base": Encoding("r50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256}),
    "p50k_base": Encoding("p50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256}),
    "p50k_edit": Encoding(
        "p50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256, **dict(zip(_FIM, range(50281, 50284), strict=True))}
    ),
    "cl100k_base": Encoding(
        "cl100k_base.tiktoken",
        "cl100k",
        {ENDOFTEXT: 100257, **dict(zip(_FIM, range(100258, 100261), strict=True)), _ENDOFPROMPT: 100276},
    ),
    "o200k_base": Encoding("o200k_base.tiktoken", "o200k", {ENDOFTEXT: 199999, _ENDOFPROMPT: 200018}),
    "o200k_harmony": Encoding("o200k_base.tiktoken", "o200k", {**_HARMONY, **_RESERVED}),
}
