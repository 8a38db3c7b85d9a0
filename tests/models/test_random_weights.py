"""models/random_weights.py: numbers that a model of any architecture takes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextword.models import random_model
from nextword.models.gpt2 import GPT2
from nextword.models.random_weights import SPREAD, RandomWeights
from strategies import configs, random_tensors, tiny_config


@given(configs(), st.integers(0, 2**32))
def test_a_model_of_any_shape_is_made_of_them(config, seed):
    model = GPT2(RandomWeights(seed), config)
    stored = GPT2(random_tensors(config), config).tensors()
    assert {name: x.shape for name, x in model.tensors().items()} == {name: x.shape for name, x in stored.items()}
    assert np.isfinite(model([np.array([0])], model.cache(1))).all()


def test_numbers_depend_on_name_and_seed_alone():
    first, again, other = RandomWeights(1), RandomWeights(1), RandomWeights(2)
    shape = (37, 15)
    assert first.made("wte.weight", shape).dtype == np.float32
    np.testing.assert_array_equal(first.made("wte.weight", shape), again.made("wte.weight", shape))
    assert not np.array_equal(first.made("wte.weight", shape), other.made("wte.weight", shape))
    assert not np.array_equal(first.made("h.0.up.weight", shape), first.made("h.1.up.weight", shape))


def test_norms_and_biases_are_those_of_an_identity():
    model = GPT2(RandomWeights(3), tiny_config())
    np.testing.assert_array_equal(model.blocks[1].ln_2.weight, 1)
    np.testing.assert_array_equal(model.blocks[1].ln_2.bias, 0)
    np.testing.assert_array_equal(model.blocks[1].fc.bias, 0)


def test_what_is_measured_by_default_has_the_shape_of_gpt2_124m():
    model = random_model(dtype="int4")
    assert (model.layers, model.heads, model.width, model.vocabulary, model.window) == (12, 12, 768, 50257, 1024)


def test_the_spread_is_that_of_gpt2s_first_weights():
    x = RandomWeights().made("wte.weight", (512, 64)).astype(np.float64)
    count = x.size
    # Six deviations: of n uniform numbers of variance v the mean has variance v / n, that of squares (9/5 - 1) v^2 / n.
    assert abs(x.mean()) < 6 * SPREAD / count**0.5
    assert abs((x * x).mean() - SPREAD**2) < 6 * SPREAD**2 * (0.8 / count) ** 0.5
