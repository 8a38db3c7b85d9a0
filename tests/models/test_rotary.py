"""models/rotary.py: frequencies as published, files of both forms, angles that are there once a cache needs them."""

from __future__ import annotations

import copy
import math
import threading

import numpy as np
import pytest

from nextword.machine import memory
from nextword.models.rotary import PIECE, Rope, Turns
from small_llama import small_llama

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192, "rope_theta": 500000.0}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}


def test_plain_frequencies_fall_from_one_by_the_base():
    found = Rope(rope_theta=10000.0).frequencies(64)
    np.testing.assert_allclose(found, [10000.0 ** (-i / 32) for i in range(32)], rtol=1e-15)


def test_llama3_divides_slow_frequencies_keeps_fast_ones_and_blends_between():
    plain = Rope(rope_theta=500000.0).frequencies(128)
    found = Rope.from_config({"rope_scaling": LLAMA3}).frequencies(128)
    waves = 2 * math.pi / plain
    slow, fast = waves > 8192, waves < 8192 / 4
    np.testing.assert_array_equal(found[fast], plain[fast])
    np.testing.assert_allclose(found[slow], plain[slow] / 8, rtol=1e-15)
    between = found[~slow & ~fast]
    assert len(between)
    assert ((plain[~slow & ~fast] / 8 < between) & (between < plain[~slow & ~fast])).all()
    assert (np.diff(found) < 0).all()


def test_yarn_divides_slow_frequencies_keeps_fast_ones_and_makes_all_larger():
    rope, plain = Rope.from_config({"rope_parameters": YARN}), Rope().frequencies(128)
    found = rope.frequencies(128)
    turns = 4096 * plain / (2 * math.pi)
    np.testing.assert_array_equal(found[turns > 40], plain[turns > 40])
    np.testing.assert_allclose(found[turns < 0.8], plain[turns < 0.8] / 4, rtol=1e-15)
    assert rope.size == pytest.approx(0.1 * math.log(4) + 1, rel=1e-15)
    assert Rope("yarn", factor=4.0, original_max_position_embeddings=9, attention_factor=1.5).size == 1.5
    told = Rope("yarn", factor=40.0, original_max_position_embeddings=9, mscale=1.0, mscale_all_dim=1.0)
    assert told.size == 1.0


def test_a_factor_for_each_frequency_divides_it():
    rope = Rope.from_config({"rope_scaling": {"rope_type": "linear", "factor": [1.0, 2.0, 4.0]}})
    np.testing.assert_allclose(rope.frequencies(6), Rope().frequencies(6) / [1, 2, 4], rtol=1e-15)
    with pytest.raises(ValueError, match="factor must be a number, or one for each of 4 frequencies, got 3"):
        rope.frequencies(8)


@pytest.mark.parametrize("rope", [
    Rope("linear", factor=1e-308), Rope("linear", factor=(1.0, 5e-324)),
    Rope("llama3", factor=1e-308, original_max_position_embeddings=1),
    Rope("yarn", factor=1e-308, original_max_position_embeddings=1),
], ids=lambda rope: str(rope.rope_type))
def test_angles_that_overflow_are_an_error_that_names_the_factor(rope):
    with pytest.raises(ValueError, match=r"^config: factor of the rotary embedding must leave angles"):
        rope.frequencies(4)


def test_older_and_newer_files_say_the_same():
    newer = Rope.from_config({"rope_parameters": LLAMA3})
    scaling = {name: x for name, x in LLAMA3.items() if name != "rope_theta"}
    assert Rope.from_config({"rope_scaling": scaling, "rope_theta": 500000.0}) == newer
    named = {**scaling, "type": scaling["rope_type"]}
    del named["rope_type"]
    assert Rope.from_config({"rope_scaling": named, "rope_theta": 500000.0}) == newer
    assert Rope.from_config({"rope_scaling": None, "rope_parameters": None}) == Rope()


