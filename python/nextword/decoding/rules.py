"""What a sequence's settings do to its logits before one is chosen: bias, penalties, bans, functions of the user's.

Each rule sees all logits and the tokens so far and says which few logits change and to what, so that a step can be
explained afterwards; `settings.Sampling` documents the rules and their order. Temperature and the filters that follow
are in `ops.distribution`.
"""

from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.decoding.settings import Processor, Sampling
from nextword.text.no_vocabulary import NoVocabularyError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Encode = Callable[[str], list[int]]


class Edit(NamedTuple):
    """New logits that a rule gives to some tokens; ids None: to all. The same id may stand there twice."""

    rule: str
    ids: Ints | None
    values: Floats


class Rules:
    """The rules that one sequence's settings switch on.

    encode: text -> ids, for strings in the settings; None where the model has no vocabulary. end: ids that end a text.
    Raises ValueError or IndexError for words that the vocabulary cannot express.
    """

    def __init__(self, settings: Sampling, vocabulary: int, encode: Encode | None = None,
                 end: Collection[int] = ()) -> None:
        self.vocabulary = vocabulary
        words = _Words(vocabulary, encode)
        bias = {words.ids("logit_bias", word): b for word, b in (settings.logit_bias or {}).items()}
        bad = [words.ids("bad_words", word) for word in settings.bad_words]
        steps: list[tuple[bool, _Rule]] = [
            (bool(bias), _SequenceBias("logit_bias", bias)),
            (settings.repetition_penalty != 1, _Repetition(np.float32(settings.repetition_penalty))),
            (bool(settings.frequency_penalty or settings.presence_penalty),
             _Frequency(settings.frequency_penalty, settings.presence_penalty)),
            (settings.no_repeat_ngram_size > 0, _NoRepeat(settings.no_repeat_ngram_size)),
            (bool(bad), _SequenceBias("bad_words", dict.fromkeys(bad, -np.inf))),
            (settings.min_new_tokens > 0 and len(end) > 0, _MinNew(settings.min_new_tokens, end)),
            *((True, _Custom(processor)) for processor in settings.processors),
        ]
        self.rules = [rule for wanted, rule in steps if wanted]

    def __call__(self, logits: Floats, prompt: Ints, new: Ints) -> tuple[Floats, list[Edit]]:
        """The logits to choose from and the edits that led there; `logits` itself stays as it is.

        logits: float32 [vocabulary]; prompt, new: the ids so far. Without rules the result is `logits`.
        """
        edits: list[Edit] = []
        if not self.rules:
            return logits, edits
        x = logits.copy()
        for rule in self.rules:
            for edit in rule(x, prompt, new):
                if edit.ids is None:
                    x = edit.values
                else:
                    x[edit.ids] = edit.values
                edits.append(edit)
        return x, edits

    def without_processors(self) -> "Rules":
        """These rules but the user's functions."""
        other = copy(self)
        other.rules = [rule for rule in self.rules if not isinstance(rule, _Custom)]
        return other


_Rule = Callable[[Floats, Ints, Ints], Iterable[Edit]]


class _Words:
    """Strings and ids of the settings as checked tuples of ids."""

    def __init__(self, vocabulary: int, encode: Encode | None) -> None:
        self.vocabulary, self.encode = vocabulary, encode

    def ids(self, name: str, word: str | int | Iterable[int]) -> tuple[int, ...]:
        if isinstance(word, str):
            if self.encode is None:
                raise NoVocabularyError(f"sampling: {name} holds the string {word!r}, which needs", "give token ids")
            ids = tuple(self.encode(word))
        else:
            ids = (word,) if isinstance(word, int) else tuple(word)
        for token in ids:
            if not 0 <= token < self.vocabulary:
                raise IndexError(f"sampling: {name} must hold token ids 0 .. {self.vocabulary - 1}, got {token}")
        return ids


