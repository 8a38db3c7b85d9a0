"""One sequence: its tokens, its text so far, how the next is chosen and when it ends. Left out: running the model."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nextword.arithmetic import ops
from nextword.arithmetic.arrays import Floats, Ints
from nextword.decoding.explain import Step
from nextword.decoding.results import Generation, Timings, TokenLogprob
from nextword.decoding.rules import Edit, Rules
from nextword.decoding.sampling import choose
from nextword.decoding.settings import Sampling
from nextword.decoding.stops import StopMatcher
from nextword.text.decoder import Decoder

if TYPE_CHECKING:
    from nextword.decoding.grammar import Grammar


class Row:
    """One sequence: its tokens, its text so far, how the next is chosen and when it ends.

    settings: with a seed. number: what draws are keyed by, with the seed. ends: the end tokens. stops: stop ids, and
    strings are in the settings. explain: candidates to explain at each step, 0 for none. text_of: shows a token in the
    explanation.
    """

    def __init__(self, prompt: Sequence[int] | Ints, settings: Sampling, rules: Rules, number: int = 0,
                 ends: Collection[int] = (), stops: Collection[int] = (), decoder: Decoder | None = None,
                 grammar: "Grammar | None" = None, explain: int = 0,
                 text_of: Callable[[int], str] | None = None) -> None:
        self.settings, self.rules, self.number = settings, rules, number
        self.ends, self.stops = frozenset(ends), frozenset(stops)
        self.decoder, self.grammar, self.explain, self.text_of = decoder, grammar, explain, text_of
        texts = [s for s in settings.stop if isinstance(s, str)]  # type: ignore[union-attr]
        self._matcher = StopMatcher(texts) if texts else None
        self.prompt = np.asarray(prompt, np.int64)
        self.tokens: list[int] = []
        self.generated = 0  # tokens that were chosen, the end token among them
        self._new = np.empty(64, np.int64)  # the tokens as an array, which grows
        self.text = ""
        self.prompt_logprobs: list[TokenLogprob | None] | None = None if settings.prompt_logprobs is None else [None]
        self.finish: str | None = None if settings.max_new_tokens or self.telling else "length"
        self._released = 0
        self.logprobs: list[TokenLogprob] = []
        self.steps: list[Step] = []
        self.removed_mass: list[float] = []

    def __len__(self) -> int:
        """Tokens of prompt and text."""
        return len(self.prompt) + len(self.tokens)

    def ids(self, begin: int = 0) -> Ints:
        """Prompt and text from token `begin` on: int64 [len(self) - begin], an array of its own."""
        before = len(self.prompt)
        return np.concatenate([self.prompt[begin:], self._new[max(0, begin - before) : len(self) - before]])

    @property
    def telling(self) -> bool:
        """Whether log-probabilities of the prompt's tokens are still to come."""
        return self.prompt_logprobs is not None and len(self.prompt_logprobs) < len(self.prompt)

    def read(self, logits: Floats, first: int) -> None:
        """Take the log-probabilities of the prompt's tokens from the logits [tokens, vocabulary] of those before them,
        which begin at the prompt's token `first`. What is known already is not taken again."""
        told, k = self.prompt_logprobs, self.settings.prompt_logprobs
        assert told is not None
        assert k is not None
        known = len(told)
        targets = self.prompt[known : first + len(logits) + 1]
        told += token_logprobs(logits[known - 1 - first :][: len(targets)], targets, k) if len(targets) else []
        if not self.settings.max_new_tokens and not self.telling and self.finish is None:
            self.end("length")

    @property
    def last(self) -> Ints:
        """The last token of prompt and text: int64 [1]."""
        count = len(self.tokens)
        return self._new[count - 1 : count] if count else self.prompt[-1:]

    @property
    def remaining(self) -> int:
        """New tokens that may still come."""
        return self.settings.max_new_tokens - len(self.tokens)

    def ends_by(self, token: int) -> bool:
        """Whether this token would be the last, whatever the text."""
        return token in self.ends or token in self.stops

    def take(self, logits: Floats) -> int:
        """Choose the next token and see whether it is the last; returns it."""
        count = len(self.tokens)
        final, edits = self.rules(logits, self.prompt, self._new[:count])
        removed = 0.0
        if self.grammar is not None:
            final, removed = self._constrain(final, edits)
        choice = choose(final, self.settings, self.number, count)
        token = choice.token
        if self.explain:
            self.steps.append(Step(logits, final, edits, self.settings, choice, self.explain, removed, self.text_of))
        if self.settings.logprobs is not None or self.settings.best_of is not None:
            self.logprobs += token_logprobs(logits[None], np.array([token]), self.settings.logprobs or 0)
        if token in self.ends:
            self.generated += 1
            self.end("stop")
            return token
        self._push(token)
        return token

    def _constrain(self, x: Floats, edits: list[Edit]) -> tuple[Floats, float]:
        assert self.grammar is not None
        allowed = self.grammar.mask()
        masked = np.where(allowed, x, np.float32(-np.inf))
        if not np.isfinite(masked.max()):
            raise ValueError(f"sampling: regex or json_schema allows no token after {self.text!r} that the other rules "
                             "leave; relax logit_bias, bad_words, min_new_tokens or processors")
        removed = -np.expm1(ops.log_sum_exp(masked) - ops.log_sum_exp(x))
        self.removed_mass.append(float(max(0.0, removed)))
        edits.append(Edit("grammar", None, masked))
        return masked, self.removed_mass[-1]

    def _push(self, token: int) -> None:
        if len(self.tokens) == len(self._new):
            self._new = np.concatenate([self._new, np.empty_like(self._new)])
        self._new[len(self.tokens)] = token
        self.tokens.append(token)
        self.generated += 1
        if token in self.stops:
            self.end("stop")
            return
        if self.decoder is not None:
            try:
                piece = self.decoder.push(token)
            except IndexError:  # models pad their vocabulary: an id without a text
                piece = self.decoder.flush() + "\ufffd"
            self._add(piece)
        if self.grammar is not None and self.finish is None:
            self.grammar.accept(token)
            if self.grammar.finished:
                self.end("stop")
        if self.finish is None and not self.remaining:
            self.end("length")

    def end(self, reason: str) -> None:
        """Finish, with what the decoder still holds."""
        self.finish = reason
        if self.decoder is not None:
            self._add(self.decoder.flush())

    def _add(self, piece: str) -> None:
        self.text += piece
        found = None if self._matcher is None else self._matcher.find(piece)
        if found is not None:
            self.text, self.finish = self.text[:found], "stop"

    def release(self) -> str:
        """Text that is certain: what might begin a stop string is held back until the row ends."""
        end = len(self.text)
        if self.finish is None and self._matcher is not None:
            end -= self._matcher.held
        piece = self.text[self._released : end]
        self._released = max(self._released, end)
        return piece

    @property
    def mean_logprob(self) -> float:
        """Log-probability a token, what best_of ranks by, an end token left out; nothing said ranks last."""
        told = self.logprobs[: len(self.tokens)]
        return sum(t.logprob for t in told) / len(told) if told else -np.inf

    def result(self, timings: Timings) -> Generation:
        """What came of it."""
        return Generation(
            self.text if self.decoder is not None else None, self.tokens, self.prompt.tolist(), self.finish or "length",
            self.settings.seed or 0, timings, self.logprobs if self.settings.logprobs is not None else None,
            self.steps if self.explain else None, self.removed_mass if self.grammar is not None else None,
            row=self.number, prompt_logprobs=self.prompt_logprobs,
        )  # fmt: skip


def token_logprobs(logits: Floats, tokens: Ints, top: int) -> list[TokenLogprob]:
    """Log-probabilities of a token of each row, and of the `top` most probable ones.

    logits: float32 [rows, vocabulary]; tokens: int64 [rows].
    """
    found = ops.log_probabilities(logits, tokens, min(top, logits.shape[1]))
    return [TokenLogprob(token, value, tuple(zip(ids, values, strict=True)))
            for token, value, ids, values in zip(tokens.tolist(), *(x.tolist() for x in found), strict=True)]
