"""Stand-ins: for a loaded model, with the interface that the commands call, and for a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np


class Bytes:
    """A vocabulary of the 256 bytes."""

    def encode(self, text):
        return list(text.encode())

    def decode_bytes(self, ids):
        return bytes(ids)


class StandIn:
    """A model with the interface that the commands call; it tells the alphabet."""

    def __init__(self, tokenizer=None, text="abc", reason="length", error=None):
        self.tokenizer, self.text, self.reason, self.error = tokenizer, text, reason, error
        self.model = SimpleNamespace(window=64, vocabulary=256)
        self.settings, self.no_tokenizer = None, None

    def logits(self, ids, last_only):
        assert last_only
        return np.arange(256, dtype=np.float32) / 8

    def generate(self, prompt, **settings):
        self.settings = settings
        if self.error:
            raise self.error
        timings = SimpleNamespace(
            prefill_seconds=0.1, decode_seconds=0.2, prefill_tokens_per_second=10.0, decode_tokens_per_second=20.0
        )
        return SimpleNamespace(
            text=self.text if self.tokenizer else None, tokens=[*self.text.encode()],
            prompt_tokens=[*prompt.encode()] if isinstance(prompt, str) else prompt, finish_reason=self.reason,
            seed=settings.get("seed", 5), timings=timings, logprobs=None, prompt_logprobs=None,
            steps=None, removed_mass=None,
            drafted=None, accepted=None, score=None, row=0,
        )  # fmt: skip

    def stream(self, prompt, **settings):
        return StandInStream(self, prompt, settings)


class StandInStream:
    def __init__(self, lm, prompt, settings):
        self.pieces = list(lm.text) if lm.tokenizer else [*lm.text.encode()]
        self.error, lm.error = lm.error, None
        self.result = lm.generate(prompt, **settings)

    def __iter__(self):
        yield from self.pieces
        if self.error:
            raise self.error


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True
