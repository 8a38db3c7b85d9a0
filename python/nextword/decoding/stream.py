"""Stream: one text, told piece by piece while the model is at it."""

from collections.abc import Iterator, Sequence
from typing import Any

from nextword.decoding.batch import Batch
from nextword.decoding.explain import Step
from nextword.decoding.results import Generation
from nextword.machine.guard import Guard
from nextword.models.trace import tap_of

_UNKNOWN = object()


class Stream:
    """Yields pieces of text as they come (token ids for a model without a vocabulary); `result` is the Generation,
    there once the stream is exhausted. One thread may take a piece at a time: RuntimeError else."""

    def __init__(self, batch: Batch) -> None:
        self._batch, self._row = batch, batch.rows[0]
        self._steps = batch.steps()
        self._shown = 0
        self._replacing: Any = _UNKNOWN  # the trace that replaces activations in its steps, None without one
        self.guard = Guard("stream: it is in use by another thread; make a stream for each thread")

    def __iter__(self) -> Iterator[Any]:
        while (pieces := self._next()) is not None:
            yield from pieces

    def _next(self) -> Sequence[Any] | None:
        """What the next step adds, maybe nothing; None at the end."""
        with self.guard:
            tap = tap_of(self._batch.model)
            now = tap if tap.replaces else None
            if self._replacing is not _UNKNOWN and self._replacing is not now:
                raise RuntimeError("stream: it cannot go on, as activations are replaced now that were not when it "
                                   "began, or the reverse; make a stream for each")
            self._replacing = now
            if next(self._steps, self) is self:
                return None
            if self._row.decoder is not None:
                piece = self._row.release()
                return [piece] if piece else []
            fresh, self._shown = self._row.tokens[self._shown :], len(self._row.tokens)
            return fresh

    @property
    def steps(self) -> list[Step]:
        """With explain=True: why each token so far was chosen."""
        return self._row.steps

    @property
    def result(self) -> Generation:
        """The whole generation; raises RuntimeError before the stream has ended."""
        if self._row.finish is None:
            raise RuntimeError("stream: result is there once the stream is exhausted; read it to its end first")
        return self._batch.results()[0]
