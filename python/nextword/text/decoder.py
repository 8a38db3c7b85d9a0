"""Ids that come one by one to text. All ids at once: Tokenizer.decode."""

from __future__ import annotations

import codecs

from nextword import _core


class Decoder:
    """Turns a stream of ids into text, holding back the bytes of a character until it is whole.

    >>> import nextword
    >>> tokenizer = nextword.load().tokenizer
    >>> decoder = tokenizer.decoder()
    >>> [decoder.push(id) for id in tokenizer.encode("ï")]
    ['', 'ï']
    >>> decoder.flush()
    ''
    """

    def __init__(self, tokenizer: _core.Bpe) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] | None = [] if tokenizer.units == "words" else None  # the last id of words
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The text that `id` completes, maybe empty. Bytes that can start no character become U+FFFD at once."""
        if self._before is not None:
            done = len(self._tokenizer.decode(self._before))
            text = self._tokenizer.decode([*self._before, id])[done:]
            self._before = [id]
            return text
        return self._utf8.decode(self._tokenizer.token_bytes(id))

    def flush(self) -> str:
        """What is left: U+FFFD if the stream ended within a character, else "". The decoder then starts anew."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        self._before = None if self._before is None else []
        return rest
