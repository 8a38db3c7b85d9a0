"""change.py: what is off is 0, the mean or another prompt's; before, after, divergence and movers by their formulas."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, tiny_config, token_ids

GIRL = "Once upon a time there was a little"
IDS = [5, 1, 36, 0, 5]


@pytest.fixture(scope="module")
def tiny():
    return LanguageModel(random_model(tiny_config()))


def last_logits(lm, ids, replace):
    with nextword.trace(lm, [], replace=replace):
        return lm.model([np.array(ids)], lm.model.cache(1, len(ids)))[-1]


def put(where, value):
    def change(x):
        x[where] = value
        return x

    return change


def test_each_part_is_off_where_it_is_said(tiny):
    """By functions that write zeros themselves."""
    change = tiny.ablate(IDS, heads=[(0, 1), (-1, -1), (0, 2), (0, 1)], attentions=[0], mlps=-1, neurons=(1, 3),
                         positions=[1, -1])
    rows = [1, len(IDS) - 1]
    expected = last_logits(tiny, IDS, {
        "h.0.attn.z": put(np.ix_([1, 2], rows), 0), "h.1.attn.z": put(np.ix_([2], rows), 0),
        "h.0.attn.out": put(rows, 0), "h.1.mlp.out": put(rows, 0), "h.1.mlp.act": put((rows, 3), 0)})  # fmt: skip
    np.testing.assert_array_equal(change.logits_after, expected)
    np.testing.assert_array_equal(change.logits_before, tiny.logits(IDS, last_only=True))
    assert change.tokens == tuple(IDS)


def test_the_mean_is_that_over_the_prompt(tiny):
    mean = tiny.inside(IDS)["h.1.attn.z"][1].mean(0, dtype=np.float64)
    expected = last_logits(tiny, IDS, {"h.1.attn.z": put((1, slice(None)), mean)})
    np.testing.assert_array_equal(tiny.ablate(IDS, heads=(1, 1), how="mean").logits_after, expected)


def test_values_may_be_those_of_another_prompt(tiny):
    other = tiny.inside([9, 9, 1, 2, 3])
    change = tiny.ablate(IDS, heads=[(1, 0), (1, 2)], neurons=(0, 4), positions=[0, 3, -2], how=other)
    z, act = other["h.1.attn.z"], other["h.0.mlp.act"]
    where, column = np.ix_([0, 2], [0, 3]), np.ix_([0, 3], [4])
    expected = last_logits(tiny, IDS, {"h.1.attn.z": put(where, z[where]), "h.0.mlp.act": put(column, act[column])})
    np.testing.assert_array_equal(change.logits_after, expected)
    own = tiny.ablate(IDS, heads=[(0, 0)], mlps=[1], how=tiny.inside(IDS))
    np.testing.assert_array_equal(own.logits_after, own.logits_before)
    assert own.kl == 0


@given(models(), st.data())
def test_interventions_are_what_inside_takes_and_json_tells(model, data):
    lm, ids = LanguageModel(model), data.draw(token_ids(model, most=9))
    how = data.draw(st.sampled_from(["zero", "mean"]))
    change = lm.ablate(ids, heads=[(-1, 0)], mlps=[0], positions=-1, how=how)
    told = [one.to_json() for one in change.interventions]
    rules = nextword.inside.rules.interventions(told)
    np.testing.assert_array_equal(lm.inside(ids, rules).logits[-1], change.logits_after)


@given(models(), st.data())
def test_all_heads_off_is_attention_of_the_bias_alone(model, data):
    """What zeros leave of the output projection."""
    lm, ids = LanguageModel(model), data.draw(token_ids(model, most=9))
    bias = model.blocks[0].attn_out.bias
    bias = np.zeros(model.width, np.float32) if bias is None else bias
    heads = lm.ablate(ids, heads=[(0, head) for head in range(model.heads)])
    expected = last_logits(lm, ids, {"h.0.attn.out": lambda x: np.broadcast_to(bias, x.shape)})
    np.testing.assert_array_equal(heads.logits_after, expected)


def test_probabilities_divergence_and_movers_follow_from_the_logits(tiny):
    change = tiny.ablate(IDS, attentions=1)
    for shown, logits in ((change.before, change.logits_before), (change.after, change.logits_after)):
        p = np.exp(logits.astype(np.float64) - logits.max())
        # exp and sum in float64 of 37 terms, logits below 16
        np.testing.assert_allclose(shown, p / p.sum(), rtol=64 * 2**-52 * 16)
    kl = np.sum(change.before * np.log(change.before / change.after))
    assert abs(change.kl - kl) <= 37 * 64 * 2**-52 * 16
    movers = change.movers(37)
    moves = np.abs(change.after - change.before)
    assert [abs(one.after - one.before) for one in movers] == sorted(moves, reverse=True)
    for one in movers:
        assert one.logit == float(change.logits_after[one.token]) - float(change.logits_before[one.token])
        assert change.logit(one.token) == one.logit
        assert one.text == f"[{one.token}]"


def test_the_demo_without_a_head_and_without_a_layers_attention(demo):
    """The lectures' prompt; see docs/inside.md."""
    head = demo.ablate(GIRL, heads=[(3, 2)])
    first, second = np.argsort(-head.before)[:2].tolist()
    tokens = [demo.tokenizer.decode([one]) for one in (first, second)]
    assert tokens == [" girl", " boy"]
    assert [round(float(head.before[one]), 4) for one in (first, second)] == [0.0727, 0.0687]
    assert round(head.logit(" girl"), 2) == 0.79
    layer = demo.ablate(GIRL, attentions=[3])
    assert demo.tokenizer.decode([int(layer.after.argmax())]) == " boy"
    assert repr(layer) == f"Change(' girl' -> ' boy', KL {layer.kl:.3g} nats)"
    shown = layer._repr_html_()
    assert "change of the probability" in shown
    assert "·boy" in shown
    assert f"KL {layer.kl:.4g} nats" in shown


@pytest.mark.parametrize(("settings", "error", "message"), [
    ({}, ValueError, "ablate: expected something to switch off, got no heads, attentions, mlps or neurons; pass "),
    ({"heads": [(2, 0)]}, IndexError, "ablate: layer of heads must be -2 .. 1, got 2"),
    ({"heads": [(0, 3)]}, IndexError, "ablate: heads must be -3 .. 2, got 3"),
    ({"heads": [3]}, TypeError, "ablate: heads must be pairs (layer, head), got [3]"),
    ({"heads": "ab"}, TypeError, "ablate: heads must be pairs (layer, head), got 'ab'"),
    ({"neurons": [(0, 23)]}, IndexError, "ablate: neurons must be -23 .. 22, got 23"),
    ({"mlps": [0.5]}, TypeError, "ablate: mlps must be an integer, got 0.5"),
    ({"mlps": 0, "positions": 5}, IndexError, "ablate: positions must be -5 .. 4, got 5"),
    ({"mlps": 0, "how": "one"}, ValueError, "ablate: how must be \"zero\", \"mean\" or an Inside, got 'one'"),
])  # fmt: skip
def test_errors_name_the_argument(tiny, settings, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        tiny.ablate(IDS, **settings)


def test_another_prompt_must_have_as_many_tokens(tiny):
    with pytest.raises(ValueError, match=r"^ablate: how must be an Inside of 5 tokens, as the prompt has, got 2; "):
        tiny.ablate(IDS, mlps=0, how=tiny.inside([1, 2]))
    with pytest.raises(ValueError, match=r"^ablate: prompt must be 1 \.\. 24 tokens"):
        tiny.ablate([], mlps=0)
