"""models/random_weights.py: names, shapes and numbers that a GPT2 takes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextword.models.gpt2 import GPT2, GPT2Config
from nextword.models.random_weights import SPREAD, RandomWeights
from strategies import configs, random_tensors, tiny_config


@given(configs(), st.integers(0, 2**32))
def test_names_and_shapes_are_those_that_a_model_reads(config, seed):
    weights = RandomWeights(GPT2Config.from_dict(config), seed)
    assert {name: x.shape for name, x in weights.items()} == {n: x.shape for n, x in random_tensors(config).items()}
    assert {x.dtype for x in weights.values()} == {np.dtype(np.float32)}
    logits = GPT2(weights, config)([np.array([0])], GPT2(weights, config).cache(1))
    assert np.isfinite(logits).all()


def test_numbers_depend_on_name_and_seed_alone():
    config = GPT2Config.from_dict(tiny_config())
    first, again, other = RandomWeights(config, 1), RandomWeights(config, 1), RandomWeights(config, 2)
    np.testing.assert_array_equal(first["wte.weight"], again["wte.weight"])
    assert not np.array_equal(first["wte.weight"], other["wte.weight"])
    assert not np.array_equal(first["h.0.attn.c_proj.weight"], first["h.1.attn.c_proj.weight"])
    np.testing.assert_array_equal(first["h.1.ln_2.weight"], 1)
    np.testing.assert_array_equal(first["h.1.ln_2.bias"], 0)


def test_the_spread_is_that_of_gpt2s_first_weights():
    x = RandomWeights(GPT2Config(n_layer=1, n_head=1, n_embd=64, vocab_size=512))["wte.weight"].astype(np.float64)
    count = x.size
    # Six deviations: of n uniform numbers of variance v the mean has variance v / n, that of squares (9/5 - 1) v^2 / n.
    assert abs(x.mean()) < 6 * SPREAD / count**0.5
    assert abs((x * x).mean() - SPREAD**2) < 6 * SPREAD**2 * (0.8 / count) ** 0.5
