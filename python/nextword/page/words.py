"""The calls of the page about words, not about a prompt: neighbours, analogies, similarity, continuations compared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nextword.arithmetic.vectors import cosine_similarity, nearest
from nextword.page.answers import CompareAnswer, NearAnswer, SimilarityAnswer
from nextword.page.calls import PROMPTS, Page
from nextword.page.fields import WORD, Fields
from nextword.page.texts import texts_of

WORDS = 50
COUNT = 50


def embeddings(page: Page) -> Any:
    """float32 [vocabulary, width]: the vector of each token, without a position."""
    model = page.lm.model
    return model.ops.unpack(model.embed.tokens).T


def neighbours(page: Page, body: Any) -> NearAnswer:
    """POST /api/neighbours"""
    fields = Fields("neighbours", body, ["word", "count"])
    word, count = page.token(fields, "word"), fields.integer("count", 1, COUNT, 10)
    rows = embeddings(page)
    return _near(page, [word], [one for one in nearest(rows[word], rows, count + 1) if one[0] != word][:count])


def analogy(page: Page, body: Any) -> NearAnswer:
    """POST /api/analogy"""
    fields = Fields("analogy", body, ["a", "b", "c", "exclude", "count"])
    a, b, c = (page.token(fields, name) for name in "abc")
    count, exclude = fields.integer("count", 1, COUNT, 10), fields.flag("exclude", True)
    rows = embeddings(page)
    found = nearest(rows[a].astype(np.float64) - rows[b] + rows[c], rows, count + 3)
    return _near(page, [a, b, c], [one for one in found if not (exclude and one[0] in (a, b, c))][:count])


def _near(page: Page, words: list[int], found: list[tuple[int, float]]) -> NearAnswer:
    return {"words": words, "near": [{"id": t, "cosine": near} for t, near in found],
            "texts": texts_of(page.lm.tokenizer, {*words, *(t for t, _ in found)})}


def similarity(page: Page, body: Any) -> SimilarityAnswer:
    """POST /api/similarity"""
    fields = Fields("similarity", body, ["words"])
    given = fields.raw("words")
    if not isinstance(given, list) or not 1 <= len(given) <= WORDS:
        fields.texts("words", WORDS, WORD)  # words the error
    ids = [page.token(Fields("similarity", {"words": one}, ["words"]), "words") for one in given]
    x = embeddings(page)[ids].astype(np.float64)
    dot = x @ x.T
    centred = x - x.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    points = np.zeros((len(ids), 2))
    points[:, : len(directions)] = centred @ directions.T
    return {"words": ids, "dot": dot.tolist(), "scaled_dot": (dot / math.sqrt(x.shape[1])).tolist(),
            "cosine": cosine_similarity(x, x).tolist(), "norms": np.linalg.norm(x, axis=1).tolist(),
            "points": points.tolist(), "texts": texts_of(page.lm.tokenizer, ids)}


def compare(page: Page, body: Any) -> CompareAnswer:
    """POST /api/compare"""
    fields = Fields("compare", body, ["prompts", "continuations"])
    prompts = fields.texts("prompts", PROMPTS, WORD)
    continuations = fields.texts("continuations", COUNT, WORD)
    found = [page.lm.choose(prompt, continuations) for prompt in prompts]
    shares = [[one.share for one in row] for row in found]
    ratio = [[math.log(share / first) if share > 0 < first else None
              for share, first in zip(row, shares[0], strict=True)] for row in shares]
    return {"prompts": prompts, "continuations": continuations, "p": [[one.probability for one in row] for row in found],
            "share": shares, "ratio": ratio, "whole": [[one.whole for one in row] for row in found]}
