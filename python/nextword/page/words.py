"""The calls of the page about words, not about a prompt: neighbours, analogies, similarity, continuations compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from nextword.arithmetic import vectors
from nextword.inside.templates import expanded
from nextword.inside.words import Neighbours, embeddings
from nextword.page.calls import PROMPTS, Page
from nextword.page.errors import Refused
from nextword.page.fields import WORD, Fields
from nextword.page.texts import texts_of
from nextword.page.view_answers import CompareAnswer, NearAnswer, SimilarityAnswer

WORDS = 50
COUNT = 50


def neighbours(page: Page, body: Any) -> NearAnswer:
    """POST /api/neighbours"""
    fields = Fields("neighbours", body, ["word", "count"])
    word, count = page.token(fields, "word"), fields.integer("count", 1, COUNT, 10)
    return _near(page, [word], page.lm.neighbours(word, count))


def analogy(page: Page, body: Any) -> NearAnswer:
    """POST /api/analogy"""
    fields = Fields("analogy", body, ["a", "b", "c", "exclude", "count"])
    a, b, c = (page.token(fields, name) for name in "abc")
    count, exclude = fields.integer("count", 1, COUNT, 10), fields.flag("exclude", True)
    return _near(page, [a, b, c], page.lm.analogy(a, b, c, count, exclude))


def _near(page: Page, words: list[int], found: Neighbours) -> NearAnswer:
    return {"words": words, "texts": texts_of(page.lm.tokenizer, {*words, *found.tokens}),
            "near": [{"id": t, "cosine": near}
                     for t, near in zip(found.tokens, found.similarities.tolist(), strict=True)]}


def similarity(page: Page, body: Any) -> SimilarityAnswer:
    """POST /api/similarity"""
    fields = Fields("similarity", body, ["words"])
    given = fields.raw("words")
    if not isinstance(given, list) or not 1 <= len(given) <= WORDS:
        fields.texts("words", WORDS, WORD)  # words the error
    ids = [page.token(Fields("similarity", {"words": one}, ["words"]), "words") for one in given]
    x = embeddings(page.lm.model, ids)
    points = page.lm.word_map(ids).points if len(ids) > 1 else np.zeros((1, 2))
    kinds: dict[Any, Any] = {kind: vectors.similarity(x, x, kind).tolist() for kind in ("dot", "scaled_dot", "cosine")}
    return {"words": ids, "dot": kinds["dot"], "scaled_dot": kinds["scaled_dot"], "cosine": kinds["cosine"],
            "norms": np.linalg.norm(x.astype(np.float64), axis=1).tolist(), "points": points.tolist(),
            "texts": texts_of(page.lm.tokenizer, ids)}


def compare(page: Page, body: Any) -> CompareAnswer:
    """POST /api/compare"""
    fields = Fields("compare", body, ["prompts", "continuations"])
    prompts = fields.texts("prompts", PROMPTS, WORD)
    continuations = fields.texts("continuations", COUNT, WORD)
    several = sum(len(expanded("compare", prompt)) for prompt in prompts)
    if several > PROMPTS:
        raise Refused("bad_argument", f"compare: prompts must stand for at most {PROMPTS}, got {several}",
                      argument="prompts")
    found = page.lm.compare(prompts, continuations)
    return {"prompts": [str(one) for one in found.prompts], "continuations": continuations,
            "p": found.probability.tolist(), "share": found.share.tolist(), "ratio": found.log_ratio.tolist(),
            "whole": [[one.whole for one in row] for row in found.choices]}
