"""POST /v1/embeddings: a text as one vector, the mean over its tokens, or the last one's, of the last layer norm."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.models.model import Model
from nextword.models.passes import passes
from nextword.models.tap import Tap
from nextword.serve import answers, bounds
from nextword.serve.errors import wrong
from nextword.serve.exchange import Exchange, aside
from nextword.serve.jobs import work
from nextword.serve.prompts import prompts
from nextword.serve.requests import EmbeddingRequest
from nextword.serve.served import Served
from nextword.serve.state import State


class Last(Tap):
    """Keeps what goes into the last layer norm."""

    looks = True

    def __init__(self, model: Model) -> None:
        self._name = f"h.{model.layers - 1}.resid_post"
        self.x: Floats = np.empty((0, model.width), np.float32)

    def wants(self, name: str) -> bool:
        """That alone."""
        return name == self._name

    def __call__(self, name: str, x: Floats) -> Floats:
        """Keep it."""
        if name == self._name:
            self.x = x
        return x


def pooled(model: Model, ids: list[int], pooling: str) -> Iterator[Floats | None]:
    """One vector, float32 [width], as the last of what is yielded; a step is a pass.

    mean: the sum of the tokens' vectors in float64, over their number; last: the last token's.
    """
    tap, total = Last(model), np.zeros(model.width, np.float64)
    x = np.empty((0, model.width), np.float32)
    for _ in passes(model, [np.array(ids, np.int64)], model.cache(1, len(ids)), [0], [1], tap):
        x = model.norm(tap.x)
        total += x.sum(axis=0, dtype=np.float64)
        yield None
    yield x[-1].copy() if pooling == "last" else (total / len(ids)).astype(np.float32)


def cut(vector: Floats, dimensions: int | None) -> Floats:
    """The first so many numbers, of length 1; all of them as they are where none are asked for.

    >>> cut(np.float32([3, 4, 12]), 2).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    if dimensions is None:
        return vector
    first = vector[:dimensions].astype(np.float64)
    return (first / (np.linalg.norm(first) or 1.0)).astype(np.float32)


def _checked(served: Served, asked: EmbeddingRequest) -> list[list[int]]:
    width = served.lm.model.width
    if asked.dimensions is not None and asked.dimensions > width:
        raise wrong("dimensions", f"at most {width}, the model's width", asked.dimensions)
    texts = [served.ids("input", one) for one in prompts("input", asked.input, bounds.TEXTS)]
    for ids in texts:
        served.fit("input", ids, 0)
    if sum(map(len, texts)) > bounds.TOKENS:
        raise wrong("input", f"at most {bounds.TOKENS} tokens in all", sum(map(len, texts)))
    return texts


async def embeddings(exchange: Exchange, state: State, asked: EmbeddingRequest) -> None:
    """Answer a request."""
    served = state.model(asked.model)
    if asked.input is None:
        raise wrong("input", "given", None)
    texts = await aside(_checked, served, asked)
    model, pooling = served.lm.model, asked.pooling or "mean"
    steps: Iterator[Any] = (found for ids in texts for found in pooled(model, ids, pooling))
    vectors = [cut(one, asked.dimensions) for one in await work(exchange, served, steps) if one is not None]
    data = [answers.Embedding(i, _written(one, asked.encoding_format)) for i, one in enumerate(vectors)]
    count = sum(map(len, texts))
    exchange.told["prompt_tokens"] = count
    await exchange.answer(answers.Embeddings(data, served.name, answers.InputUsage(count, count)))


def _written(vector: Floats, form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    found: list[float] = vector.tolist()
    return found
