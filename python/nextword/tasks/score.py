"""How well a model foresees a text: log-probability of each token, perplexity, bits per byte. Generates nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops
from nextword.decoding.defaults import Defaults
from nextword.machine.shown import is_integer
from nextword.models.cache import PANEL
from nextword.models.model import Model
from nextword.models.passes import CHUNK, passes
from nextword.text.ids import Special, is_batch, token_ids
from nextword.text.tokenizer import Tokenizer

Progress = Callable[[int, int], None]
Start = int | None | Literal["eos"]


@dataclass(frozen=True, eq=False)
class Score:
    """What a model says of one text.

    tokens: the text's token ids. start: the id that stands before them as context, or None.
    logprobs: float64 [tokens], the natural logarithm of each token's probability given what precedes it; without a
        start, nothing precedes the first token and its entry is NaN.
    bytes: UTF-8 bytes of the tokens that were scored, special tokens counting none; None without a vocabulary.
    window, stride: how a long text was cut; see `score`.
    """

    tokens: list[int]
    start: int | None
    logprobs: NDArray[np.float64]
    bytes: int | None
    window: int
    stride: int

    @property
    def scored(self) -> NDArray[np.float64]:
        """The log-probabilities that there are: all of them, or without a start those from the second token on."""
        return self.logprobs if self.start is not None else self.logprobs[1:]

    @property
    def count(self) -> int:
        """How many tokens were scored."""
        return len(self.scored)

    @property
    def logprob(self) -> float:
        """Natural logarithm of the probability of the whole text: the sum of the tokens'."""
        return math.fsum(self.scored)

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability of a token (Jelinek et al. 1977): between how many equally probable
        tokens the model would be as uncertain."""
        try:
            return math.exp(-self.logprob / self.count)
        except OverflowError:
            return math.inf

    @property
    def bits_per_byte(self) -> float | None:
        """-log2 of the text's probability over its UTF-8 bytes: comparable between vocabularies, as perplexity is not.
        None without a vocabulary, or where the tokens hold no bytes."""
        return -self.logprob / math.log(2) / self.bytes if self.bytes else None


class Window(NamedTuple):
    """Tokens that the model sees at once, and which of their successors count."""

    text: int  # number of the text
    ids: NDArray[np.int64]  # what goes in
    targets: NDArray[np.int64]  # what follows the last len(targets) of ids
    place: int  # where the targets' log-probabilities belong


def score(model: Model, tokenizer: Tokenizer | None, texts: Any, *, window: int | None = None,
          stride: int | None = None, start: Start = "eos", progress: Progress | None = None,
          allowed_special: Special = (), defaults: Defaults | None = None) -> Score | list[Score]:
    """Score a text, or each of a list of texts.

    texts: a text or token ids; a list of those gives a list of scores, which have the same bits as one by one.
    allowed_special: the special tokens whose names in a text stand for them, "all" or some; by default text is text.
    window: tokens that the model sees at once, 2 .. the context window (the default).
    stride: tokens by which the window moves on over a text that does not fit into it, 1 .. window (default: half).
        Every token is scored once. From the second window on a token is foreseen from at least window - stride + 1
        tokens before it: a small stride takes longer and gives each token more context. A text that fits into the
        window is scored in one piece.
    start: the id before the first token, which stands in the window but is not scored. "eos" takes what the tokenizer
        begins texts with, or else the vocabulary's <|endoftext|>, or else the model's beginning or end token: the text
        is scored like the beginning of a document, and every token and byte counts. None: the first token is context
        only.
    defaults: what the model's files say; `LanguageModel.score` gives its own. None: the configuration's.
    progress: called with (tokens scored, tokens to score) as it goes.
    Raises ValueError or TypeError that names the argument, IndexError for an id that the model does not have.

    >>> import nextword
    >>> result = nextword.load().score("Once upon a time")
    >>> result.bytes, len(result.logprobs) == result.count, 1 < result.perplexity < 4096
    (16, True, True)
    """
    found, steps = scoring(model, tokenizer, texts, window=window, stride=stride, start=start,
                           allowed_special=allowed_special, defaults=defaults)
    for done, total in steps:
        if progress is not None:
            progress(done, total)
    return found if is_batch(texts) else found[0]


def scoring(model: Model, tokenizer: Tokenizer | None, texts: Any, *, window: int | None = None,
            stride: int | None = None, start: Start = "eos", allowed_special: Special = (),
            defaults: Defaults | None = None) -> tuple[list[Score], Iterator[tuple[int, int]]]:
    """The scores of a text, or of each of a list, and what fills them in: a pass at each step, which tells how many
    tokens have been scored, and how many are to be.

    Arguments and errors as of `score`. A text's score is whole once the steps have ended.

    >>> import nextword
    >>> lm = nextword.load()
    >>> (found,), steps = scoring(lm.model, lm.tokenizer, "Once upon a time")
    >>> list(steps)[-1] == (found.count, found.count)
    True
    """
    context = model.limit
    low = min(2, context)
    span = context if window is None else _integer("score", "window", window, low, context, "the context window")
    step = max(1, span // 2) if stride is None else _integer("score", "stride", stride, 1, span, "the window")
    first = _start(model, tokenizer, start, defaults)
    found = []
    for text in texts if is_batch(texts) else [texts]:
        ids = token_ids("score", "text", text, tokenizer, model.vocabulary, allowed_special)
        if isinstance(text, str) and tokenizer is not None and tokenizer.beginning:
            ids = [*tokenizer.beginning[isinstance(start, str) :], *ids]  # the first of them is the start
        found.append(_prepared(ids, first, tokenizer, span, step))
    return found, _steps(model, found)


def _steps(model: Model, found: list[Score]) -> Iterator[tuple[int, int]]:
    todo = [w for number, one in enumerate(found) for w in _windows(one, number, one.window, one.stride)]
    total, done = sum(one.count for one in found), 0
    for group in _groups(todo):
        for number, place, value in _run(model, group):
            found[number].logprobs[place : place + len(value)] = value
            done += len(value)
            yield done, total


def _integer(op: str, name: str, value: Any, low: int, high: int, limit: str) -> int:
    if not is_integer(value) or not low <= value <= high:
        raise ValueError(f"{op}: {name} must be an integer {low} .. {high} ({limit}), got {value!r}")
    return int(value)


def _start(model: Model, tokenizer: Tokenizer | None, start: Start, defaults: Defaults | None) -> int | None:
    size = model.vocabulary
    if isinstance(start, str) and start == "eos":
        own = () if tokenizer is None else (*tokenizer.beginning[:1], tokenizer.eos_id)
        known = (*own, (defaults or Defaults.read(model)).begin)
        return next((token for token in known if token is not None and token < size), None)
    if start is not None and (not is_integer(start) or not 0 <= int(start) < size):
        raise ValueError(f'score: start must be a token id 0 .. {size - 1}, None or "eos", got {start!r}')
    return None if start is None else int(start)


def _prepared(ids: list[int], start: int | None, tokenizer: Tokenizer | None, window: int, stride: int) -> Score:
    least = 1 if start is not None else 2
    if len(ids) < least:
        why = "" if start is not None else ", as without a start token the first is context only"
        raise ValueError(f"score: text must have at least {least} token{'s' * (least > 1)}{why}, got {len(ids)}")
    size = None
    if tokenizer is not None:
        special = set(tokenizer.special_tokens.values())
        texts = [i for i in ids[least - 1 :] if i not in special and tokenizer.has(i)]  # models pad their vocabulary
        size = len(tokenizer.decode_bytes(texts))
    return Score(ids, start, np.full(len(ids), np.nan), size, window, stride)


def _windows(one: Score, number: int, window: int, stride: int) -> list[Window]:
    whole = np.array(one.tokens if one.start is None else [one.start, *one.tokens], np.int64)
    shift = int(one.start is None)  # logprobs[i] is that of whole[i + 1 - shift]
    inputs, scored, found = len(whole) - 1, 0, []
    for begin in range(0, inputs, stride):
        end = min(begin + window, inputs)
        found.append(Window(number, whole[begin:end], whole[scored + 1 : end + 1], scored + shift))
        scored = end
        if end == inputs:
            break
    return found


def _groups(windows: list[Window]) -> list[list[Window]]:
    """Neighbours that go through the model together: CHUNK tokens at most, or one window that is longer."""
    groups: list[list[Window]] = []
    slot = 0  # tokens that each of the group takes in the cache
    for window in windows:
        slot = max(slot, -(-len(window.ids) // PANEL) * PANEL)
        if not groups or slot * (len(groups[-1]) + 1) > CHUNK:
            groups.append([])
            slot = -(-len(window.ids) // PANEL) * PANEL
        groups[-1].append(window)
    return groups


def _run(model: Model, group: list[Window]) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """(number of the text, place, log-probabilities from there on) of each window, pass by pass."""
    cache = model.cache(len(group), max(len(window.ids) for window in group))
    targets = [len(window.targets) for window in group]
    done = [0] * len(group)
    for found in passes(model, [window.ids for window in group], cache, range(len(group)), targets):
        for i, (window, logits) in enumerate(zip(group, found, strict=True)):
            first, done[i] = done[i], done[i] + len(logits)
            values, _, _ = ops.log_probabilities(logits, window.targets[first : done[i]])
            yield window.text, window.place + first, values
