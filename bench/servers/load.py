"""Clients of a completions endpoint: so many at once, each a stream, and when each piece of text came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 1200.0  # seconds


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


async def stream(url: str, body: dict[str, Any]) -> Answer:
    """Ask once and read to the end. Raises RuntimeError for an answer that is none."""
    host, _, port = url.removeprefix("http://").partition(":")
    sent = json.dumps(body).encode()
    answer = Answer(time.perf_counter())
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
    try:
        writer.write(f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(sent)}\r\nConnection: close\r\n\r\n".encode() + sent)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200") or b"transfer-encoding: chunked" not in head:
            raise RuntimeError(f"{head!r} {await reader.read(300)!r}")
        async for line in _lines(reader):
            if line.startswith(b"data: {"):
                _told(answer, json.loads(line[6:]))
    finally:
        writer.close()
    if answer.finish is None and not answer.times:
        raise RuntimeError("an answer without a text or an end")
    answer.times = answer.times or [time.perf_counter()]
    return answer


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Of a body in chunks. Few steps for each, as clients and server share the machine."""
    rest = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        *lines, rest = (rest + await reader.readexactly(size)).split(b"\n")
        for line in lines:
            yield line
        await reader.readexactly(2)


def _told(answer: Answer, event: dict[str, Any]) -> None:
    for choice in event.get("choices", []):
        if choice.get("text"):
            answer.times.append(time.perf_counter())
            answer.text += choice["text"]
        answer.finish = choice.get("finish_reason") or answer.finish


def together(url: str, requests: Sequence[dict[str, Any]], after: Sequence[tuple[float, dict[str, Any]]] = (),
             ) -> list[Answer]:
    """All requests at once, a connection each, and those of `after` so many seconds later. Their answers in order."""
    async def late(seconds: float, body: dict[str, Any]) -> Answer:
        await asyncio.sleep(seconds)
        return await stream(url, body)

    async def run() -> list[Answer]:
        streams = [*(stream(url, body) for body in requests), *(late(seconds, body) for seconds, body in after)]
        return list(await asyncio.wait_for(asyncio.gather(*streams), PATIENCE))

    return asyncio.run(run())
