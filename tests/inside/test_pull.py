"""inside/pull.py: a word's vectors in contexts."""

from __future__ import annotations

import numpy as np
import pytest

import nextword
from nextword.arithmetic.vectors import cosine_similarity

CONTEXTS = ["the dog began to bark at the tree", "The tree had a rough bark."]
TOWARDS = [" dog", " tree"]
BOUND = 2 * 256 * 2.0**-53  # of two float64 sums of 256 products of unit vectors, in whatever order


def test_vectors_are_the_models_own_at_the_words_last_token(demo):
    found = demo.pull("bark", CONTEXTS, TOWARDS)
    assert found.vectors.shape == (2, demo.config.n_layer + 1, demo.config.n_embd)
    for i, context in enumerate(CONTEXTS):
        ids = demo.tokenizer.encode(context)
        assert demo.tokenizer.decode(ids[: found.positions[i] + 1]).endswith("bark")
        with nextword.trace(demo, names=found.names) as t:
            demo.logits(ids)
        for row, name in enumerate(found.names):
            np.testing.assert_array_equal(found.vectors[i, row], t[name][found.positions[i]])


def test_cosines_are_of_the_vectors_and_the_reference_words(demo):
    found = demo.pull("bark", CONTEXTS, TOWARDS)
    np.testing.assert_array_equal(found.references, np.stack([demo.embedding(word) for word in TOWARDS]))
    for row in range(len(found.names)):
        for i in range(2):
            for j in range(2):
                expected = cosine_similarity(found.vectors[i, row], found.references[j])
                assert abs(found.cosines[i, row, j] - expected) <= BOUND
                expected = cosine_similarity(found.vectors[i, row], found.vectors[j, row])
                assert abs(found.between[row, i, j] - expected) <= BOUND
    assert 0.5 < found.between[-1, 0, 1] < 0.95  # contexts move a word little in a model as small as this


def test_the_path_is_the_directions_on_the_plane(demo):
    found = demo.pull("bark", CONTEXTS, TOWARDS, axes=[(" dog", " tree")])
    x = found.vectors.astype(np.float64)
    directions = x / np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_array_equal(found.path, (directions - found.plane.centre) @ found.plane.axes.T)
    assert found.points[0, 0] > found.points[1, 0]
    assert found.path.shape == (2, demo.config.n_layer + 1, 2)


def test_what_stands_behind_the_word_does_not_move_it_and_the_result_says_so(demo):
    found = demo.pull("apple", ["an apple and an orange", "an apple phone", "an apple phone, an apple"], [" tree"])
    assert found.same == [(0, 1)]
    np.testing.assert_array_equal(found.vectors[0], found.vectors[1])
    assert "contexts 0 and 1 are the same up to the word" in found._repr_html_()
    assert (found.between[-1, 0, 2] < 1).all()


def test_the_word_is_found_as_a_word_and_the_last_one_counts(demo):
    contexts = ["barking dogs bark at bark, embarked", "ein größerer bark"]
    found = demo.pull(" bark ", contexts, TOWARDS)
    for context, position in zip(contexts, found.positions, strict=True):
        before = context[: context.rindex(" bark") + 5]
        assert demo.tokenizer.decode(demo.tokenizer.encode(context)[: position + 1]) == before
    assert found.word == "bark"


def test_ids_are_contexts_and_words(demo):
    tok = demo.tokenizer
    by_text = demo.pull("bark", CONTEXTS, TOWARDS)
    by_ids = demo.pull(tok.encode(" bark"), [tok.encode(x) for x in CONTEXTS], [tok.id_of(x) for x in TOWARDS])
    np.testing.assert_array_equal(by_text.vectors, by_ids.vectors)
    assert (by_text.positions, by_text.towards) == (by_ids.positions, by_ids.towards)
    assert by_ids.word == " bark"


def test_a_long_context_is_read_in_pieces(demo, monkeypatch):
    context = "the old dog sat by the tree and began to bark. " * 12
    whole = demo.pull("bark", [context], TOWARDS)
    monkeypatch.setattr("nextword.models.passes.CHUNK", 7)
    np.testing.assert_array_equal(demo.pull("bark", [context], TOWARDS).vectors, whole.vectors)


def test_its_picture_has_the_words_and_a_path_for_each_context(demo):
    html = demo.pull("bark", CONTEXTS, TOWARDS)._repr_html_()
    assert html.count("stroke-dasharray") == 2
    assert html.count("<circle") == 2 * (demo.config.n_layer + 1) + 2
    assert "h.3.resid_post" in html
    assert "<script" not in html


ERRORS = [
    (lambda lm: lm.pull("bark", ["a cat"], TOWARDS), "pull: each context must hold the word 'bark', got 'a cat'"),
    (lambda lm: lm.pull("bark", ["embarked"], TOWARDS), "pull: each context must hold the word 'bark'"),
    (lambda lm: lm.pull(" ", CONTEXTS, TOWARDS), "pull: word must be a word, got ' '"),
    (lambda lm: lm.pull("bark", "a bark", TOWARDS), "pull: contexts must be a list of at least one, got 'a bark'"),
    (lambda lm: lm.pull("bark", CONTEXTS, []), "pull: towards must be a list of at least one"),
    (lambda lm: lm.pull("bark", CONTEXTS, [" orange"]), "pull: each of towards must be one token"),
    (lambda lm: lm.pull("bark", CONTEXTS, [" dog"], axes=" dog"), "pull: axes must be one or two pairs"),
    (lambda lm: lm.pull([5], [[1, 2]], TOWARDS), r"pull: each context must hold the ids \[5\] of the word"),
    (lambda lm: lm.pull("bark", ["bark " * 600], TOWARDS), r"pull: prompt must be 1 \.\. 512 tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_argument(demo, call, message):
    with pytest.raises(ValueError, match=message):
        call(demo)


def test_what_it_takes_is_reckoned_before(demo, monkeypatch):
    monkeypatch.setattr("nextword.machine.memory.available", lambda: 2**18)
    monkeypatch.setattr("nextword.machine.memory.SMALL", 0)
    with pytest.raises(MemoryError, match=r"pull: a word in 99 contexts would take .*; take fewer or shorter"):
        demo.pull("bark", ["a bark"] * 99, TOWARDS)
