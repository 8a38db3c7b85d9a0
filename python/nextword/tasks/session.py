"""Session: one text and what the model has computed of it: continue, branch, take back, save. See session_file.py."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.results import Generation
from nextword.decoding.row import Row
from nextword.decoding.stream import Stream
from nextword.machine.guard import Guard
from nextword.machine.shown import is_integer
from nextword.models.model import Model
from nextword.models.passes import read
from nextword.models.trace import tap_of
from nextword.tasks.session_file import read_session, write_session
from nextword.text.ids import Prompt, Special, token_ids
from nextword.text.no_vocabulary import tells_why
from nextword.text.tokenizer import Tokenizer


class Continues(Protocol):
    """What a session needs of a language model: the model, its vocabulary, and how a text is continued."""

    @property
    def model(self) -> Model:
        """What computes."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """None for a model without a vocabulary."""

    @property
    def no_tokenizer(self) -> str:
        """Why there is none."""

    def stream(self, prompt: Prompt, **settings: Any) -> Stream:
        """The continuation of a text, piece by piece."""


class Session:
    """A text that grows, with the keys and values of its tokens, so that nothing is encoded twice.

    Made by `lm.session(prompt)` and `lm.resume(path)`. What it gives has the same bits as the whole text given anew.
    All of the text's tokens stay; the context window limits what `logits` and `generate` take, as it does for
    `LanguageModel`. One thread at a time: a call while another thread's lasts raises RuntimeError; forks are
    independent. A trace that replaces activations counts for whole texts: nothing is kept from before its block in it,
    nor from it afterwards.

    >>> import nextword
    >>> lm = nextword.load()
    >>> session = lm.session("Once upon a time there was a little")
    >>> session.generate(max_new_tokens=2).text
    ' girl who'
    >>> other = session.fork()
    >>> other.feed(" lived in a forest")
    >>> other.text
    'Once upon a time there was a little girl who lived in a forest'
    >>> session.rewind(1)                                # the last token, ' who'
    >>> session.text
    'Once upon a time there was a little girl'
    """

    def __init__(self, lm: Continues, prompt: Prompt = "", capacity: int | None = None,
                 prefix: PrefixCache | None = None, allowed_special: Special = ()) -> None:
        if capacity is not None and (not isinstance(capacity, int | np.integer) or capacity < 0):
            raise ValueError(f"session: capacity must be a number of tokens >= 0 or None, got {capacity!r}")
        if prefix is not None and prefix.model is not lm.model:
            raise ValueError("session: prefix must be a PrefixCache of this model; make it with PrefixCache(lm.model)")
        self.lm, self.prefix = lm, prefix
        self._ids: list[int] = []
        # The cache holds the first ids, never the last one: its logits are what `generate` begins with.
        self._cache = lm.model.cache(1, min(int(capacity or 0), lm.model.limit))
        self._slid = False  # the cache holds the text's last tokens at its first places, which is no beginning
        self._logits: Floats | None = None
        self._changes = 0
        self.guard = Guard("session: it is in use by another thread; give each thread a session of its own, by fork()")
        if len(prompt):
            self.feed(prompt, allowed_special=allowed_special)

    def __len__(self) -> int:
        """How many tokens the text has."""
        return len(self._ids)

    def __reduce__(self) -> tuple[Any, ...]:
        """Raises TypeError: a session is saved by `save`."""
        raise TypeError("pickle: a Session belongs to its model; write it with save(path) and read it with "
                        "lm.resume(path), or branch it with fork()")

    def __repr__(self) -> str:
        return f"Session({len(self)} tokens, {self._held} in the cache)"

    @property
    def tokens(self) -> list[int]:
        """The text's token ids."""
        return list(self._ids)

    @property
    def text(self) -> str | None:
        """The text; None for a model without a vocabulary."""
        return None if self.lm.tokenizer is None else self.lm.tokenizer.decode(self._ids)

    @property
    def no_tokenizer(self) -> str:
        """Why the model has no vocabulary, if it has none."""
        return self.lm.no_tokenizer

    @property
    def logits(self) -> Floats:
        """Logits of the token that comes next: float32 [vocabulary].

        Raises ValueError if the text is empty or longer than the context window.
        """
        with self.guard:
            count, window = len(self._ids), self.lm.model.limit
            if not 1 <= count <= window:
                raise ValueError(f"logits: expected 1 .. {window} tokens (the context window), the session has {count}")
            self._settle()
            if self._logits is None:
                self._encode(count - 1)
                self._reserve(count)
                self._cache.prompts[0] = count
                self._logits = read(self.lm.model, np.array(self._ids[-1:], np.int64), self._cache, last=1)[0]
                self._cache.lengths[0] = count - 1
            return self._logits.copy()

    @tells_why
    def feed(self, more: Prompt, *, allowed_special: Special = ()) -> None:
        """Add text, or token ids, and encode it. A text is cut into tokens by itself, whatever stands before it; what
        the tokenizer begins texts with stands before the first one alone.

        allowed_special: the special tokens whose names in a text stand for them, "all" or some; by default none.
        Raises ValueError for a text without a vocabulary, IndexError for an unknown id, TypeError for anything else.
        """
        fresh = token_ids("feed", "prompt", more, self.lm.tokenizer, self.lm.model.vocabulary, allowed_special,
                          begins=not self._ids)
        with self.guard:
            self._become(self._ids + fresh)
            if len(self._ids) <= self.lm.model.limit:
                self._encode(len(self._ids) - 1)

    def generate(self, **settings: Any) -> Generation:
        """Continue the text, as `LanguageModel.generate` does with the same settings and the whole text as its prompt.

        The session then ends with the new tokens; those of a stop string are among them, an end token is not.
        The timings count the prompt tokens that had still to be encoded.
        """
        with self.guard:
            stream = self.stream(**settings)
            for _ in stream:
                pass
            return stream.result

    def stream(self, **settings: Any) -> "SessionStream":
        """Like `generate`, piece by piece. The session has grown by what has been generated so far."""
        with self.guard:
            return SessionStream(self, self.lm.stream(self._ids, **settings))

    def fork(self) -> "Session":
        """An independent session with the same text; costs a copy of its keys and values."""
        with self.guard:
            self._renew()
            other = Session(self.lm, capacity=len(self._ids), prefix=self.prefix)
            self._cache.copy(0, 0, self._held, into=other._cache)
            other._ids, other._logits = list(self._ids), self._logits
            return other

    def rewind(self, tokens: int) -> None:
        """Forget the last `tokens` tokens, as if they had never been. Raises ValueError if there are not so many."""
        with self.guard:
            if not is_integer(tokens) or not 0 <= tokens <= len(self._ids):
                raise ValueError(f"rewind: expected 0 .. {len(self._ids)} tokens, got {tokens}")
            self._become(self._ids[: len(self._ids) - tokens])

    def rewind_to(self, length: int) -> None:
        """Forget all but the first `length` tokens. Raises ValueError if there are not so many."""
        with self.guard:
            if not is_integer(length) or not 0 <= length <= len(self._ids):
                raise ValueError(f"rewind_to: expected a length of 0 .. {len(self._ids)} tokens, got {length}")
            self._become(self._ids[:length])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the session to a file that `lm.resume` reads: whole or not at all. See session_file.py for the format.

        Raises OSError that names the file if it cannot be written.
        """
        with self.guard:
            self._renew()
            write_session(Path(path), self.lm.model, self.lm.tokenizer, self._ids, self._cache, self._held)

    @classmethod
    def resume(cls, lm: Continues, path: str | os.PathLike[str], prefix: PrefixCache | None = None) -> "Session":
        """The session of a file that `save` wrote; goes on with the bits of the original.

        Raises OSError if the file cannot be read, ValueError if it is damaged, of another version, model, vocabulary or
        kv_dtype.
        """
        session = cls(lm, prefix=prefix)
        session._ids, session._cache = read_session(Path(path), lm.model, lm.tokenizer)
        return session

    @property
    def _held(self) -> int:
        """How many of the first ids the cache holds."""
        return 0 if self._slid else min(int(self._cache.lengths[0]), max(0, len(self._ids) - 1))

    def _become(self, ids: list[int]) -> None:
        """Take other ids, which agree with the old ones up to the shorter end."""
        self._settle()
        self._ids, self._logits = ids, None
        self._cache.lengths[0] = self._held
        self._changes += 1

    def _settle(self) -> None:
        """Take the cache back from a stream that has slid, without what a trace has replaced."""
        self._cache.lengths[0] = self._held
        self._changes += self._slid
        self._slid = False
        self._renew()

    def _renew(self) -> None:
        """Forget what was computed under replaced activations; where they are replaced now, everything."""
        if self._cache.patched[0] or tap_of(self.lm.model).replaces:
            self._cache.forget(0)
            self._logits = None
            self._changes += 1

    def _encode(self, end: int) -> None:
        """Let the cache hold the first `end` tokens."""
        self._settle()
        self._reserve(end)
        self._cache.prompts[0] = len(self._ids)
        if self._cache.lengths[0] >= end:
            return
        if self.prefix is not None:
            self.prefix.fetch(self._ids[:end], self._cache)
        read(self.lm.model, np.array(self._ids[int(self._cache.lengths[0]) : end], np.int64), self._cache)
        if self.prefix is not None:
            self.prefix.remember(self._ids[:end], self._cache)

    def _reserve(self, tokens: int) -> None:
        """Let the cache have room for so many; it grows by doubling."""
        if tokens > self._cache.capacity:
            wider = self.lm.model.cache(1, min(self.lm.model.limit, max(tokens, 2 * self._cache.capacity)))
            self._cache.copy(0, 0, int(self._cache.lengths[0]), into=wider)
            self._cache = wider


class SessionStream(Stream):
    """A Stream that continues a session, which grows as it goes."""

    def __init__(self, session: Session, stream: Stream) -> None:
        super().__init__(stream._batch)
        self._session, self._begun, self._changes, self._fresh = session, False, session._changes, 0

    def _next(self) -> Sequence[Any] | None:
        session, row = self._session, self._row
        with session.guard:
            if session._changes != self._changes:
                raise RuntimeError("stream: the session has changed since; make a new stream")
            try:
                if not self._begun:
                    self._begin(row)
                return super()._next()
            finally:  # an interrupted step, too, leaves a session that can go on
                session._ids, session._logits = row.prompt.tolist() + row.tokens, None
                session._slid = self._batch.overflow == "slide" and len(session._ids) > self._batch.window

    @property
    def result(self) -> Generation:
        """The whole generation; raises RuntimeError before the stream has ended."""
        whole = super().result
        return replace(whole, timings=replace(whole.timings, prefill_tokens=self._fresh))

    def _begin(self, row: Row) -> None:
        """Go on in the session's cache, from what it holds already."""
        session, window = self._session, self._batch.window
        session._settle()
        session._reserve(min(window, len(row.prompt) + row.remaining))
        self._batch.cache, self._begun, self._fresh = session._cache, True, len(session) - session._held
        self._changes = session._changes = session._changes + 1  # no other stream may go on
