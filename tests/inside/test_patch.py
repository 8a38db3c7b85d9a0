"""patch.py: what is patched where, exact restoration, all heads of a layer against the layer, errors."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.inside.patch import ATS, BY_HEAD
from nextword.inside.rerun import Rerun
from nextword.inside.rules import Value
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, tiny_config, token_ids

CLEAN, CORRUPTED = [5, 1, 36, 0, 5], [5, 2, 36, 7, 5]


@pytest.fixture(scope="module")
def tiny():
    return LanguageModel(random_model(tiny_config()))


@st.composite
def cases(draw):
    """A language model with two prompts of as many tokens, after which the first token has different logits."""
    model = draw(models())
    clean = draw(token_ids(model, most=8))
    corrupted = np.random.default_rng(draw(st.integers(0, 2**16))).integers(0, model.vocabulary, len(clean)).tolist()
    lm = LanguageModel(model)
    differ = lm.logits(clean, last_only=True) != lm.logits(corrupted, last_only=True)
    return (lm, clean, corrupted) if differ[0] else draw(cases())


def patched_by_a_function(lm, clean, corrupted, name, where, token=0):
    """The logit of a token when a function puts a part of the clean activation into the corrupted run."""
    source = lm.inside(clean)[name]

    def put(x):
        x[where] = source[where]
        return x

    with nextword.trace(lm, [], replace={name: put}):
        return float(lm.logits(corrupted, last_only=True)[token])


@given(cases(), st.sampled_from(ATS), st.sampled_from(["position", "head", "layer"]), st.data())
def test_each_entry_is_the_share_that_one_patch_restores(case, at, over, data):
    lm, clean, corrupted = case
    over = over if at in BY_HEAD or over != "head" else "layer"
    layer = data.draw(st.integers(0, lm.model.layers - 1))
    found = lm.patch(clean, corrupted, at, over, 0, layers=layer)
    whole, none = (float(lm.logits(ids, last_only=True)[0]) for ids in (clean, corrupted))
    assert (found.clean, found.corrupted) == (whole, none)
    for part in range(found.values.shape[1]):
        where = {"position": (..., part, slice(None)), "head": part, "layer": ...}[over]
        one = patched_by_a_function(lm, clean, corrupted, f"h.{layer}.{at}", where)
        assert found.values[0, part] == (one - none) / (whole - none)


@given(cases())
def test_all_heads_of_a_layer_patched_are_the_layer_patched_bit_for_bit(case):
    lm, clean, corrupted = case
    source, rerun = (Rerun("patch", lm.model, ids, [f"h.{layer}.attn.z" for layer in range(lm.model.layers)])
                     for ids in (clean, corrupted))  # fmt: skip
    by_head = [[Value(name, heads=[head], value=z[[head]]) for head in range(lm.model.heads)]
               for name, z in source.kept.items()]
    numbers = [float(logits[0]) for logits in rerun.changed(by_head)]
    for at in ("attn.z", "attn.out"):
        found = lm.patch(clean, corrupted, at, "layer", 0)
        expected = (np.array(numbers) - found.corrupted) / (found.clean - found.corrupted)
        np.testing.assert_array_equal(found.values[:, 0], expected)


@given(cases())
def test_everything_is_restored_by_all_that_the_last_token_knows_and_by_all_that_enters_a_layer(case):
    lm, clean, corrupted = case
    assert lm.patch(clean, corrupted, "resid_post", "position", 0).values[-1, -1] == 1
    assert (lm.patch(clean, corrupted, "resid_pre", "layer", 0).values == 1).all()


@given(cases())
def test_nothing_is_restored_where_both_prompts_have_the_same_tokens_so_far(case):
    lm, clean, corrupted = case
    corrupted[0] = clean[0]
    if (lm.logits(clean, last_only=True) != lm.logits(corrupted, last_only=True))[0]:
        assert not lm.patch(clean, corrupted, "resid_post", "position", 0).values[:, 0].any()


def test_two_tokens_are_measured_by_their_difference(tiny):
    found = tiny.patch(CLEAN, CORRUPTED, measure=(3, 4))
    for logits, number in ((tiny.logits(CLEAN), found.clean), (tiny.logits(CORRUPTED), found.corrupted)):
        assert number == float(logits[-1][3]) - float(logits[-1][4])


@given(cases())
def test_without_a_measure_the_most_probable_tokens_are_watched(case):
    lm, clean, corrupted = case
    best = tuple(dict.fromkeys(int(lm.logits(ids, last_only=True).argmax()) for ids in (clean, corrupted)))
    found = lm.patch(clean, corrupted)
    assert found.measure == best
    np.testing.assert_array_equal(found.values, lm.patch(clean, corrupted, measure=best).values)


def test_the_demo_carries_the_gender_from_the_noun_to_the_last_word(demo):
    """See docs/inside.md: it stands at the noun until the last layers bring it to the end."""
    found = demo.patch("The king said that", "The queen said that", measure=(" he", " she"))
    assert found.clean > 0 > found.corrupted
    noun = found.cols.index(" queen")
    assert found.values[0, noun] > 0.9
    assert found.values[0, -1] < 0.1
    assert found.values[-1, noun] == 0
    assert found.values[-1, -1] == 1
    by_head = demo.patch("The king said that", "The queen said that", "attn.z", "head", (" he", " she"))
    assert by_head.top_entries(1)[0][:2] == ("3", "1")
    assert by_head.values[3, 1] > 0.7
    assert "share restored" in found._repr_html_()
    assert "·queen" in found._repr_html_()
    assert repr(found) == ("Patching(resid_post taken from the clean prompt, for ' he' - ' she': 4 layers x 4 "
                           "positions, share restored)")  # fmt: skip


def test_progress_is_told(tiny):
    seen = []
    tiny.patch(CLEAN, CORRUPTED, "attn.z", "head", progress=lambda *both: seen.append(both))
    assert seen == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(("clean", "corrupted", "settings", "message"), [
    (CLEAN, CORRUPTED[:3], {}, "patch: clean and corrupted must have as many tokens, got 5 and 3; take words of"),
    (CLEAN, CLEAN, {"measure": 3}, "patch: measure must tell clean from corrupted, got "),
    (CLEAN, CLEAN, {"measure": (3, 4)}, "patch: measure must tell clean from corrupted, got "),
    (CLEAN, CORRUPTED, {"at": "z"}, "patch: at must be one of resid_pre, resid_mid, resid_post, attn.q, "),
    (CLEAN, CORRUPTED, {"over": "token"}, "patch: over must be one of position, head, layer, got 'token'"),
    (CLEAN, CORRUPTED, {"over": "head"}, "patch: at must be one of attn.q, attn.k, attn.v, attn.weights, attn.z for "
     "over=\"head\", got 'resid_post'; pass over="),
    (CLEAN, CORRUPTED, {"measure": (1, 1)}, "patch: measure must be one token or two different ones, got (1, 1)"),
    (CLEAN, CORRUPTED, {"measure": ()}, "patch: measure must be one token or two different ones, got ()"),
])  # fmt: skip
def test_errors_name_the_argument(tiny, clean, corrupted, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        tiny.patch(clean, corrupted, **settings)


def test_a_scan_that_would_take_too_long_is_refused_before(tiny, monkeypatch):
    monkeypatch.setattr(nextword.inside.rerun, "MOST", 49)
    with pytest.raises(ValueError, match=r"^patch: expected 49 tokens .* got 10 runs of 5, .*; pass fewer layers, or "):
        tiny.patch(CLEAN, CORRUPTED)
    assert tiny.patch(CLEAN, CORRUPTED, layers=1).values.shape == (1, 5)