WRONG = [
    ({"rope_type": "dynamic", "factor": 2.0}, "rope_type of rope_scaling must be one of"),
    ({"rope_type": "longrope", "factor": 2.0}, "rope_type of rope_scaling must be one of"),
    ({"rope_type": ["yarn"]}, "rope_type of rope_scaling must be one of"),
    ({"type": "linear"}, "factor of rope_scaling must be there"),
    ({"rope_type": "linear", "factor": 0}, "factor of the rotary embedding must be a positive number, got 0"),
    ({"rope_type": "linear", "factor": "2"}, "factor of the rotary embedding must be a positive number"),
    ({"rope_type": "linear", "factor": math.inf}, "factor of the rotary embedding must be a positive number"),
    ({"rope_type": "linear", "factor": [1.0, True]}, "factor of the rotary embedding must be a positive number"),
    ({**LLAMA3, "low_freq_factor": None}, "low_freq_factor of rope_scaling must be there"),
    ({**LLAMA3, "low_freq_factor": 4.0}, "high_freq_factor must be above low_freq_factor"),
    ({**LLAMA3, "original_max_position_embeddings": 2.5}, "original_max_position_embeddings must be a positive"),
    ({**YARN, "truncate": 1}, "truncate must be true or false"),
    ({**YARN, "beta_fast": -1}, "beta_fast of the rotary embedding must be a positive number"),
    ({**YARN, "mscale": 1e300, "mscale_all_dim": 1e-300},
     "attention_factor, or mscale over mscale_all_dim, of the rotary embedding must leave cosines finite"),
    ({**YARN, "attention_factor": 1e39},
     "attention_factor, or mscale over mscale_all_dim, of the rotary embedding must leave cosines finite"),
    ({"rope_type": "default", "rope_theta": 10**400}, "rope_theta of the rotary embedding must be a positive number"),
    ({"rope_type": "default", "rope_theta": 1.0}, "rope_theta must be above 1"),
    ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1"),
    ({"rope_type": "default", "mrope_section": [1, 2]}, "mrope_section of rope_scaling must be absent"),
    ({"full_attention": {"rope_type": "default"}}, "rope_scaling must be an object of numbers, the same for all"),
    ("linear", "rope_scaling must be an object of numbers"),
]


@pytest.mark.parametrize(("scaling", "said"), WRONG, ids=lambda x: str(x)[:40])
def test_a_wrong_field_is_an_error_that_names_it(scaling, said):
    with pytest.raises(ValueError, match=f"^config: {said}"):
        Rope.from_config({"rope_scaling": scaling})


def test_angles_are_those_of_float64_rounded_once_also_far_out():
    turns = Turns(Rope(rope_theta=500000.0), 8, 131072)
    turns.reach(131072)
    place = np.array([0, 1, PIECE - 1, PIECE, 99_999, 131_071])
    angles = place[:, None] * Rope(rope_theta=500000.0).frequencies(8)
    np.testing.assert_array_equal(turns.table[place, :, 0], np.cos(angles).astype(np.float32))
    np.testing.assert_array_equal(turns.table[place, :, 1], np.sin(angles).astype(np.float32))


def test_a_long_context_costs_no_memory_before_it_is_used():
    turns = Turns(Rope(), 128, 2**22)  # 2 GiB
    assert turns.table.nbytes == 2**31
    turns.reach(100)
    assert turns.reached == 100
    turns.reach(50)
    assert turns.reached == 100


def test_a_cache_has_the_angles_of_its_places_computed():
    model = small_llama()
    assert model.turns.reached == 0
    assert model.cache(1, 0).capacity == model.turns.reached == 32  # whole panels, whatever was asked for
    model.cache(1, 33)
    assert model.turns.reached == 48
    assert copy.deepcopy(model).turns is model.turns


def test_threads_that_reach_at_once_leave_the_whole_table():
    turns = Turns(Rope(), 16, 20_000)
    all_at_once = [threading.Thread(target=turns.reach, args=(n,)) for n in (20_000, 5_000, 19_999, 12_345)]
    for one in all_at_once:
        one.start()
    for one in all_at_once:
        one.join()
    expected = Turns(Rope(), 16, 20_000)
    expected.reach(20_000)
    np.testing.assert_array_equal(turns.table, expected.table)


def test_angles_that_do_not_fit_are_a_memory_error_before_they_are_computed(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    turns = Turns(Rope(), 128, 2**20)
    with pytest.raises(MemoryError, match="rotary: the angles of 1048576 places would take"):
        turns.reach(2**20)
    assert turns.reached == 0


def test_more_places_than_can_be_addressed_are_an_error_that_names_the_field():
    with pytest.raises(ValueError, match="max_position_embeddings"):
        Turns(Rope(), 2**20, 2**31 - 1)
