"""kv_dtype from end to end: the demo model with its keys and values in each dtype."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nextword
from nextword.cli import main as cli

# How much the perplexity of a held-out book may change. Measured on 40,000 characters of each of three (two in English,
# one in German) with float32 weights: at most 0.006 % in bfloat16 and in int8.
ALLOWED = {"bfloat16": 0.001, "int8": 0.005}


@pytest.fixture(scope="module", params=["float32", "bfloat16", "int8"])
def lm(request):
    return nextword.load(kv_dtype=request.param)


def test_greedy_text_is_that_of_the_logits_of_the_whole_text_given_anew(lm):
    ids = lm.tokenizer.encode("Once upon a time there was a little")
    found = lm.generate(ids, max_new_tokens=40, temperature=0)
    logits = lm.logits(ids + found.tokens)
    assert found.tokens == logits[len(ids) - 1 : -1].argmax(-1).tolist()


def test_many_texts_of_one_prompt_are_each_what_it_would_be_alone(lm):
    prompt = "Es war einmal ein König, der in einem großen Schloss am Meer wohnte, und der hatte drei Töchter, die"
    settings = {"max_new_tokens": 12, "temperature": 1.0, "seed": 3}
    together = lm.generate([prompt] * 3, **settings)  # they share their beginning
    assert [one.tokens for one in together] == [lm.generate([prompt] * (i + 1), **settings)[i].tokens for i in range(3)]


def test_beam_search_goes_on_from_the_copies_of_its_beams(lm):
    found = lm.generate("The king", num_beams=3, max_new_tokens=12)
    session = lm.session("The king")
    session.feed(found.tokens)
    np.testing.assert_array_equal(session.logits, lm.logits(lm.tokenizer.encode("The king") + found.tokens)[-1])


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("book", ["en_ozaki_japanese_fairy_tales.txt", "de_spyri_gritlis_kinder_2.txt"])
def test_perplexity_hardly_changes(demo, shared, dtype, book):
    text = shared(f"stories/valid/{book}").read_text(encoding="utf-8")[20_000:26_000]
    expected, found = (lm.score(text).perplexity for lm in (demo, nextword.load(kv_dtype=dtype)))
    assert found != expected
    assert abs(found / expected - 1) <= ALLOWED[dtype]


def test_a_shorter_cache_changes_logits_by_little_and_not_by_nothing(demo):
    ids = np.random.default_rng(0).integers(0, demo.config.vocab_size, 200)
    exact = demo.logits(ids)
    changed = [np.abs(nextword.load(kv_dtype=dtype).logits(ids) - exact).max() for dtype in ALLOWED]
    assert all(0 < change < 0.02 * np.abs(exact).max() for change in changed)


def test_an_unknown_kv_dtype_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="load: kv_dtype must be one of float32, bfloat16, int8, got 'int4'"):
        nextword.load(kv_dtype="int4")


def test_the_command_line_takes_it(capsys, lm):
    wanted = ["generate", "--temperature", "0", "--max-new-tokens", "30", "--json", "The old house"]
    assert cli.main([*wanted, "--kv-dtype", lm.model.kv_dtype]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = lm.generate("The old house", temperature=0, max_new_tokens=30)
    assert (found["text"], found["tokens"]) == (expected.text, expected.tokens)
    with pytest.raises(SystemExit):
        cli.main([*wanted, "--kv-dtype", "int4"])
    assert "--kv-dtype: expected one of float32, bfloat16, int8, got 'int4'" in capsys.readouterr().err
