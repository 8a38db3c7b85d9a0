"""Texts and log-probabilities in OpenAI's forms: offsets, tokens as texts, the most probable ones, usage."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from nextword.decoding.job import Job
from nextword.decoding.results import Generation, TokenLogprob
from nextword.serve import answers
from nextword.serve.served import Served
from nextword.text.ids import text_after

Finish = Literal["stop", "length"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Offsets:
    """Where tokens begin in the text of prompt and continuation, in characters from the start of the prompt.

    A token that goes on within a character begins where the character does.
    """

    def __init__(self, served: Served) -> None:
        tokenizer = served.lm.tokenizer
        self._decoder = None if tokenizer is None else tokenizer.decoder()
        self._count = 0

    def place(self, token: int | None) -> int:
        """Of the next token; None for one without a text."""
        found = self._count
        if token is not None and self._decoder is not None:
            try:
                self._count += len(self._decoder.push(token))
            except IndexError:  # models pad their vocabulary
                self._count += len(self._decoder.flush()) + 1
        return found


class Told:
    """The tokens of one choice, one after the other, with what is told of each. ends: tokens that have no text."""

    def __init__(self, served: Served, ends: frozenset[int]) -> None:
        self._served, self._ends, self._offsets = served, ends, Offsets(served)

    def skip(self, prompt: Sequence[int]) -> None:
        """The prompt's tokens, of which nothing is told."""
        for token in prompt:
            self._offsets.place(token)

    def prompt(self, prompt: Sequence[int], found: Sequence[TokenLogprob | None]) -> answers.Logprobs:
        """Of the prompt's tokens: the first has none."""
        told = answers.Logprobs([], [], [], [])
        for token, one in zip(prompt, found, strict=True):
            self._add(told, token, one, self._served.token(token))
        return told

    def new(self, found: Iterable[TokenLogprob]) -> answers.Logprobs:
        """Of new tokens; the end token's text is empty."""
        told = answers.Logprobs([], [], [], [])
        for one in found:
            ends = one.token in self._ends
            self._add(told, None if ends else one.token, one, "" if ends else self._served.token(one.token))
        return told

    def _add(self, told: answers.Logprobs, token: int | None, one: TokenLogprob | None, text: str) -> None:
        told.tokens.append(text)
        told.text_offset.append(self._offsets.place(token))
        told.token_logprobs.append(None if one is None else one.logprob)
        told.top_logprobs.append(None if one is None else self._top(one, text))

    def _top(self, one: TokenLogprob, text: str) -> dict[str, float]:
        """The most probable tokens by their texts. Of several tokens with one text, the most probable counts; the token
        itself is there in any case."""
        found: dict[str, float] = {}
        for token, value in one.top:
            found.setdefault("" if token in self._ends else self._served.token(token), value)
        found.setdefault(text, one.logprob)
        return found

    def chat(self, found: Iterable[TokenLogprob]) -> answers.ChatLogprobs:
        """The same in the form of chat completions."""
        return answers.ChatLogprobs([
            answers.ChatLogprob(*self._chat(one.token, one.logprob),
                                [answers.TopLogprob(*self._chat(token, value)) for token, value in one.top])
            for one in found])

    def _chat(self, token: int, value: float) -> tuple[str, float, list[int]]:
        if token in self._ends:
            return "", value, []
        raw = self._served.bytes_of(token)
        return raw.decode("utf-8", "replace"), value, list(raw)


def told_of(served: Served, prefix: str) -> dict[str, Any]:
    """What an answer says of itself, the same in all chunks of a stream. prefix: of its id."""
    return {"id": f"{prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": served.name,
            "system_fingerprint": served.fingerprint}


def joined(first: answers.Logprobs, second: answers.Logprobs) -> answers.Logprobs:
    """One behind the other."""
    return answers.Logprobs(first.tokens + second.tokens, first.token_logprobs + second.token_logprobs,
                            first.top_logprobs + second.top_logprobs, first.text_offset + second.text_offset)


def prompt_text(served: Served, ids: Sequence[int]) -> str:
    """The text that `echo` gives back: of all of the prompt's tokens."""
    return "" if served.lm.tokenizer is None else text_after(served.lm.tokenizer, ids)


def finish(result: Generation) -> Finish:
    """OpenAI's word: a full window is a length, too."""
    return "stop" if result.finish_reason == "stop" else "length"


def usage_of(prompts: Sequence[Sequence[int]], job: Job, copies: int = 1) -> answers.Usage:
    """Of a job that has ended. copies: how often each of its texts is told. Of a prompt that several texts go on from
    counts as cached what none of them read."""
    count, each = sum(map(len, prompts)), len(job.rows) // len(prompts)
    completion = copies * sum(row.generated for row in job.rows)
    cached = sum(min(job.cached[i * each : (i + 1) * each]) for i in range(len(prompts)))
    return answers.Usage(count, completion, count + completion, answers.PromptDetails(cached))


def padded(chunk: Any, text: str) -> Any:
    """The chunk of a stream with letters that hide how long its text is: up to a multiple of 32."""
    chunk.obfuscation = "".join(secrets.choice(LETTERS) for _ in range(32 - len(text.encode()) % 32))
    return chunk
