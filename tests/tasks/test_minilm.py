"""A real encoder, all-MiniLM-L6-v2: its published answers, in every dtype, alone and among others."""

from __future__ import annotations

import re

import numpy as np
import pytest

import nextword
from documents import ROOT
from real_models import real_model

TEXTS = ["A man is eating food.", "Someone is having a meal.", "The stock market fell today."]


@pytest.fixture(scope="module")
def minilm():
    return nextword.load(real_model("minilm"))


def test_it_is_what_its_files_say(minilm):
    assert repr(minilm).startswith("TextEncoder(bert: 6 layers, 12 heads, width 384, vocabulary 30522, context 512")
    assert minilm.max_length == 256  # sentence-transformers' file says less than the encoder has places for
    vectors = minilm.embed(TEXTS)
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_cosines_are_the_known_ones(minilm):
    np.testing.assert_allclose(minilm.similarity(TEXTS[0], TEXTS[1:]), [0.6888, -0.0170], atol=5e-5)


@pytest.mark.parametrize(("dtype", "loss"), [("bfloat16", 0.003), ("int8", 0.041), ("int4", 0.153)])
def test_fewer_bits_change_cosines_little(minilm, dtype, loss):
    """By no more than docs/encoders.md says that they do at most, over more texts than these."""
    near = nextword.load(real_model("minilm"), dtype=dtype)
    exact = minilm.similarity(TEXTS, TEXTS)
    np.testing.assert_allclose(near.similarity(TEXTS, TEXTS), exact, atol=loss)
    assert near.model.dtype == dtype


def test_heads_that_the_file_lacks_are_named(minilm):
    for call in (lambda: minilm.rerank("a", TEXTS), lambda: minilm.classify("a"), lambda: minilm.tag("a")):
        with pytest.raises(ValueError, match=r"this BERT lacks the head for it; it has: none but its hidden states"):
            call()


def test_a_folder_of_quantised_weights_gives_the_same_vectors(minilm, tmp_path):
    folder = nextword.quantize(real_model("minilm"), "int8", tmp_path / "small")
    expected = nextword.load(real_model("minilm"), dtype="int8").embed(TEXTS)
    np.testing.assert_array_equal(nextword.load(folder).embed(TEXTS), expected)


def test_the_pages_examples_print_what_it_says(minilm, tmp_path, monkeypatch, capsys):
    (tmp_path / "all-MiniLM-L6-v2").symlink_to(real_model("minilm"))
    monkeypatch.chdir(tmp_path)
    page, names = (ROOT / "docs" / "encoders.md").read_text("utf-8"), {}
    found = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert len(found) == 2
    for code, printed in found:
        exec(code, names)
        assert capsys.readouterr().out == printed
