"""settings.py: what Sampling takes, what it refuses and how it says so."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.decoding.settings import ELSEWHERE, NAMES, Sampling

NUMBERS = ["temperature", "top_p", "min_p", "typical_p", "repetition_penalty", "frequency_penalty", "presence_penalty",
           "length_penalty", "diversity_penalty", "penalty_alpha"]
INTEGERS = ["top_k", "no_repeat_ngram_size", "min_new_tokens", "max_new_tokens", "n", "num_beams", "num_beam_groups",
            "seed", "row", "best_of", "logprobs"]

WRONG = [
    ("temperature", -0.1), ("top_k", -1), ("top_p", 1.01), ("top_p", -1), ("min_p", -0.01),
    ("min_p", 1.5), ("typical_p", 0), ("typical_p", 2), ("repetition_penalty", 0), ("repetition_penalty", -1),
    ("diversity_penalty", -1), ("no_repeat_ngram_size", -1), ("min_new_tokens", -1), ("max_new_tokens", -1), ("n", 0),
    ("best_of", 0), ("logprobs", -1), ("num_beams", 0), ("num_beam_groups", 0), ("seed", -1), ("seed", 2**64),
    ("row", -1), ("row", 2**64),
    ("early_stopping", "maybe"), ("early_stopping", 1), ("stop", ""), ("stop", ["a", ""]), ("stop", [1.5]),
    ("stop", [None]), ("stop", [True]), ("stop", [b"a"]), ("stop", -1), ("stop", ["a", -1]),
    ("stop", 1.5), ("bad_words", [""]),
    ("bad_words", [[]]), ("bad_words", [1.5]), ("bad_words", [["a"]]), ("logit_bias", {"": 1}),
    ("logit_bias", {1: math.nan}), ("logit_bias", {1: math.inf}), ("logit_bias", {(): 1}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_value_outside_of_its_range_is_an_error_that_names_it(field, value):
    with pytest.raises(ValueError, match=f"sampling: {field} must "):
        Sampling(**{field: value})


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_no_number_may_be_nan_or_infinite(field, value):
    with pytest.raises(ValueError, match=f"sampling: {field} must be"):
        Sampling(**{field: value})


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", ["1", True, [1.0], 1j])
def test_numbers_of_another_type_are_a_type_error(field, value):
    with pytest.raises(TypeError, match=f"sampling: {field} must be a number"):
        Sampling(**{field: value})


@pytest.mark.parametrize("field", INTEGERS)
@pytest.mark.parametrize("value", ["1", 1.0, True, [1]])
def test_integers_of_another_type_are_a_type_error(field, value):
    with pytest.raises(TypeError, match=f"sampling: {field} must be an integer"):
        Sampling(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("uniform", 1), ("regex", 3), ("json_schema", [1]), ("logit_bias", [1]), ("bad_words", "cat"), ("bad_words", 3),
     ("processors", 3), ("processors", [None])],
)  # fmt: skip
def test_other_fields_of_another_type_are_a_type_error(field, value):
    with pytest.raises(TypeError, match=f"sampling: {field} must "):
        Sampling(**{field: value})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens must be at most max_new_tokens"),
        ({"best_of": 2, "n": 3, "temperature": 1}, "best_of must be at least n"),
        ({"uniform": True}, "pass temperature=1"),
        ({"n": 2}, "greedy search gives one"),
        ({"best_of": 2}, "greedy search gives one"),
        ({"num_beams": 2, "temperature": 1}, "temperature must be 0"),
        ({"num_beams": 2, "best_of": 2}, "best_of None"),
        ({"num_beams": 2, "n": 3}, "n must be at most num_beams, got 3 and 2"),
        ({"num_beams": 4, "num_beam_groups": 3}, "must divide num_beams, got 3 and 4"),
        ({"num_beams": 4, "diversity_penalty": 1.0}, "at least 2"),
        ({"num_beam_groups": 2}, "pass num_beams too"),
        ({"diversity_penalty": 1.0}, "pass num_beams too"),
        ({"num_beams": 2, "regex": "a"}, "do not go with beam search"),
        ({"penalty_alpha": 0.5, "temperature": 1}, "temperature must be 0"),
        ({"penalty_alpha": 0.5, "num_beams": 2}, "choose one search"),
        ({"penalty_alpha": 0.5, "n": 2}, "n must be at most num_beams"),
        ({"regex": "a", "json_schema": {}}, "choose one"),
    ],
)
def test_settings_that_do_not_go_together_are_an_error_with_the_way_out(settings, told):
    with pytest.raises(ValueError, match="sampling: ") as caught:
        Sampling(**settings)
    assert told in str(caught.value)


def test_an_unknown_name_is_an_error_that_suggests_the_nearest():
    with pytest.raises(TypeError, match=r"no setting is called 'temprature'; did you mean temperature\?"):
        Sampling().changed(temprature=1)
    with pytest.raises(TypeError, match="there are logit_bias, "):
        Sampling().changed(zzzzzz=1)


@pytest.mark.parametrize("field", [field.name for field in fields(Sampling)])
def test_none_is_the_default_of_every_field(field):
    assert Sampling(**{field: None}) == Sampling()
    assert Sampling(temperature=0.5).changed(**{field: None, "top_k": 3}) == Sampling(
        **{"temperature": None if field == "temperature" else 0.5, "top_k": 3})


@pytest.mark.parametrize(("name", "told"), [
    ("num_return_sequences", "n="), ("do_sample", "temperature=0"), ("eos_token_id", "eos="),
    ("max_length", "max_new_tokens"), ("max_tokens", "max_new_tokens"), ("bad_words_ids", "bad_words="),
    ("stop_strings", "stop="), ("stop_sequences", "stop="), ("pad_token_id", "not needed"),
    ("top_logprobs", "logprobs="), ("frequency_penaltyy", "frequency_penalty"), ("sequence_bias", "logit_bias="),
])  # fmt: skip
def test_the_names_of_other_libraries_point_to_ours(name, told):
    for call in (lambda: Sampling(**{name: 1}), lambda: Sampling().changed(**{name: 1})):
        with pytest.raises(TypeError, match=f"sampling: no setting is called '{name}'; ") as caught:
            call()
        assert told in str(caught.value)


def test_no_name_of_another_library_is_one_of_ours():
    assert not set(ELSEWHERE) & set(NAMES)


def test_settings_from_numpy_are_plain_numbers_afterwards():
    s = Sampling(temperature=np.float32(0.5), top_k=np.int64(3), top_p=np.float64(0.5), seed=np.uint64(2**63),
                 stop=np.array([3, 4]), logit_bias={np.int64(3): np.float32(1)}, bad_words=[np.array([1, 2])])
    assert [type(x) for x in (s.temperature, s.top_k, s.top_p, s.seed)] == [float, int, float, int]
    assert (s.seed, s.stop, s.logit_bias, s.bad_words) == (2**63, (3, 4), {(3,): 1.0}, ((1, 2),))
    assert all(type(x) is int for x in s.stop)


def test_settings_are_frozen_and_equal_by_value():
    s = Sampling(temperature=0.5, stop="x", logit_bias={"a": 1})
    assert s == Sampling(temperature=0.5, stop=["x"], logit_bias={"a": 1.0})
    assert s != Sampling(temperature=0.5)
    with pytest.raises(FrozenInstanceError):
        s.temperature = 1


@given(st.floats(0, 10), st.integers(0, 100), st.floats(0.001, 1), st.integers(0, 2**64 - 1))
def test_settings_survive_being_changed(temperature, top_k, top_p, seed):
    s = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    assert s.changed() == s
    assert s.changed(top_p=0.5).changed(top_p=top_p) == s


def test_every_field_is_told_of():
    for field in fields(Sampling):
        assert field.name in Sampling.__doc__


def test_a_stop_string_of_half_a_character_is_an_error():
    assert Sampling(stop="\ud83d\ude00").stop == ("\U0001f600",)
    with pytest.raises(ValueError, match="stop must hold text, got a lone surrogate"):
        Sampling(stop=["a", "\ud83d"])
