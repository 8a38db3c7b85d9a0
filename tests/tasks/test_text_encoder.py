"""What users hold of an encoder: vectors, ranks, classes, tags and gaps; batches, lengths, progress, errors."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.tasks.example_encoder import WORDS, example, write_example

texts = st.lists(st.lists(st.sampled_from([*WORDS[5:12], "cats", "Story!"]), max_size=12).map(" ".join), max_size=9)


@pytest.fixture(scope="module")
def encoder():
    return example()


@given(many=texts, batch=st.integers(1, 40), count=st.integers(1, 3))
def test_a_vectors_bits_do_not_depend_on_neighbours_passes_and_threads(isa, threads, encoder, many, batch, count):
    threads(count)
    vectors = encoder.embed(many, batch=batch)
    threads(1)
    assert vectors.shape == (len(many), 16)
    assert vectors.dtype == np.float32
    for text, vector in zip(many, vectors, strict=True):
        np.testing.assert_array_equal(encoder.embed(text), vector)


def test_cosines_are_those_of_the_vectors(encoder):
    a, b = ["a cat", "the dog ran"], ["dogs sat", "a story", "cat"]
    found = encoder.similarity(a, b)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, nextword.similarity(encoder.embed(a), encoder.embed(b)))
    np.testing.assert_array_equal(encoder.similarity(encoder.embed(a), b), found)
    assert isinstance(encoder.similarity("a cat", "a dog"), float)
    assert encoder.similarity("a cat", b).shape == (3,)


def test_normalised_vectors_have_length_1(encoder):
    vectors = encoder.embed(["a cat", "the dog"], normalize=True)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_prompts_stand_before_texts(encoder):
    np.testing.assert_array_equal(encoder.embed("cat", prompt="the "), encoder.embed("the cat"))
    with pytest.raises(TypeError, match="embed: prompt must be a text"):
        encoder.embed("cat", prompt=3)


def test_truncation_is_said_once_with_how_much(encoder):
    long = " ".join(["cat"] * 40)
    with pytest.warns(UserWarning, match=r"embed: 20 tokens of 2 of 3 texts were cut away, .* 32 tokens"):
        vectors = encoder.embed([long, "a cat", long])
    np.testing.assert_array_equal(vectors[0], encoder.embed(" ".join(["cat"] * 30)))
    for call in (lambda: encoder.embed("cat " * 9, max_length=8), lambda: encoder.hidden("cat " * 40)):
        with pytest.warns(UserWarning, match=r"tokens \(max_length\)") as found:
            call()
        assert [one.filename for one in found] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.embed("cat " * 30)


def test_progress_is_told_by_texts(encoder):
    told = []
    encoder.embed(["cat"] * 50, batch=30, progress=lambda *one: told.append(one))
    assert told == [(10, 50), (20, 50), (30, 50), (40, 50), (50, 50)]


def test_ten_thousand_sentences_take_the_memory_of_their_vectors():
    encoder, many = example(), ["the cat ran", "a dog sat"] * 5000
    encoder.embed(many[:2000])
    tracemalloc.start()
    encoder.embed(many[:2000])
    few = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    encoder.embed(many)
    assert tracemalloc.get_traced_memory()[1] < few + 4 * 16 * 8000 + 8 * 8000 + (1 << 19)
    tracemalloc.stop()


def test_hidden_states_have_a_row_for_each_token(encoder):
    rows = encoder.hidden("a cat ran")
    assert rows.shape == (5, 16)
    np.testing.assert_allclose(rows.mean(0), encoder.embed("a cat ran"), rtol=1e-5, atol=1e-6)


def test_classes_have_probabilities_that_sum_to_1_or_are_their_own():
    found = example("classes", labels=3).classify(["a cat", "the dog", "a cat"])
    assert [list(one) for one in found] == [sorted(one, key=one.get, reverse=True) for one in found]
    assert [sum(one.values()) for one in found] == pytest.approx([1, 1, 1])
    assert found[0] == found[2] == example("classes", labels=3).classify("a cat")
    assert list(example("classes", labels=1).classify("a cat")) == ["LABEL_0"]
    pairs = example("classes").classify([("a cat", "the dog"), ("a", "b")])
    assert pairs[0] == example("classes").classify(("a cat", "the dog"))
    assert pairs[0] != example("classes").classify("a cat")


def test_ranks_are_by_score_and_ties_in_order():
    encoder = example("classes", labels=1)
    many = ["the dog", "a cat", "the dog", "a story ."]
    found = encoder.rerank("cat ?", many)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert sorted(one.index for one in found) == [0, 1, 2, 3]
    places = [one.index for one in found]
    assert places.index(0) + 1 == places.index(2)
    assert encoder.rerank("cat ?", many, top_k=2) == found[:2]
    np.testing.assert_allclose([one.probability for one in found], 1 / (1 + np.exp([-one.score for one in found])))
    assert encoder.rerank("cat ?", []) == []


def test_spans_cover_tokens_of_one_label_in_characters():
    text = "a cat ran , the dogs sat"
    encoder = example("tags", labels=3)
    found = encoder.tag(text)
    assert all(text[one.start : one.end] == one.text for one in found)
    assert [one.start for one in found] == sorted(one.start for one in found)
    assert sum(len(one.text.replace(" ", "")) for one in found) == len(text.replace(" ", ""))


def test_gaps_are_filled_with_the_most_probable_words():
    encoder = example("masked")
    first, second = encoder.fill_mask("the [MASK] ran , a [MASK] sat", k=4)
    for gap in (first, second):
        assert len(gap) == 4
        assert [one.probability for one in gap] == sorted((one.probability for one in gap), reverse=True)
    assert first[0].text == f"the {first[0].token} ran , a [MASK] sat"
    assert second[0].text == f"the [MASK] ran , a {second[0].token} sat"
    assert sum(one.probability for one in encoder.fill_mask("a [MASK]", k=len(WORDS))[0]) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"fill_mask: the text must have \[MASK\] in the place of each gap"):
        encoder.fill_mask("a cat")


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda e: e.embed([1]), TypeError, "embed: texts must be texts, got int as number 0"),
    (lambda e: e.embed(3), TypeError, "embed: texts must be a list of texts"),
    (lambda e: e.embed("a", batch=0), ValueError, "embed: batch must be a number of tokens"),
    (lambda e: e.embed("a", max_length=33), ValueError, r"embed: max_length must be 4 \.\. 32 tokens, got 33"),
    (lambda e: e.hidden(["a"]), TypeError, "hidden: text must be a text, got list"),
    (lambda e: e.rerank("a", ["b"]), ValueError, "rerank: this BERT lacks the head for it; it has: none but"),
    (lambda e: e.generate("a"), AttributeError, "generate: BERT is an encoder, .* no next word"),
    (lambda e: e.nothing, AttributeError, "'TextEncoder' object has no attribute 'nothing'"),
])  # fmt: skip
def test_what_is_wrong_is_told(encoder, call, kind, words):
    with pytest.raises(kind, match=words):
        call(encoder)


def test_several_classes_rank_nothing():
    with pytest.raises(ValueError, match="rerank: the head must give one number, and this one has 2 classes"):
        example("classes").rerank("a", ["b"])


def test_load_says_what_a_model_is_not_for(tmp_path):
    folder = write_example(tmp_path)
    assert isinstance(nextword.load(folder, task="encode"), nextword.TextEncoder)
    with pytest.raises(ValueError, match="is of an encoder, which has no next word"):
        nextword.load(folder, task="generate")
    with pytest.raises(ValueError, match="is of a decoder, which continues texts"):
        nextword.load(task="encode")
    assert nextword.load(folder, context=7).max_length == 7
    with pytest.raises(ValueError, match=r"context must be 1 \.\. 32 tokens"):
        nextword.load(folder, context=33)
    with pytest.raises(ValueError, match="kv_dtype must be float32 for an encoder"):
        nextword.load(folder, kv_dtype="int8")
    with pytest.raises(ValueError, match="task must be one of 'generate', 'encode' or None, got 'chat'"):
        nextword.load(task="chat")


def test_a_pickle_loads_it_anew(tmp_path):
    encoder = nextword.load(write_example(tmp_path))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).embed("a cat"), encoder.embed("a cat"))
    np.testing.assert_array_equal(deepcopy(encoder).embed("a cat"), encoder.embed("a cat"))
    with pytest.raises(TypeError, match="this TextEncoder was put together by hand"):
        pickle.dumps(nextword.TextEncoder(encoder.model, encoder.tokenizer))


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("head", ["", "masked", "classes", "tags"])
def test_a_quantised_folder_is_the_same_as_loading_so(tmp_path, dtype, head):
    folder = tmp_path / "whole"
    folder.mkdir()
    nextword.quantize(write_example(folder, head), dtype, tmp_path / "small")
    again, expected = nextword.load(tmp_path / "small"), nextword.load(folder, dtype=dtype)
    assert again.model.dtype == dtype
    assert repr(again) == repr(expected)
    np.testing.assert_array_equal(again.embed(["a cat", "the dogs"]), expected.embed(["a cat", "the dogs"]))


def test_a_model_without_a_vocabulary_says_so(tmp_path):
    folder = write_example(tmp_path)
    (folder / "vocab.txt").unlink()
    encoder = nextword.load(folder)
    with pytest.raises(ValueError, match="embed: texts need a vocabulary, which this model does not have"):
        encoder.embed("a")
    assert encoder.model([np.array([1, 2])]).shape == (2, 16)


def test_a_trace_sees_what_an_encoder_does(encoder):
    with nextword.trace(encoder, "h.*.attn.weights") as t:
        encoder.embed("a cat ran")
    assert t["h.1.attn.weights"].shape == (2, 5, 5)
    masked = example("masked")
    with nextword.trace(masked, ["head.fc", "logits"]) as t:
        (gap,) = masked.fill_mask("a [MASK]", k=1)
    assert t["head.fc"].shape == (1, 16)
    assert t["logits"].argmax() == gap[0].id
