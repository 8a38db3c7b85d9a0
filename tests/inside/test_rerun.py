"""rerun.py: a changed pass has the bits of a whole one, whatever stands beside it, and computes no layer below."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.inside.rerun import MOST, Rerun, bounded, counted
from nextword.inside.rules import Mean, Scale
from strategies import models, random_model, tiny_config, token_ids

IDS = [5, 1, 36, 0, 5]
NAMES = ("resid_pre", "attn.q", "attn.k", "attn.v", "attn.scores", "attn.weights", "attn.z", "attn.out", "resid_mid",
         "mlp.act", "mlp.out", "resid_post")  # fmt: skip


def halved(name):
    return [Scale(name, factor=0.5)]


def whole(model, ids, variant):
    """The logits behind the last token of a pass from the first layer on, changed through a trace."""
    with nextword.trace(model, [], replace=variant):
        return model([np.array(ids)], model.cache(1, len(ids)))[-1]


@st.composite
def cases(draw):
    """A model, a prompt and some variants of it."""
    model = draw(models())
    ids = draw(token_ids(model, most=9))
    layers = st.integers(0, model.layers - 1)
    names = st.builds(lambda layer, name: f"h.{layer}.{name}", layers, st.sampled_from(NAMES))
    names = st.one_of(names, st.sampled_from(["embed", "ln_f", "logits"]))
    where = st.fixed_dictionaries({"factor": st.just(0.5), "positions": st.sampled_from([None, [0], [-1]])})
    variant = st.lists(st.builds(lambda name, more: Scale(name, **more), names, where), max_size=3)
    return model, ids, draw(st.lists(variant, min_size=1, max_size=5))


@given(cases())
def test_a_changed_pass_has_the_bits_of_a_whole_one(case):
    model, ids, variants = case
    for variant, found in zip(variants, Rerun("test", model, ids).changed(variants), strict=True):
        np.testing.assert_array_equal(found, whole(model, ids, variant))


@given(cases())
def test_logits_and_kept_activations_are_those_of_a_plain_pass(case):
    model, ids, _ = case
    names = [f"h.{layer}.{name}" for layer in range(model.layers) for name in NAMES]
    found = Rerun("test", model, ids, names)
    with nextword.trace(model, names) as t:
        np.testing.assert_array_equal(found.logits, model([np.array(ids)], model.cache(1, len(ids)))[-1])
    assert list(found.kept) == list(t)
    for name in names:
        np.testing.assert_array_equal(found.kept[name], t[name])


@pytest.mark.parametrize(("name", "first"), [("embed", 0), ("h.0.attn.z", 0), ("h.2.mlp.act", 2), ("logits", 4)])
def test_layers_below_a_change_are_not_computed_again(monkeypatch, name, first):
    model = random_model(tiny_config(n_layer=4))
    rerun = Rerun("test", model, IDS)
    computed, block = [], model.block
    monkeypatch.setattr(model, "block", lambda layer, *more: computed.append(layer) or block(layer, *more))
    assert len(list(rerun.changed([halved(name)] * 3))) == 3
    assert computed == [*range(first, 4)]  # the three of them at once


def test_several_rules_of_one_activation_follow_one_another():
    model, name = random_model(tiny_config()), "h.1.mlp.out"
    rules = [Scale(name, positions=[0], factor=3), Mean(name)]
    rerun = Rerun("test", model, IDS)
    one, other = rerun.changed([rules, rules[::-1]])
    np.testing.assert_array_equal(one, whole(model, IDS, rules))
    np.testing.assert_array_equal(other, whole(model, IDS, rules[::-1]))
    assert (one != other).any()


def test_long_prompts_go_alone_and_short_ones_together(monkeypatch):
    model = random_model(tiny_config(n_layer=1, n_positions=600))
    sizes, block = [], model.block
    long, short = Rerun("test", model, [1] * 600), Rerun("test", model, [1] * 100)
    monkeypatch.setattr(model, "block", lambda layer, x, *more: sizes.append(len(x)) or block(layer, x, *more))
    many = [halved("h.0.attn.z")] * 7
    alone = list(long.changed(many[:2]))
    together = list(short.changed(iter(many)))
    assert sizes == [600, 600, 500, 200]
    np.testing.assert_array_equal(alone[0], alone[1])
    assert all(np.array_equal(one, together[0]) for one in together)


def test_within_a_trace_that_replaces_it_refuses_and_within_another_it_works(demo):
    plain = Rerun("ablate", demo.model, [5, 7]).logits
    with nextword.trace(demo, "*") as t:
        np.testing.assert_array_equal(Rerun("ablate", demo.model, [5, 7]).logits, plain)
    assert len(t) == 0
    with (pytest.raises(RuntimeError, match=r"^ablate: it must stand outside of a trace that replaces activations"),
          nextword.trace(demo, [], replace=halved("h.0.attn.out"))):
        Rerun("ablate", demo.model, [5, 7])


def test_what_a_scan_may_send_through_the_model_is_bounded():
    bounded("patch", MOST // 8, 8, "shorten it")
    with pytest.raises(ValueError, match=r"^patch: expected 1,048,576 tokens .* got 131,073 runs of 8, .*; shorten it"):
        bounded("patch", MOST // 8 + 1, 8, "shorten it")


def test_progress_is_told_as_each_is_there():
    seen = []
    assert list(counted([1, 2], 2, lambda *both: seen.append(both))) == [1, 2]
    assert seen == [(1, 2), (2, 2)]
