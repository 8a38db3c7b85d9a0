"""Conversation: messages back and forth in one session, each turn of which reads only what is new."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nextword.decoding.results import Generation
from nextword.files import whole
from nextword.files.json_text import json_text
from nextword.machine.shown import shown
from nextword.models.model import Model
from nextword.tasks.session import Session
from nextword.text.chat_template import Message

LARGEST = 1 << 26  # bytes of a file of messages


class Answers(Protocol):
    """What a conversation needs of a language model: prompts of messages, how answers end, and a session."""

    @property
    def model(self) -> Model:
        """What computes."""

    def chat_ids(self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any) -> list[int]:
        """The prompt of messages."""

    def chat_settings(self, ids: Sequence[int], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of an answer."""

    def session(self) -> Session:
        """A text that grows."""


class Conversation:
    """What a user and a model have said to each other.

    system: what the model is told before all; "" for nothing. messages: those of user and assistant, all of them.
    left_out: how many of the first the last answer did not read, as the window had no room for them. fresh: how many
    tokens of its prompt had not been read before. result: the Generation of the last answer that was not cut off.
    variables: see `LanguageModel.chat`.
    An answer is that of `lm.chat` to the messages that are read, bit for bit.

    >>> import nextword
    >>> talk = nextword.load().conversation()
    >>> first = "".join(talk.say("Tell me of the king.", max_new_tokens=5))
    >>> second = "".join(talk.say("And the queen?", max_new_tokens=5))
    >>> [message["role"] for message in talk.messages]
    ['user', 'assistant', 'user', 'assistant']
    """

    def __init__(self, lm: Answers, system: str = "", **variables: Any) -> None:
        self.lm, self.system, self.variables = lm, system, variables
        self.messages: list[dict[str, str]] = []
        self.left_out = self.fresh = 0
        self.result: Generation | None = None
        self._session = lm.session()

    def say(self, text: str, **settings: Any) -> Iterator[str]:
        """The answer, piece by piece. settings: those of `chat`, n and searches not among them.

        An answer that is not read to its end stays as far as it came; one without a word is as if nothing was said.
        Where the window has no room for all messages and a quarter of it for the answer, the first ones are left out,
        a few at once. Raises ValueError for a text that alone has no room, and what `chat` does.
        """
        before, self.result = len(self.messages), None
        answer = {"role": "assistant", "content": ""}
        self.messages.append({"role": "user", "content": text})
        try:
            stream = self._stream(settings)
            self.messages.append(answer)
            for piece in stream:
                answer["content"] += piece
                yield piece
            self.result = stream.result
        finally:
            if not answer["content"] and self.result is None:
                del self.messages[before:]

    def reset(self) -> None:
        """Forget what was said, but for `system`."""
        self.messages, self.left_out, self.result = [], 0, None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the messages to a file, as JSON, whole or not at all. Raises OSError."""
        whole.write("chat", {Path(path): json_text({"messages": self._told(0)}, ensure_ascii=False, indent=1) + "\n"})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on with the messages of a file: {"messages": [{"role": ..., "content": ...}, ...]}, a first one of the
        system among them. Raises OSError for a file that cannot be read, ValueError for one that holds something else.
        """
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
        try:
            found = json.loads(raw)["messages"] if len(raw) <= LARGEST else None
            told = [{"role": one["role"], "content": one["content"]} for one in found or ()]
        except (ValueError, RecursionError, LookupError, TypeError):
            found, told = None, []
        if not isinstance(found, list) or not all(
                isinstance(one["content"], str) and one["role"] in ("user", "assistant", *(() if i else ("system",)))
                for i, one in enumerate(told)):
            raise ValueError(f'chat: {path} must hold {{"messages": [{{"role": "user", "content": "..."}}, ...]}} with '
                             f"texts of user and assistant, got {shown(raw[:100])}")
        self.reset()
        self.system = told.pop(0)["content"] if told and told[0]["role"] == "system" else ""
        self.messages = told

    def _told(self, first: int) -> list[dict[str, str]]:
        """The messages from `first` on, behind that of the system."""
        return [*([{"role": "system", "content": self.system}] if self.system else []), *self.messages[first:]]

    def _stream(self, settings: dict[str, Any]) -> Any:
        """The stream of the answer to the last message."""
        asked = settings.get("max_new_tokens")
        ids = self._prompt(asked if isinstance(asked, int) and asked > 0 else self.lm.model.limit)
        held = self._session.tokens
        same = next((i for i, pair in enumerate(zip(held, ids, strict=False)) if pair[0] != pair[1]),
                    min(len(held), len(ids)))
        self._session.rewind_to(same)
        told = self.lm.chat_settings(ids, settings)
        if isinstance(asked, int):
            told["max_new_tokens"] = min(asked, self.lm.model.limit + 1 - len(ids))
        self.fresh = len(ids) - same
        if self.fresh:
            self._session.feed(ids[same:])
        return self._session.stream(**told)

    def _prompt(self, wanted: int) -> list[int]:
        """The ids of as many of the last messages as there is room for. wanted: new tokens, at most."""
        limit = self.lm.model.limit
        most = limit + 1 - min(wanted, max(1, limit // 4))
        ids = self._ids(self.left_out)
        if len(ids) <= most:
            return ids
        turns = [i for i, one in enumerate(self.messages) if one["role"] == "user" and i > self.left_out]
        some = max(1, most * 3 // 4)  # so that not every turn leaves one out, and reads all others anew
        at = bisect_left(turns, -some, key=lambda first: -len(self._ids(first)))
        first = turns[min(at, len(turns) - 1)] if turns else self.left_out
        ids = self._ids(first)
        if len(ids) > most:
            least = self.lm.chat_ids([*self._told(len(self.messages)), {"role": "user", "content": ""}],
                                     **self.variables)
            name, count = ("system", len(least)) if len(least) > most else ("message", len(ids))
            raise ValueError(f"chat: {name} must be at most {most} tokens with what the template puts around it, as "
                             f"the window has {limit} and an answer needs some, got {count}; shorten it")
        self.left_out = first
        return ids

    def _ids(self, first: int) -> list[int]:
        return self.lm.chat_ids(self._told(first), **self.variables)
