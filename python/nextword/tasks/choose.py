"""How probable a model finds each of several continuations of a prompt. Generates nothing."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops
from nextword.decoding.defaults import Defaults, first_tokens
from nextword.models.model import Model
from nextword.models.passes import CHUNK, passes
from nextword.text.ids import Special, token_ids
from nextword.text.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Choice:
    """One continuation.

    text: as given (None if token ids were given). tokens: its ids.
    logprobs: float64 [tokens], the natural logarithm of each token's probability given the prompt and those before it.
    share: its probability over the sum of all choices' probabilities.
    whole: whether prompt and text written in one are encoded as these very ids; where not, the text begins within a
        word, which the model has hardly ever met cut like this. None where ids were given.
    """

    text: str | None
    tokens: list[int]
    logprobs: NDArray[np.float64]
    share: float
    whole: bool | None

    @property
    def logprob(self) -> float:
        """Natural logarithm of the probability: the sum of the tokens'."""
        return math.fsum(self.logprobs)

    @property
    def probability(self) -> float:
        """The probability that the model goes on with exactly these tokens."""
        return math.exp(self.logprob)


def choose(model: Model, tokenizer: Tokenizer | None, prompt: Any, choices: Sequence[Any], *,
           allowed_special: Special = (), defaults: Defaults | None = None) -> list[Choice]:
    """The probability of each continuation given the prompt, in the order in which they are given.

    prompt: a text or token ids. Before a text stands what the tokenizer begins texts with; an empty prompt is the
    beginning token of the tokenizer or the model, or else the end token, as for `generate`.
    choices: texts or lists of token ids, none empty, none twice. allowed_special: the special tokens whose names in a
    text stand for them, "all" or some. defaults: what the model's files say; `LanguageModel.choose` gives its own.

    What is computed: the probability that the model, after the prompt's ids, goes on with exactly the continuation's
    ids, product over its tokens. Prompt and continuation are encoded each by itself, and nothing is put between them:
    after "The doctor said that" the word is " he", with its space; a prompt that ends in a space is another prompt.
    Longer continuations are less probable, and one whose ids begin another's contains it, so shares compare choices
    and are no partition of what may come.

    The prompt goes through the model once. Raises ValueError, TypeError or IndexError that names the argument.

    >>> import nextword
    >>> he, she = nextword.load().choose("The king said that", [" he", " she"])
    >>> 0 < he.probability < 1, round(he.share + she.share, 12)
    (True, 1.0)
    """
    *_, found = choosing(model, tokenizer, prompt, choices, allowed_special=allowed_special, defaults=defaults)
    return found


def choosing(model: Model, tokenizer: Tokenizer | None, prompt: Any, choices: Sequence[Any], *,
             allowed_special: Special = (), defaults: Defaults | None = None) -> Iterator[list[Choice]]:
    """What `choose` gives, at the last step; at those before, a pass each, an empty list.

    Arguments and errors as there.
    """
    size = model.vocabulary

    def whole_ids(text: Any) -> list[int]:
        return token_ids("choose", "prompt", text, tokenizer, size, allowed_special, begins=True)

    given = whole_ids(prompt)
    began = list(given)
    given = given or first_tokens("choose", defaults or Defaults.read(model), tokenizer, size)
    if isinstance(choices, str | bytes) or not isinstance(choices, Sequence):
        raise TypeError(f"choose: choices must be a list of texts or of lists of token ids, got {choices!r}")
    ids = [token_ids("choose", "each choice", choice, tokenizer, size, allowed_special) for choice in choices]
    _check(model, given, list(choices), ids)
    found = yield from _log_probabilities(model, given, ids)
    logprobs = np.array([math.fsum(one) for one in found])
    top = logprobs.max()
    weights = np.exp(logprobs - top) if math.isfinite(top) else np.zeros(len(ids))
    shares = weights / weights.sum() if weights.any() else weights
    yield [
        Choice(
            text if isinstance(text, str) else None,
            tokens,
            np.array(values),
            float(share),
            whole_ids(prompt + text) == began + tokens if isinstance(text, str) and isinstance(prompt, str) else None,
        )
        for text, tokens, values, share in zip(choices, ids, found, shares, strict=True)
    ]


def _check(model: Model, given: list[int], choices: list[Any], ids: list[list[int]]) -> None:
    if not ids:
        raise ValueError("choose: choices must hold at least one continuation, got none")
    seen: set[tuple[int, ...]] = set()
    context = model.limit
    for choice, one in zip(choices, ids, strict=True):
        if not one:
            raise ValueError(f"choose: each choice must have at least one token, got {choice!r}")
        if tuple(one) in seen:
            raise ValueError(f"choose: choices must differ, got {choice!r} twice")
        seen.add(tuple(one))
        if len(given) + len(one) - 1 > context:
            raise ValueError(f"choose: prompt of {len(given)} tokens and choice of {len(one)} must fit into the "
                             f"context window of {context}; shorten one")


def _log_probabilities(model: Model, prompt: list[int],
                       choices: list[list[int]]) -> Generator[list[Any], None, list[list[float]]]:
    """Of each choice's tokens. The prompt stays in slot 0 of the cache, copies of it are continued in the others."""
    inputs = [np.array(choice[:-1], np.int64) for choice in choices]
    longer = [i for i, one in enumerate(inputs) if len(one)]
    capacity = len(prompt) + max(map(len, inputs))
    width = min(len(longer), max(1, CHUNK // capacity))  # choices that go through the model together
    cache = model.cache(1 + width, capacity)
    for (logits,) in passes(model, [np.array(prompt, np.int64)], cache, [0], [1]):
        if len(logits):  # the prompt's end
            firsts, _, _ = ops.log_probabilities(logits, np.array([[choice[0] for choice in choices]]))
        yield []
    found = [[first] for first in firsts[0].tolist()]
    cache.prompts[:] = len(prompt)
    for array in [*cache.keys, *cache.values, *cache.scales]:
        array[1:] = array[0]
    for first in range(0, len(longer), max(1, width)):
        group = longer[first : first + width]
        cache.lengths[1 : 1 + len(group)] = len(prompt)
        texts = [inputs[i] for i in group]
        for parts in passes(model, texts, cache, range(1, 1 + len(group)), [len(ids) for ids in texts]):
            for i, rows in zip(group, parts, strict=True):
                targets = choices[i][len(found[i]) : len(found[i]) + len(rows)]
                found[i] += ops.log_probabilities(rows, np.array(targets, np.int64))[0].tolist()
            yield []
    return found
