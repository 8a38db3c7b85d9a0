"""inside/words.py: embeddings, neighbours, analogies; the numbers of the bundled model."""

from __future__ import annotations

import numpy as np
import pytest

import nextword
from nextword.arithmetic.vectors import cosine_similarity, descending, similarity


def table(lm):
    """Every embedding: float32 [vocabulary, width]."""
    return nextword.ops.unpack(lm.model.embed.tokens).T


# Of the bundled model, which a new training moves
ANALOGIES = [
    ((" king", " man", " woman"), (" king", 0.761), (" queen", 0.667)),
    ((" König", " Mann", " Frau"), (" König", 0.642), (" Königin", 0.487)),
    ((" father", " man", " woman"), (" father", 0.724), (" mother", 0.687)),
]


@pytest.mark.parametrize(("words", "itself", "found"), ANALOGIES)
def test_analogies_have_the_lectures_answers_once_the_words_themselves_are_left_out(demo, words, itself, found):
    best = next(iter(demo.analogy(*words)))
    assert (best[0], round(best[1], 3)) == found
    best = next(iter(demo.analogy(*words, exclude=False)))
    assert (best[0], round(best[1], 3)) == itself


def test_an_embedding_is_the_row_of_the_table_and_what_the_model_reads(demo):
    ids = demo.tokenizer.encode(" king")
    found = demo.embedding(" king")
    assert (found.dtype, found.shape) == (np.float32, (demo.config.n_embd,))
    np.testing.assert_array_equal(found, table(demo)[ids[0]])
    np.testing.assert_array_equal(found, demo.embedding(ids[0]))
    with nextword.trace(demo, names="wte") as t:
        demo.logits(ids)
    np.testing.assert_array_equal(found, t["wte"][0])


def test_the_embedding_of_several_tokens_is_their_mean(demo):
    ids = demo.tokenizer.encode(" orange")
    assert len(ids) == 2
    rows = table(demo)[ids].astype(np.float64)
    np.testing.assert_array_equal(demo.embedding(ids), rows.mean(0).astype(np.float32))
    np.testing.assert_array_equal(demo.embedding(np.array(ids)), demo.embedding(tuple(ids)))


@pytest.mark.parametrize("kind", ["cosine", "dot", "scaled_dot"])
def test_neighbours_are_the_first_rows_of_the_whole_vocabulary(demo, kind):
    king = demo.tokenizer.id_of(" king")
    every = similarity(table(demo)[king], table(demo), kind)
    order = [i for i in descending(every).tolist() if i != king][:7]
    found = demo.neighbours(" king", 7, kind=kind)
    assert found.tokens == order
    # two float64 sums of 256 products each, in whatever order; a dot product is at most the largest of itself
    bound = 256 * 2.0**-53 * (1 if kind == "cosine" else similarity(table(demo)[king], table(demo)[king], "dot"))
    np.testing.assert_allclose(found.similarities, every[order], rtol=0, atol=bound)
    assert list(found) == list(zip(map(demo.tokenizer.decode, ([i] for i in order)), found.similarities.tolist(),
                                   strict=True))
    if kind == "cosine":
        assert demo.neighbours(" king", 1, exclude=False).tokens == [king]


def test_a_vocabulary_of_several_pieces_has_the_neighbours_of_the_whole(demo, monkeypatch):
    whole = demo.neighbours(" king", 20)
    monkeypatch.setattr("nextword.inside.words.PIECE", 999)
    assert demo.neighbours(" king", 20).tokens == whole.tokens


def test_a_vector_has_neighbours_like_a_word(demo):
    moved = demo.embedding(" king") - demo.embedding(" man") + demo.embedding(" woman")
    found, words = demo.neighbours(moved, 5), demo.analogy(" king", " man", " woman", 5, exclude=False)
    assert found.tokens == words.tokens
    # the sum in float32 against float64: three roundings of numbers below 1
    np.testing.assert_allclose(found.similarities, words.similarities, rtol=0, atol=3 * 2.0**-24)


def test_count_may_exceed_what_there_is(demo):
    assert len(demo.neighbours(" king", 10**6)) == demo.model.vocabulary - 1
    sorter = nextword.load("nextword:nano-sort")
    assert sorter.neighbours("A").texts in (["B", "C"], ["C", "B"])
    assert sorter.analogy("A", "B", "C").tokens == []


def test_quantised_models_have_words_too(demo):
    small = nextword.load(dtype="int8")
    assert small.analogy(" king", " man", " woman").texts[0] == " queen"
    assert cosine_similarity(small.embedding(" king"), demo.embedding(" king")) > 0.999


def test_pictures_name_what_they_show(demo):
    found = demo.neighbours(" king", 3)
    assert "nearest to  king" in found.picture().title
    assert "<script" not in found._repr_html_()
    assert found._repr_html_().count("<rect") == 3
    assert demo.analogy(" king", " man", " woman", 1).of == " king - man + woman"


ERRORS = [
    (lambda lm: lm.embedding(" orange"), ValueError,
     r"embedding: word must be one token, got ' orange', which is 2: ' or' 'ange'; pass the ids \[\d+, \d+\] for the "
     "mean of their embeddings, or another word"),
    (lambda lm: lm.embedding("apple"), ValueError, "'app' 'le'; with a space before it, ' apple' is one"),
    (lambda lm: lm.embedding(""), ValueError, "got '', which is 0; pass a word"),
    (lambda lm: lm.embedding(4096), IndexError, r"embedding: word must be a token id 0 \.\. 4095, got 4096"),
    (lambda lm: lm.embedding([1, -1]), IndexError, r"embedding: word must hold token ids 0 \.\. 4095, got -1"),
    (lambda lm: lm.embedding([]), TypeError, "embedding: word must be the text of one token"),
    (lambda lm: lm.embedding(True), TypeError, "embedding: word must be the text of one token"),
    (lambda lm: lm.embedding([" king"]), TypeError, "embedding: word must be the text of one token"),
    (lambda lm: lm.neighbours(" king", 0), ValueError, "neighbours: count must be an integer from 1 on, got 0"),
    (lambda lm: lm.neighbours(" king", kind="angle"), ValueError, "neighbours: kind must be one of 'cosine'"),
    (lambda lm: lm.neighbours(np.ones(3)), ValueError, r"neighbours: word must be a word or a vector \[256\], got"),
    (lambda lm: lm.analogy(" king", " man", " orange"), ValueError, "analogy: plus must be one token, got ' orange'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_errors_name_the_argument_and_the_way_out(demo, call, kind, message):
    with pytest.raises(kind, match=message):
        call(demo)


def test_without_a_vocabulary_ids_are_words(demo):
    bare = nextword.LanguageModel(demo.model)
    assert bare.neighbours(670, 1).texts[0].startswith("[")
    with pytest.raises(ValueError, match="embedding: a text needs a vocabulary"):
        bare.embedding(" king")
