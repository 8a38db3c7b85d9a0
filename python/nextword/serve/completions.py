"""POST /v1/completions: prompts in any form, echo, log-probabilities, several texts, best_of, streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nextword.decoding.per_prompt import chosen
from nextword.decoding.results import Generation
from nextword.serve import answers, bounds
from nextword.serve.errors import Refused, unsupported, wrong
from nextword.serve.exchange import Exchange, aside
from nextword.serve.jobs import running
from nextword.serve.prompts import prompts
from nextword.serve.requests import CompletionRequest, Settings
from nextword.serve.sampling import draws_of, sampling_of
from nextword.serve.served import Served
from nextword.serve.state import State
from nextword.serve.telling import Told, finish, joined, padded, prompt_text, told_of, usage_of

DEFAULT_TOKENS = 16  # OpenAI's


class Completing:
    """A request of completions, checked: its prompts as ids, its settings, and the form of its answers."""

    def __init__(self, served: Served, asked: CompletionRequest) -> None:
        self.served, self.asked = served, asked
        given = prompts("prompt", asked.prompt)
        n, count = asked.n or 1, asked.best_of or asked.n or 1
        if count < n:
            raise wrong("best_of", f"at least n ({n})", asked.best_of)
        if asked.best_of is not None and asked.best_of > 1 and asked.stream:
            raise unsupported("best_of", "which texts are the best is known at their ends; stream must be false")
        if len(given) * count > bounds.ROWS:
            raise wrong("n" if asked.n else "best_of", f"such that there are at most {bounds.ROWS} texts",
                        len(given) * count)
        fresh = DEFAULT_TOKENS if asked.max_tokens is None else asked.max_tokens
        special = "all" if asked.parse_special else ()
        self.prompts = [served.ids("prompt", one, special) for one in given]
        for ids in self.prompts:
            served.fit("prompt", ids, fresh)
        echoed = asked.logprobs if asked.echo else None
        self.n, self.copies = draws_of(asked, n)
        best_of = asked.best_of if count > n and asked.temperature != 0 else None
        self.settings = sampling_of(asked, served.lm.model.vocabulary, fresh, self.n, best_of, asked.logprobs, echoed)
        self.ends = frozenset() if asked.ignore_eos else served.lm.ends

    def choice(self, index: int, prompt: Sequence[int], result: Generation) -> answers.Choice:
        """A text as a whole."""
        text, logprobs = result.text or "", None
        told = Told(self.served, self.ends)
        if self.asked.logprobs is not None:
            if self.asked.echo:
                logprobs = joined(told.prompt(prompt, result.prompt_logprobs or []), told.new(result.logprobs or []))
            else:
                told.skip(prompt)
                logprobs = told.new(result.logprobs or [])
        if self.asked.echo:
            text = prompt_text(self.served, prompt) + text
        return answers.Choice(index, text, logprobs, finish(result))


def draws(results: Sequence[Generation]) -> answers.Drawn:
    """The seed as it was given, or drawn, and the rows."""
    return answers.Drawn(results[0].seed, [result.row for result in results])


async def completions(exchange: Exchange, state: State, asked: CompletionRequest) -> None:
    """Answer a request."""
    served = state.model(asked.model)
    stream_options_fit(asked)
    one: Completing = await aside(Completing, served, asked)
    told = told_of(served, "cmpl")
    fields = asked.__struct_fields__
    async with running(exchange, state, served, one.prompts, one.settings, one.ends,
                       asked.priority or 0, asked.user or "", fields) as job:
        if asked.stream:
            await _stream(exchange, one, job, told, fields)
            return
        async for _ in job.passes(fields):
            pass
        assert job.job is not None
        found = chosen(job.job.every, job.job.rows, job.results())
        texts = [one.copies * (each if isinstance(each, list) else [each]) for each in found]

        def choices() -> list[answers.Choice]:
            return [one.choice(i * len(every) + k, ids, result)
                    for i, (ids, every) in enumerate(zip(one.prompts, texts, strict=True))
                    for k, result in enumerate(every)]

        made = choices() if asked.logprobs is None else await aside(choices)  # of each token, its most probable ones
        usage = usage_of(one.prompts, job.job, one.copies)
        note(exchange, usage)
        drawn = draws([result for every in texts for result in every])
        await exchange.answer(answers.Completion(**told, choices=made, usage=usage, nextword=drawn))


async def _stream(exchange: Exchange, one: Completing, job: Any, told: dict[str, Any], fields: tuple[str, ...]) -> None:
    asked, options = one.asked, one.asked.stream_options
    usage: dict[str, Any] = {"usage": None} if options is not None and options.include_usage else {}
    obfuscate = options is not None and bool(options.include_obfuscation)
    tellers: dict[int, Told] = {}

    async def chunk(choice: answers.Choice, **more: Any) -> None:
        made = answers.Completion(**told, choices=[choice], **usage, **more)
        row = choice.index
        for choice.index in range(row * one.copies, (row + 1) * one.copies):
            await exchange.event(padded(made, choice.text) if obfuscate else made)

    async for events in job.passes(fields):
        for event in events:
            prompt = one.prompts[event.row // one.n]
            logprobs, text = None, event.text
            if event.row not in tellers:
                teller = tellers[event.row] = Told(one.served, one.ends)
                if asked.echo:
                    text = prompt_text(one.served, prompt) + text
                    if asked.logprobs is not None:
                        found = job.job.rows[event.row].prompt_logprobs or []
                        logprobs = await aside(teller.prompt, prompt, found)
                elif asked.logprobs is not None:
                    teller.skip(prompt)
            if asked.logprobs is not None and event.tokens:
                new = tellers[event.row].new(event.tokens)
                logprobs = new if logprobs is None else joined(logprobs, new)
            if text or logprobs is not None:
                await chunk(answers.Choice(event.row, text, logprobs, None))
            if event.result is not None:
                empty = None if asked.logprobs is None else answers.Logprobs([], [], [], [])
                await chunk(answers.Choice(event.row, "", empty, finish(event.result)),
                            nextword=draws([event.result]))
    total = usage_of(one.prompts, job.job, one.copies)
    note(exchange, total)
    if usage:
        await exchange.event(answers.Completion(**told, choices=[], usage=total))
    await exchange.event(b"[DONE]")
    await exchange.end()


def stream_options_fit(asked: Settings) -> None:
    """Raises Refused for options of a stream without one."""
    if asked.stream_options is not None and not asked.stream:
        raise Refused(400, "stream_options are for stream=true", "stream_options", "invalid_value")


def note(exchange: Exchange, usage: answers.Usage) -> None:
    """For the log."""
    exchange.told |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
