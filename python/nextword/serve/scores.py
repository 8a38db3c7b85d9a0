"""POST /v1/score: how probable texts are, or continuations of a prompt; the numbers of `lm.score` and `lm.choose`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nextword.serve import answers, bounds
from nextword.serve.errors import Refused, wrong
from nextword.serve.exchange import Exchange, aside
from nextword.serve.jobs import work
from nextword.serve.prompts import Given, prompts
from nextword.serve.requests import ScoreRequest
from nextword.serve.served import Served
from nextword.serve.state import State
from nextword.tasks.choose import choosing
from nextword.tasks.score import scoring


class Scoring:
    """A request of scores, checked; `steps` does the work, a pass at a time."""

    def __init__(self, served: Served, asked: ScoreRequest) -> None:
        self.served, self.special = served, "all" if asked.parse_special else ()
        self.texts: list[Given] = []
        self.choices: list[Given] = []
        if (asked.input is None) == (asked.choices is None) or (asked.prompt is not None and asked.choices is None):
            raise Refused(400, "input, or prompt and choices, must be given", "input", "missing_required_parameter")
        if asked.input is not None:
            self.texts = prompts("input", asked.input, bounds.TEXTS)
        else:
            self.choices = prompts("choices", asked.choices, bounds.CHOICES)
            given = prompts("prompt", asked.prompt)
            if len(given) != 1:
                raise wrong("prompt", "one text", f"{len(given)} texts")
            self.prompt = given[0]
        self.count = sum(len(served.ids("input", one, self.special, False)) for one in self.texts)
        if self.choices:
            first = served.ids("prompt", self.prompt, self.special)
            for one in self.choices:
                ids = served.ids("choices", one, self.special, False)
                served.fit("prompt", first, len(ids))
                self.count += len(ids)
            self.count += len(first)
        if self.count > bounds.TOKENS:
            raise wrong("input", f"at most {bounds.TOKENS} tokens in all", self.count)

    def steps(self) -> Iterator[list[answers.Scored]]:
        """What is answered, text by text or all continuations at once; nothing at the other passes."""
        lm = self.served.lm
        more: Any = {"allowed_special": self.special, "defaults": lm._defaults}
        for i, text in enumerate(self.texts):
            (one,), steps = scoring(lm.model, lm.tokenizer, [text], **more)
            for _ in steps:
                yield []
            yield [answers.Scored(i, one.logprob, one.tokens, one.logprobs.tolist(), one.perplexity, one.bits_per_byte)]
        if self.choices:
            for chosen in choosing(lm.model, lm.tokenizer, self.prompt, self.choices, **more):
                yield [answers.Scored(i, one.logprob, one.tokens, one.logprobs.tolist(), share=one.share)
                       for i, one in enumerate(chosen)]


async def score(exchange: Exchange, state: State, asked: ScoreRequest) -> None:
    """Answer a request."""
    served = state.model(asked.model)
    one: Scoring = await aside(Scoring, served, asked)
    data = [scored for part in await work(exchange, served, one.steps()) for scored in part]
    exchange.told["prompt_tokens"] = one.count
    await exchange.answer(answers.Scores(data, served.name, answers.InputUsage(one.count, one.count)))
