"""POST /v1/chat/completions: messages through a template, answers and their streams in OpenAI's form."""

from __future__ import annotations

from typing import Any

from nextword.serve import answers
from nextword.serve.completions import draws, note, stream_options_fit
from nextword.serve.errors import Refused
from nextword.serve.exchange import Exchange, aside
from nextword.serve.jobs import running
from nextword.serve.requests import ChatRequest
from nextword.serve.sampling import draws_of, sampling_of
from nextword.serve.served import Served
from nextword.serve.state import State
from nextword.serve.telling import Told, finish, padded, told_of, usage_of


class Chatting:
    """A request of a chat, checked: the written prompt's ids and the settings.

    Without max_tokens a text may fill the window.
    """

    def __init__(self, served: Served, asked: ChatRequest) -> None:
        self.served, self.asked = served, asked
        self.n, self.copies = draws_of(asked, asked.n or 1)
        if asked.max_tokens is not None and asked.max_completion_tokens is not None:
            raise Refused(400, "max_tokens and max_completion_tokens are the same; give one", "max_tokens",
                          "invalid_value")
        if asked.top_logprobs is not None and not asked.logprobs:
            raise Refused(400, "top_logprobs needs logprobs=true", "top_logprobs", "invalid_value")
        self.prompt = served.written(asked.messages)
        limit = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
        served.fit("messages", self.prompt, 1 if limit is None else limit)
        longest = served.room([self.prompt]) if limit is None else limit
        self.settings = sampling_of(asked, served.lm.model.vocabulary, longest, self.n, None,
                                    (asked.top_logprobs or 0) if asked.logprobs else None, None,
                                    served.lm.chat_template.stops)
        self.ends = frozenset() if asked.ignore_eos else served.lm.chat_ends

    def logprobs(self, found: Any) -> answers.ChatLogprobs | None:
        """Of tokens, if they are asked for."""
        return Told(self.served, self.ends).chat(found) if self.asked.logprobs else None


async def chat(exchange: Exchange, state: State, asked: ChatRequest) -> None:
    """Answer a request."""
    served = state.model(asked.model)
    stream_options_fit(asked)
    one: Chatting = await aside(Chatting, served, asked)
    told = told_of(served, "chatcmpl")
    fields = asked.__struct_fields__
    async with running(exchange, state, served, [one.prompt], one.settings, one.ends,
                       asked.priority or 0, asked.user or asked.safety_identifier or "", fields) as job:
        if asked.stream:
            await _stream(exchange, one, job, told, fields)
            return
        async for _ in job.passes(fields):
            pass
        assert job.job is not None
        results = one.copies * job.results()
        choices = [answers.ChatChoice(i, answers.ChatMessage(result.text or ""), one.logprobs(result.logprobs),
                                      finish(result)) for i, result in enumerate(results)]
        usage = usage_of([one.prompt], job.job, one.copies)
        note(exchange, usage)
        await exchange.answer(answers.ChatCompletion(**told, choices=choices, usage=usage,
                                                     nextword=draws(results)))


async def _stream(exchange: Exchange, one: Chatting, job: Any, told: dict[str, Any], fields: tuple[str, ...]) -> None:
    options = one.asked.stream_options
    usage: dict[str, Any] = {"usage": None} if options is not None and options.include_usage else {}
    obfuscate = options is not None and bool(options.include_obfuscation)
    begun: set[int] = set()

    async def chunk(row: int, delta: answers.Delta, logprobs: Any = None, end: Any = None, **more: Any) -> None:
        for index in range(row * one.copies, (row + 1) * one.copies):
            made = answers.ChatChunk(**told, choices=[answers.ChatDelta(index, delta, logprobs, end)], **usage, **more)
            await exchange.event(padded(made, delta.content or "") if obfuscate else made)

    async for events in job.passes(fields):
        for event in events:
            if event.row not in begun:
                begun.add(event.row)
                await chunk(event.row, answers.Delta("assistant", "", None))
            logprobs = one.logprobs(event.tokens) if event.tokens else None
            if event.text or logprobs is not None:
                await chunk(event.row, answers.Delta(content=event.text), logprobs)
            if event.result is not None:
                await chunk(event.row, answers.Delta(), None, finish(event.result),
                            nextword=draws([event.result]))
    found = usage_of([one.prompt], job.job, one.copies)
    note(exchange, found)
    if usage:
        await exchange.event(answers.ChatChunk(**told, choices=[], usage=found))
    await exchange.event(b"[DONE]")
    await exchange.end()
