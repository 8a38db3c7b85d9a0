"""What a generation gives back: text, tokens, log-probabilities, reasons, timings."""

from dataclasses import dataclass, field
from typing import Any

from nextword.decoding.explain import Step


@dataclass(frozen=True)
class Timings:
    """Seconds and tokens of a call, over all of its sequences; prefill ends with each sequence's first new token. What
    is done for prompts and for texts in one pass counts for each by its tokens.

    prefill_tokens: those that went through the model; a beginning shared with another prompt counts once.
    decode_seconds: with a draft, what it took is among them.
    """

    prefill_tokens: int
    prefill_seconds: float
    decode_tokens: int
    decode_seconds: float

    @property
    def prefill_tokens_per_second(self) -> float:
        """Prompt tokens per second; 0.0 if there were none."""
        return self.prefill_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """New tokens per second after each sequence's first; 0.0 if there were none."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds else 0.0


@dataclass(frozen=True)
class TokenLogprob:
    """The natural logarithm of a token's probability by the model, before all rules, and the most probable tokens'.

    top: (token, logprob), the most probable first, of equal ones the lower id; empty for logprobs=0. The token was the
    most probable one if it stands first in a top of one or more, where its number is the same.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Generation:
    """What became of one prompt.

    text: the new text, up to the stop string or stop id (None for a model without a vocabulary).
    tokens: the new token ids, a stop id and those of a stop string included, the end token not.
    finish_reason: "stop" (end token, stop string or stop id), "length" (max_new_tokens), "context" (window full).
    seed, row: what numbers were drawn with: generate with both gives the same text, bit for bit, alone.
    logprobs: one for each token, if asked for by logprobs=k, and behind them one for the end token where one ended the
        text, which `tokens` leave out and whose text is "".
    prompt_logprobs: one for each token of the prompt, if asked for by prompt_logprobs=k: of its probability given the
        tokens before it, with the bits of `score`. None for the first, before which there is nothing.
    steps: why each token, the end token too, was chosen, if asked for by explain=True.
    removed_mass: for regex and json_schema, at each step the probability of what the constraint forbade.
    drafted, accepted: how many tokens a draft proposed, and how many of those came to be; None without a draft.
    score: of beam search, log-probability / length ** length_penalty. beams: its whole result, with the tree.
    """

    text: str | None
    tokens: list[int]
    prompt_tokens: list[int]
    finish_reason: str
    seed: int
    timings: Timings
    logprobs: list[TokenLogprob] | None = field(default=None, repr=False)
    steps: list[Step] | None = field(default=None, repr=False)
    removed_mass: list[float] | None = field(default=None, repr=False)
    drafted: int | None = None
    accepted: int | None = None
    score: float | None = None
    beams: Any = field(default=None, repr=False)
    row: int = 0
    prompt_logprobs: list[TokenLogprob | None] | None = field(default=None, repr=False)
