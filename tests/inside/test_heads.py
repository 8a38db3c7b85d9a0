"""heads.py: places by their definition, and the mean of the weights on them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.inside.heads import KINDS, heads, looked_at
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, tiny_config


def by_definition(kind, ids, i, j):
    """Whether a head of this kind looks from token i at token j."""
    return j < i and {
        "previous": j == i - 1,
        "first": j == 0,
        "duplicate": ids[j] == ids[i],
        "induction": j > 0 and ids[j - 1] == ids[i],
    }[kind]


@given(st.sampled_from(KINDS), st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_places_are_those_of_the_definition(kind, ids):
    expected = [[by_definition(kind, ids, i, j) for j in range(len(ids))] for i in range(len(ids))]
    np.testing.assert_array_equal(looked_at(kind, np.array(ids)), expected)


@given(models(), st.sampled_from(KINDS), st.integers(0, 3))
def test_scores_are_means_of_the_weights_on_the_places(model, kind, seed):
    ids = np.random.default_rng(seed).integers(0, min(3, model.vocabulary), model.limit)
    ids[-1] = ids[0]  # so that at least one token has a place of each kind
    places = looked_at(kind, ids)
    found = heads(LanguageModel(model), kind, ids)
    assert found.tokens == tuple(ids.tolist())
    with nextword.trace(model, "h.*.attn.weights") as t:
        model([ids], model.cache(1))
    for layer in range(model.layers):
        weights = t[f"h.{layer}.attn.weights"].astype(np.float64)
        for head in range(model.heads):
            each = [weights[head, i, places[i]].sum() for i in range(len(ids)) if places[i].any()]
            # float64 sums of at most 70 weights, 1 together, in another order
            assert abs(found.values[layer, head] - np.mean(each)) <= 70 * 2**-52
    assert (found.values >= 0).all()
    assert (found.values <= 1 + 1e-5).all()


def test_without_a_text_drawn_tokens_stand_there_twice(demo):
    one, two = demo.heads("induction", seed=1), demo.heads("induction", seed=1)
    np.testing.assert_array_equal(one.values, two.values)
    assert one.tokens[:50] == one.tokens[50:] != demo.heads("induction").tokens[:50]
    small = LanguageModel(random_model(tiny_config(n_positions=5)))
    assert len(small.heads("duplicate").tokens) == 4
    assert demo.heads("duplicate", one.tokens).values.tolist() == demo.heads("duplicate", seed=1).values.tolist()


def test_the_demo_has_no_induction_head(demo):
    assert demo.heads("induction").values.max() < 0.1 < demo.heads("previous").values.max()


def test_results_show_themselves(demo):
    found = demo.heads("first")
    assert "attention to the first token" in found._repr_html_()
    assert repr(found) == "HeadScores(attention to the first token: 4 layers x 4 heads, mean weight)"


@pytest.mark.parametrize(("settings", "message"), [
    ({"kind": "last"}, "heads: kind must be one of previous, first, duplicate, induction, got 'last'"),
    ({"seed": -1}, "heads: seed must be an integer >= 0, got -1"),
    ({"kind": "duplicate", "text": [1, 2, 3]}, "heads: text must hold a token that looks at earlier tokens that are "
     "the same, got 3 tokens without one; take a longer text that repeats itself, or None"),
    ({"text": [7]}, "heads: text must hold a token that looks at the token before, got 1 tokens without one"),
    ({"text": []}, "heads: prompt must be 1 .. 512 tokens"),
])  # fmt: skip
def test_errors_name_the_argument(demo, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        demo.heads(**settings)
