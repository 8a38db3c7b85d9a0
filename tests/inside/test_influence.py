"""influence.py: values against prompts that are written and read as described; sums, draws, errors."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.decoding.sampling import log_probabilities
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, tiny_config, token_ids

IDS = [5, 1, 36, 0, 5]


@pytest.fixture(scope="module")
def tiny():
    return LanguageModel(random_model(tiny_config(eos_token_id=2, bos_token_id=9)))


def logprob(lm, ids, target):
    return float(log_probabilities(lm.logits(ids, last_only=True), np.array([target]))[0])


@given(models(), st.data())
def test_occlusion_is_what_the_prompt_with_another_token_gives(model, data):
    lm, ids = LanguageModel(model), data.draw(token_ids(model, most=12))
    target, baseline = (data.draw(st.integers(0, model.vocabulary - 1)) for _ in range(2))
    found = lm.influence(ids, "occlusion", target, baseline=baseline)
    changed = [[*ids[:i], baseline, *ids[i + 1 :]] for i in range(len(ids))]
    assert found.values.tolist() == [logprob(lm, ids, target) - logprob(lm, one, target) for one in changed]
    assert (found.whole, found.exact, found.baseline) == (logprob(lm, ids, target), True, baseline)


@given(models(), st.data())
def test_value_zeroing_is_what_a_trace_without_the_values_gives(model, data):
    lm, ids = LanguageModel(model), data.draw(token_ids(model, most=8))
    target = data.draw(st.integers(0, model.vocabulary - 1))
    found = lm.influence(ids, "value_zeroing", target, measure="logit")
    for i in range(len(ids)):
        def zero(v, i=i):
            v[:, i] = 0
            return v

        replace = {f"h.{layer}.attn.v": zero for layer in range(model.layers)}
        with nextword.trace(model, [], replace=replace):
            changed = float(lm.logits(ids, last_only=True)[target])
        assert found.values[i] == found.whole - changed
    assert found.baseline is None


@given(models(), st.data())
def test_shapley_values_sum_to_the_prompt_less_one_of_baselines(model, data):
    lm, ids = LanguageModel(model), data.draw(token_ids(model, most=6))
    target = data.draw(st.integers(0, model.vocabulary - 1))
    evaluations = data.draw(st.sampled_from([64, 12]))
    found = lm.influence(ids, "shapley", target, baseline=0, evaluations=evaluations, measure="logit")
    whole, none = (float(lm.logits(one, last_only=True)[target]) for one in (ids, [0] * len(ids)))
    assert found.whole == whole
    # float64: of each of at most 6 values at most 64 differences of logits below 100
    assert abs(found.values.sum() - (whole - none)) <= 6 * 64 * 100 * 2**-52
    assert found.exact == (2 ** len(ids) <= evaluations)
    assert found.evaluations <= evaluations
    same = [i for i, one in enumerate(ids) if one == 0]
    assert np.abs(found.values[same]).max(initial=0) == 0  # a token that is the baseline adds nothing, in no order


def test_exact_values_are_those_of_the_definition_for_two_tokens(tiny):
    first, second = 5, 7
    a, b, both, none = (logprob(tiny, ids, 3) for ids in ([first, 9], [9, second], [first, second], [9, 9]))
    found = tiny.influence([first, second], "shapley", 3)
    expected = [(a - none + both - b) / 2, (b - none + both - a) / 2]
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=8 * 20 * 2**-52)  # sums of 4 numbers below 20
    assert (found.evaluations, found.baseline) == (4, 9)


def test_drawn_values_lie_near_the_exact_ones_and_say_how_near(demo):
    text = "Once upon a time there"
    exact = demo.influence(text, "shapley")
    drawn = demo.influence(text, "shapley", evaluations=30, seed=4)
    again = demo.influence(text, "shapley", evaluations=30, seed=4)
    assert exact.exact
    assert not drawn.exact
    assert not exact.errors.any()
    assert (drawn.errors >= 0).all()
    np.testing.assert_array_equal(drawn.values, again.values)
    many = demo.influence([*exact.tokens, 300, 301, 302, 303, 304, 305], "shapley", 7, evaluations=1400)
    every = demo.influence(many.tokens, "shapley", 7, evaluations=2**11 if len(many.tokens) == 11 else 2**12)
    assert every.exact
    assert not many.exact
    assert (np.abs(many.values - every.values) <= 6 * many.errors).all()  # 6 standard errors of over 100 orders


def test_long_prompts_are_read_in_groups_with_the_same_bits(demo):
    ids = np.random.default_rng(0).integers(1, 4000, 60).tolist()
    found = demo.influence(ids, "occlusion", 7)
    for i in (0, 7, 8, 59):  # 512 // 60 are read together
        assert found.values[i] == logprob(demo, ids, 7) - logprob(demo, [*ids[:i], 0, *ids[i + 1 :]], 7)


def test_numbers_may_be_numpys(tiny):
    found = tiny.influence(IDS, "shapley", np.int64(3), evaluations=np.int64(20), seed=np.int64(1))
    np.testing.assert_array_equal(found.values, tiny.influence(IDS, "shapley", 3, evaluations=20, seed=1).values)


def test_the_last_word_matters_most_in_the_demo(demo):
    found = demo.influence("Once upon a time there was a little")
    assert found.target_text == " girl"
    assert found.texts[int(found.values.argmax())] == " little"
    shown = found._repr_html_()
    assert "what each token adds for" in shown
    assert "·little" in shown
    assert "occlusion" in shown
    assert repr(found).startswith("Influence(occlusion of 9 tokens on ' girl', most ' little': ")
    drawn = demo.influence("Once upon a time there was a little", "shapley", evaluations=99)
    assert "drawn orders, standard error up to" in drawn._repr_html_()


@pytest.mark.parametrize("method", ["occlusion", "value_zeroing", "shapley"])
def test_progress_is_told(tiny, method):
    seen = []
    found = tiny.influence(IDS, method, progress=lambda *both: seen.append(both))
    total = 32 if method == "shapley" else 5  # 2 ** 5 sets of tokens, or each token once
    assert seen == [(done, total) for done in range(1, total + 1)]
    assert found.evaluations == total


@pytest.mark.parametrize(("settings", "error", "message"), [
    ({"method": "gradient"}, ValueError, "influence: method must be one of occlusion, value_zeroing, shapley, got "),
    ({"measure": "kl"}, ValueError, "influence: measure must be one of logit, logprob, got 'kl'"),
    ({"target": 37}, IndexError, "influence: target must be a token id 0 .. 36, got 37"),
    ({"baseline": -1}, IndexError, "influence: baseline must be a token id 0 .. 36, got -1"),
    ({"method": "shapley", "evaluations": 9}, ValueError, "influence: evaluations must be an integer of at least 10 "
     "for 5 tokens, got 9"),
    ({"method": "shapley", "evaluations": 1e3}, ValueError, "influence: evaluations must be an integer of at least 10"),
    ({"method": "shapley", "evaluations": 2**18, "prompt": list(range(20))}, ValueError, "influence: expected 1,048,576"
     " tokens through the model at most, got 262,144 runs of 20, which are 5,242,880; shorten the prompt, or lower "),
    ({"seed": -1}, ValueError, "influence: seed must be an integer >= 0, got -1"),
])  # fmt: skip
def test_errors_name_the_argument(tiny, settings, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        tiny.influence(**{"prompt": IDS, **settings})


def test_a_model_without_beginning_and_end_needs_a_baseline():
    lm = LanguageModel(random_model(tiny_config()))  # its beginning token would be beyond the vocabulary
    with pytest.raises(ValueError, match=r"^influence: baseline must be a token, got None, and this model has neither"):
        lm.influence(IDS)
    assert lm.influence(IDS, baseline=3).baseline == 3
    assert lm.influence(IDS, "value_zeroing").values.shape == (5,)
