"""steer.py: vectors are added at each step, to read and written tokens, in this call alone."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, settings_of_rows, tiny_config, token_ids

IDS = [5, 1, 36, 0, 5]


def told(found):
    """All that a generation says but how long it took, and by which seed nothing was drawn."""
    return replace(found, timings=None, seed=None, row=None)


@pytest.fixture(scope="module")
def tiny():
    return LanguageModel(random_model(tiny_config()))


@given(models(), st.data())
def test_it_is_a_generation_with_the_vector_added_in_every_pass(model, data):
    lm, ids = LanguageModel(model), data.draw(token_ids(model, most=3))
    layer = data.draw(st.integers(0, model.layers - 1))
    name = data.draw(st.sampled_from(["resid_pre", "resid_post", "attn.out", "mlp.out", "mlp.act"]))
    name, rng = f"h.{layer}.{name}", np.random.default_rng(data.draw(st.integers(0, 99)))
    vector = rng.standard_normal(lm.inside(ids)[name].shape[-1]).astype(np.float32)
    scale = data.draw(st.sampled_from([-2.0, 0.5, 4.0, 16.0]))  # powers of two: the product is exact
    settings = {"max_new_tokens": 1, "temperature": 1, "seed": 5, "logprobs": 0}
    found = lm.steer(ids, {name: vector}, scale, **settings)
    with nextword.trace(model, [], replace={name: lambda x: x + np.float32(scale) * vector}):
        expected = lm.generate(ids, **settings)
    assert told(found) == told(expected)


def test_heads_have_a_vector_each(tiny):
    rng = np.random.default_rng(2)
    vectors = {"h.0.attn.z": rng.standard_normal((3, 5)), "h.1.resid_post": rng.integers(-3, 4, 15)}
    found = tiny.steer(IDS, vectors, 2, max_new_tokens=6, logprobs=0)
    z, post = vectors["h.0.attn.z"].astype(np.float32), vectors["h.1.resid_post"].astype(np.float32)
    with nextword.trace(tiny, [], replace={"h.0.attn.z": lambda x: x + 2 * z[:, None], "h.1.resid_post":
                                           lambda x: x + 2 * post}):  # fmt: skip
        assert told(found) == told(tiny.generate(IDS, max_new_tokens=6, logprobs=0))
    assert found.tokens != tiny.generate(IDS, max_new_tokens=6).tokens


@given(settings_of_rows())
def test_a_scale_of_0_gives_what_generate_gives(tiny, settings):
    found = tiny.steer(IDS, {"h.0.resid_post": np.ones(15)}, 0, **settings)
    assert told(found) == told(tiny.generate(IDS, **settings))


def test_the_model_is_as_before_afterwards(tiny):
    vectors = {"h.0.resid_post": np.ones(15)}
    session, before = tiny.session(IDS), tiny.logits(IDS)
    tiny.steer(IDS, vectors, 50, max_new_tokens=4)
    with pytest.raises(ValueError, match="max_new_tokens"):
        tiny.steer(IDS, vectors, max_new_tokens=-1)
    np.testing.assert_array_equal(tiny.logits(IDS), before)
    assert session.generate(max_new_tokens=4).tokens == tiny.generate(IDS, max_new_tokens=4).tokens


def test_batches_and_numbers_of_results_are_those_of_generate(tiny):
    vectors = {"h.0.resid_post": np.arange(15)}
    both = tiny.steer([IDS, [3]], vectors, max_new_tokens=3, logprobs=0)
    alone = [tiny.steer(ids, vectors, max_new_tokens=3, logprobs=0) for ids in (IDS, [3])]
    assert [told(one) for one in both] == [told(one) for one in alone]
    assert len(tiny.steer(IDS, vectors, max_new_tokens=3, n=2, temperature=1, seed=1)) == 2


@pytest.mark.parametrize(("vectors", "scale", "error", "message"), [
    ({}, 1, TypeError, "steer: vectors must map names of activations to vectors, got {}"),
    ([1], 1, TypeError, "steer: vectors must map names of activations to vectors, got [1]"),
    ({"h.9.resid_post": np.ones(15)}, 1, ValueError, "steer: vectors must name activations with a row for each "),
    ({"h.0.attn.weights": np.ones(5)}, 1, ValueError, "steer: vectors must name activations with a row for each token"),
    ({"h.0.resid_post": np.ones(14)}, 1, ValueError, "steer: the vector of h.0.resid_post must be numbers [15], got "
     "float64 [14]"),
    ({"h.0.attn.z": np.ones(15)}, 1, ValueError, "steer: the vector of h.0.attn.z must be numbers [3, 5], got float64"),
    ({"h.0.resid_post": ["a"] * 15}, 1, ValueError, "steer: the vector of h.0.resid_post must be numbers [15], got "),
    ({"h.0.resid_post": np.ones(15)}, np.inf, ValueError, "steer: scale must be a finite number, got inf"),
    ({"h.0.resid_post": np.ones(15)}, "4", ValueError, "steer: scale must be a finite number, got '4'"),
])  # fmt: skip
def test_errors_name_the_argument(tiny, vectors, scale, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        tiny.steer(IDS, vectors, scale)