class _SequenceBias:
    """x[last] += bias where the text ends with the sequence's other tokens (transformers' SequenceBias, NoBadWords)."""

    def __init__(self, rule: str, bias: dict[tuple[int, ...], float]) -> None:
        self.rule = rule
        self.single = np.array([ids[0] for ids in bias if len(ids) == 1], np.int64)
        self.amounts = np.array([b for ids, b in bias.items() if len(ids) == 1], np.float32)
        self.longer = [(ids[:-1], ids[-1], np.float32(b)) for ids, b in bias.items() if len(ids) > 1]

    def __call__(self, x: Floats, prompt: Ints, new: Ints) -> Iterable[Edit]:
        with np.errstate(over="ignore"):  # past the largest float32 the check of the logits says so
            if len(self.single):
                yield Edit(self.rule, self.single, x[self.single] + self.amounts)
            for before, last, amount in self.longer:
                if _ends_with(prompt, new, before):
                    yield Edit(self.rule, np.array([last]), x[[last]] + amount)


def _ends_with(prompt: Ints, new: Ints, ids: tuple[int, ...]) -> bool:
    count, size = len(new), len(prompt) + len(new)
    return len(ids) <= size and all(
        (new[count - k] if k <= count else prompt[size - k]) == ids[-k] for k in range(1, len(ids) + 1))


class _Repetition:
    def __init__(self, penalty: np.float32) -> None:
        self.penalty = penalty

    def __call__(self, x: Floats, prompt: Ints, new: Ints) -> Iterable[Edit]:
        ids = np.concatenate([prompt, new])
        old = x[ids]
        with np.errstate(over="ignore"):
            yield Edit("repetition_penalty", ids, np.where(old < 0, old * self.penalty, old / self.penalty))


class _Frequency:
    def __init__(self, frequency: float, presence: float) -> None:
        self.frequency, self.presence = frequency, presence

    def __call__(self, x: Floats, prompt: Ints, new: Ints) -> Iterable[Edit]:
        if len(new):
            ordered, ends = np.sort(new), np.ones(len(new), bool)
            np.not_equal(ordered[1:], ordered[:-1], out=ends[:-1])
            last = np.flatnonzero(ends)  # of each run of equal ids
            ids, counts = ordered[last], last + 1
            counts[1:] -= counts[:-1].copy()
            with np.errstate(over="ignore"):
                penalty = (counts * self.frequency + self.presence).astype(np.float32)
                yield Edit("frequency_penalty", ids, x[ids] - penalty)


class _NoRepeat:
    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, x: Floats, prompt: Ints, new: Ints) -> Iterable[Edit]:
        text, before = np.concatenate([prompt, new]), self.size - 1
        starts = len(text) - before  # earlier places at which the last `before` tokens may stand
        if starts < 1:
            return
        same = np.ones(starts, bool)
        for k in range(before):
            same &= text[k : k + starts] == text[starts + k]
        ids = text[before:][same]
        if len(ids):
            yield Edit("no_repeat_ngram_size", ids, np.full(len(ids), -np.inf, np.float32))


class _MinNew:
    def __init__(self, least: int, end: Collection[int]) -> None:
        self.least, self.end = least, np.array(sorted(end), np.int64)

    def __call__(self, x: Floats, prompt: Ints, new: Ints) -> Iterable[Edit]:
        if len(new) < self.least:
            yield Edit("min_new_tokens", self.end, np.full(len(self.end), -np.inf, np.float32))


class _Custom:
    def __init__(self, function: Processor) -> None:
        self.function = function

    def __call__(self, x: Floats, prompt: Ints, new: Ints) -> Iterable[Edit]:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        values = np.asarray(self.function(x.copy()))
        if values.shape != x.shape or not np.issubdtype(values.dtype, np.floating):
            raise ValueError(f"sampling: processor {name} must return float logits {list(x.shape)}, "
                             f"got {values.dtype} {list(values.shape)}")
        yield Edit(f"processor {name}", None, np.ascontiguousarray(values, np.float32))
