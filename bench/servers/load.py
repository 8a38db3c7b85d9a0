"""Clients of a completions endpoint: so many at once, each a stream, and when each piece of text came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

TIMEOUT = httpx.Timeout(1200, connect=30)


@dataclass
class Answer:
    """One stream: when it was asked for, when its pieces came (seconds on one clock), and what it said."""

    asked: float
    times: list[float] = field(default_factory=list)
    text: str = ""
    finish: str | None = None

    @property
    def first(self) -> float:
        """Seconds to the first piece."""
        return self.times[0] - self.asked

    @property
    def gaps(self) -> list[float]:
        """Seconds between pieces."""
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)]


def bodies(model: str, prompts: Sequence[str], new: int) -> list[dict[str, Any]]:
    """Requests for greedy streams of `new` tokens."""
    return [{"model": model, "prompt": prompt, "max_tokens": new, "temperature": 0, "stream": True}
            for prompt in prompts]


async def stream(client: httpx.AsyncClient, body: dict[str, Any]) -> Answer:
    """Ask once and read to the end. Raises RuntimeError for an answer that is none."""
    answer = Answer(time.perf_counter())
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError(f"{response.status_code}: {(await response.aread())[:300]!r}")
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            for choice in json.loads(line[6:]).get("choices", []):
                if choice.get("text"):
                    answer.times.append(time.perf_counter())
                    answer.text += choice["text"]
                answer.finish = choice.get("finish_reason") or answer.finish
    if not answer.times:
        raise RuntimeError(f"an answer without text, which ended with {answer.finish!r}")
    return answer


def together(url: str, requests: Sequence[dict[str, Any]], after: Sequence[tuple[float, dict[str, Any]]] = (),
             ) -> list[Answer]:
    """All requests at once, a connection each, and those of `after` so many seconds later. Their answers in order."""
    async def late(client: httpx.AsyncClient, seconds: float, body: dict[str, Any]) -> Answer:
        await asyncio.sleep(seconds)
        return await stream(client, body)

    async def run() -> list[Answer]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=limits, trust_env=False) as client:
            return list(await asyncio.gather(*(stream(client, body) for body in requests),
                                             *(late(client, seconds, body) for seconds, body in after)))

    return asyncio.run(run())
