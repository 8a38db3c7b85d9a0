"""The calls of the page about words, not about a prompt: neighbours, analogies, similarity, continuations compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from nextword.arithmetic import vectors
from nextword.inside.plane import Plane
from nextword.inside.templates import expanded
from nextword.inside.words import Neighbours, embeddings
from nextword.page.calls import PROMPTS, Page
from nextword.page.errors import Refused
from nextword.page.fields import WORD, Fields
from nextword.page.texts import texts_of
from nextword.page.view_answers import CompareAnswer, NearAnswer, PlaneAnswer, PullAnswer, SimilarityAnswer

WORDS = 50
COUNT = 50
CONTEXTS = 4


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
    fields = Fields("similarity", body, ["words", "axes"])
    ids = _tokens(page, fields, "words")
    x, axes = embeddings(page.lm.model, ids), _axes(page, fields)
    points, through = np.zeros((1, 2)), Plane(x[0], np.zeros((2, x.shape[1])), ("", ""), np.zeros(2), 0.0)
    if len(ids) > 1:
        found = page.lm.word_map(ids, axes)
        points, through = found.points, found.plane
    kinds: dict[Any, Any] = {kind: vectors.similarity(x, x, kind).tolist() for kind in ("dot", "scaled_dot", "cosine")}
    return {"words": ids, "dot": kinds["dot"], "scaled_dot": kinds["scaled_dot"], "cosine": kinds["cosine"],
            "norms": np.linalg.norm(x.astype(np.float64), axis=1).tolist(), "points": points.tolist(),
            "plane": _plane(through), "texts": texts_of(page.lm.tokenizer, ids)}


def pull(page: Page, body: Any) -> PullAnswer:
    """POST /api/pull"""
    fields = Fields("pull", body, ["word", "contexts", "towards", "axes"])
    word, contexts = fields.text("word", WORD), fields.texts("contexts", CONTEXTS, WORD)
    towards = _tokens(page, fields, "towards")
    found = page.lm.pull(word, contexts, towards, _axes(page, fields))
    return {"word": found.word, "contexts": contexts, "towards": towards, "rows": found.names,
            "cosines": found.cosines.tolist(), "between": found.between.tolist(), "path": found.path.tolist(),
            "points": found.points.tolist(), "plane": _plane(found.plane), "same": [list(pair) for pair in found.same],
            "texts": texts_of(page.lm.tokenizer, towards)}


def _tokens(page: Page, fields: Fields, name: str) -> list[int]:
    """The ids of a list of words that are one token each."""
    given = fields.raw(name)
    if not isinstance(given, list) or not 1 <= len(given) <= WORDS:
        fields.texts(name, WORDS, WORD)  # words the error
    return [page.token(Fields(fields.op, {name: one}, [name]), name) for one in given]


def _axes(page: Page, fields: Fields) -> list[tuple[int, int]] | None:
    """One or two pairs of words that are axes; None where none are given."""
    given = fields.raw("axes") if fields.has("axes") else None
    if given is None:
        return None
    if not isinstance(given, list) or not 1 <= len(given) <= 2 or not all(
            isinstance(pair, list) and len(pair) == 2 for pair in given):
        raise Refused("bad_argument", f"{fields.op}: axes must be null or one or two pairs of words", argument="axes")
    pairs = []
    for pair in given:
        first, second = (page.token(Fields(fields.op, {"axes": one}, ["axes"]), "axes") for one in pair)
        if first == second:
            raise Refused("bad_argument", f"{fields.op}: the words of an axis must differ", argument="axes")
        pairs.append((first, second))
    return pairs


def _plane(found: Plane) -> PlaneAnswer:
    return {"names": list(found.names), "shares": found.shares.tolist(), "cosine": found.cosine}


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
