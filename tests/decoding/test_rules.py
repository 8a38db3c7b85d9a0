"""rules.py: penalties, bias and bans against their published formulas, token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.decoding.rules import Rules
from nextword.decoding.settings import Sampling

VOCABULARY = 12
ids = st.integers(0, VOCABULARY - 1)
texts = st.lists(ids, max_size=15)
logit_rows = st.lists(st.floats(-50, 50, width=32), min_size=VOCABULARY, max_size=VOCABULARY).map(np.float32)


def apply(settings, logits, prompt=(), new=(), **more):
    rules = Rules(Sampling(**settings), VOCABULARY, **more)
    before = logits.copy()
    found, edits = rules(logits, np.array(prompt, np.int64), np.array(new, np.int64))
    np.testing.assert_array_equal(logits, before)  # never changed in place
    assert found.dtype == np.float32
    assert found.shape == (VOCABULARY,)
    return found, edits


@given(logit_rows, texts, texts)
def test_without_rules_logits_stay_the_same_object(logits, prompt, new):
    rules = Rules(Sampling(temperature=2, top_k=3, top_p=0.5), VOCABULARY)
    assert rules(logits, np.array(prompt, np.int64), np.array(new, np.int64))[0] is logits


@given(logit_rows, texts, texts, st.floats(-2, 2), st.floats(-2, 2))
def test_frequency_and_presence_penalty_are_openais_formula(logits, prompt, new, frequency, presence):
    """mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence, c: how often j was sampled before."""
    found, _ = apply({"frequency_penalty": frequency, "presence_penalty": presence}, logits, prompt, new)
    for j in range(VOCABULARY):
        c = new.count(j)
        wanted = float(logits[j]) - c * frequency - float(c > 0) * presence
        # one rounding of the penalty and one of the difference to float32
        size = abs(wanted) + abs(c * frequency) + abs(presence)
        assert abs(float(found[j]) - wanted) <= 2.0**-24 * size * 1.01 + 1e-37


@given(logit_rows, texts, texts, st.floats(0.125, 5, width=32))
def test_repetition_penalty_divides_positive_and_multiplies_negative_logits_once(logits, prompt, new, penalty):
    found, _ = apply({"repetition_penalty": penalty}, logits, prompt, new)
    seen = {*prompt, *new}
    for j in range(VOCABULARY):
        x, p = logits[j], np.float32(penalty)
        assert found[j] == ((x / p if x >= 0 else x * p) if j in seen else x)


@given(logit_rows, texts, texts, st.integers(1, 5))
def test_no_sequence_of_tokens_occurs_twice(logits, prompt, new, size):
    found, _ = apply({"no_repeat_ngram_size": size}, logits, prompt, new)
    text = [*prompt, *new]
    grams = {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}
    for j in range(VOCABULARY):
        last = tuple([*text, j][-size:])
        assert (found[j] == -np.inf) == (len(last) == size and last in grams)
        assert found[j] in (logits[j], -np.inf)


@given(logit_rows, texts, texts, st.dictionaries(st.lists(ids, min_size=1, max_size=3).map(tuple), st.floats(-9, 9),
                                                 max_size=5))
def test_bias_is_added_where_the_text_ends_with_the_tokens_before(logits, prompt, new, bias):
    found, _ = apply({"logit_bias": bias}, logits, prompt, new)
    text = [*prompt, *new]
    for j in range(VOCABULARY):
        wanted, size = float(logits[j]), 0.0
        for tokens, b in bias.items():
            if [*text, j][-len(tokens) :] == [*tokens]:
                wanted += b
                size += abs(b)
        # at most five biases: each is rounded to float32, and each sum; the least float32 is 2^-149
        assert abs(float(found[j]) - wanted) <= 2.0**-24 * (abs(float(logits[j])) + size) * 6 + 10 * 2.0**-150


@given(logit_rows, texts, st.lists(st.lists(ids, min_size=1, max_size=3), max_size=4))
def test_bad_words_never_come_about(logits, text, bad):
    found, _ = apply({"bad_words": bad}, logits, text[:3], text[3:], end=(7,))
    for j in range(VOCABULARY):
        completed = [word for word in bad if [*text, j][-len(word) :] == word]  # also the end token itself
        assert (found[j] == -np.inf) == bool(completed)


@given(logit_rows, texts, st.integers(0, 20))
def test_the_end_is_forbidden_before_min_new_tokens(logits, new, least):
    found, _ = apply({"min_new_tokens": least}, logits, [1, 2, 3], new, end={4, 9})
    wanted = logits.copy()
    if len(new) < least:
        wanted[[4, 9]] = -np.inf
    np.testing.assert_array_equal(found, wanted)


def test_rules_apply_in_the_documented_order():
    seen = []

    def keep(logits):
        seen.append(logits.copy())
        return logits

    def double(logits):
        return logits * 2

    settings = {"logit_bias": {3: 1.0}, "repetition_penalty": 2.0, "frequency_penalty": 0.5, "presence_penalty": 0.25,
                "bad_words": [[5]], "min_new_tokens": 9, "processors": [keep, double]}
    logits = np.arange(VOCABULARY, dtype=np.float32)
    found, edits = apply(settings, logits, [3], [3, 3], end=[6])
    assert [e.rule for e in edits] == ["logit_bias", "repetition_penalty", "frequency_penalty", "bad_words",
                                       "min_new_tokens", "processor keep", "processor double"]
    assert found[3] == 2 * ((3 + 1) / 2 - 2 * 0.5 - 0.25)
    assert found[5] == found[6] == -np.inf
    assert seen[0][3] == found[3] / 2


def test_strings_are_tokens_of_the_vocabulary():
    encode = {"ab": [1, 2], "c": [3]}.__getitem__
    logits = np.zeros(VOCABULARY, np.float32)
    found, _ = apply({"logit_bias": {"c": 2.0, "ab": 3.0}}, logits, [], [1], encode=encode)
    assert found.tolist() == [0, 0, 3, 2] + [0] * 8
    found, _ = apply({"bad_words": ["ab"]}, logits, [1], [], encode=encode)
    assert np.flatnonzero(found == -np.inf).tolist() == [2]


def test_a_processor_may_change_what_it_is_given_and_return_float64():
    def forbid(logits):
        logits[:6] = -np.inf
        return logits.astype(np.float64)

    found, edits = apply({"processors": forbid}, np.zeros(VOCABULARY, np.float32))
    assert np.isneginf(found).tolist() == [True] * 6 + [False] * 6
    assert edits[0].rule == "processor forbid"


@pytest.mark.parametrize("result", [None, [1.0], np.zeros(3, np.float32), np.zeros(VOCABULARY, int), "x"])
def test_a_processor_that_returns_something_else_is_named(result):
    def odd(logits):
        return result

    with pytest.raises(ValueError, match=r"processor odd must return float logits \[12\]"):
        apply({"processors": [odd]}, np.zeros(VOCABULARY, np.float32))


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [({"logit_bias": {12: 1}}, IndexError, "logit_bias must hold token ids 0 .. 11, got 12"),
     ({"bad_words": [[1, -1]]}, IndexError, "bad_words must hold token ids 0 .. 11, got -1"),
     ({"bad_words": ["cat"]}, ValueError, "needs a vocabulary, which this model does not have"),
     ({"logit_bias": {"cat": 1}}, ValueError, "give token ids")],
)  # fmt: skip
def test_words_that_the_vocabulary_cannot_express_are_an_error(settings, error, told):
    with pytest.raises(error) as caught:
        Rules(Sampling(**settings), VOCABULARY)
    assert told in str(caught.value)


def test_extreme_settings_give_no_nan():
    logits = np.float32([3e38, -3e38, 1e-40, 0] * 3)
    for settings in ({"repetition_penalty": 2e-38}, {"repetition_penalty": 3e38}, {"logit_bias": {0: 3e38}},
                     {"logit_bias": {0: -math.inf}}, {"frequency_penalty": 3e38, "presence_penalty": -3e38}):
        with np.errstate(all="ignore"):
            found, _ = apply(settings, logits, [0, 1, 2], [0, 3])
        assert not np.isnan(found).any(), settings
