"""explain.py: the reasons agree with the rules, with the filters and with the choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import Sampling
from nextword.decoding.explain import Step
from nextword.decoding.rules import Rules
from nextword.decoding.sampling import choose, probabilities, uniform

VOCABULARY = 30
logit_rows = st.lists(st.floats(-9, 9, width=32), min_size=VOCABULARY, max_size=VOCABULARY, unique=True).map(np.float32)
filters = st.builds(
    dict,
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    top_k=st.sampled_from([0, 5, 12]),
    top_p=st.sampled_from([1.0, 0.9, 0.5]),
    min_p=st.sampled_from([0.0, 0.05, 0.3]),
    typical_p=st.sampled_from([1.0, 0.9, 0.4]),
)
rules = st.builds(
    dict,
    logit_bias=st.sampled_from([None, {3: 2.5, 4: -1.0}]),
    repetition_penalty=st.sampled_from([1.0, 1.5]),
    frequency_penalty=st.sampled_from([0.0, 0.7]),
    bad_words=st.sampled_from([(), ((5,), (6,))]),
)


def explained(logits, settings, top=VOCABULARY, **more):
    settings = Sampling(**settings)
    final, edits = Rules(settings, VOCABULARY)(logits, np.array([3, 8, 8]), np.array([3, 9, 9]))
    choice = choose(final, settings, 0, 3)
    return Step(logits, final, edits, settings, choice, top, 0.0, None, **more), final, settings


@given(logit_rows, filters, rules, st.integers(0, 2**32))
def test_candidates_agree_with_the_distribution(logits, filtered, ruled, seed):
    step, final, settings = explained(logits, {**filtered, **ruled, "seed": seed})
    assert sorted(c.token for c in step.candidates) == list(range(VOCABULARY))
    kept, p = probabilities(final, settings)
    by_token = {c.token: c for c in step.candidates}
    assert sorted(c.token for c in step.candidates if c.kept) == kept.tolist()
    for token, chance in zip(kept.tolist(), p.tolist(), strict=True):
        assert by_token[token].probability == pytest.approx(chance, rel=1e-5)
    assert sum(c.softmax for c in step.candidates) == pytest.approx(1, abs=1e-5)
    assert step.token in kept
    assert step.drawn == (None if filtered["temperature"] == 0 else uniform(seed, 0, 3))
    if step.drawn is not None:  # the kept tokens in order of id divide [0, 1); the number lies in the choice's part
        reached = np.cumsum(p)
        at = kept.tolist().index(step.token)
        assert reached[at] - p[at] - 1e-6 <= step.drawn <= reached[at] + 1e-6


@given(logit_rows, filters, rules)
def test_each_number_on_the_way_is_what_its_rule_made(logits, filtered, ruled):
    step, final, settings = explained(logits, {**filtered, **ruled})
    bias = {3: 2.5, 4: -1.0} if ruled["logit_bias"] else {}
    for c in step.candidates:
        assert c.logit == logits[c.token]
        assert c.biased == np.float32(logits[c.token] + np.float32(bias.get(c.token, 0)))
        banned = bool(ruled["bad_words"]) and c.token in (5, 6)
        assert (c.cut_by == "bad_words") == banned
        assert c.scaled == (-np.inf if banned else float(final[c.token]) / (settings.temperature or 1))
        if not banned:
            assert np.float32(c.penalised) == final[c.token]


@given(logit_rows, filters)
def test_the_rule_that_cut_a_token_is_the_first_that_does(logits, filtered):
    """Switching rules on one after the other, a token leaves with the rule that is told."""
    step, final, _ = explained(logits, filtered)
    if filtered["temperature"] == 0:
        assert {c.cut_by for c in step.candidates} == {None, "greedy"}
        return
    left = set(range(VOCABULARY))
    so_far = {"temperature": filtered["temperature"]}
    for rule in ("top_k", "top_p", "min_p", "typical_p"):
        so_far[rule] = filtered[rule]
        now = set(probabilities(final, Sampling(**so_far))[0].tolist())
        assert {c.token for c in step.candidates if c.cut_by == rule} == left - now, rule
        left = now


def test_candidates_are_the_best_before_and_after_the_rules_and_the_choice():
    logits = np.arange(VOCABULARY, dtype=np.float32)
    step, _, _ = explained(logits, {"logit_bias": {0: 100.0, 29: -100.0}}, top=2)
    assert {c.token for c in step.candidates} == {0, 28, 29}
    assert step.candidates[0].token == step.token == 0


def test_generate_explains_every_step(demo):
    plain = demo.generate("Once upon a time", max_new_tokens=5, temperature=1.0, seed=3)
    out = demo.generate("Once upon a time", max_new_tokens=5, temperature=1.0, seed=3, explain=True)
    assert out.tokens == plain.tokens
    assert plain.steps is None
    assert [s.token for s in out.steps] == out.tokens
    assert all(20 <= len(s.candidates) <= 41 for s in out.steps)
    assert "".join(c.text for s in out.steps for c in s.candidates if c.token == s.token) == out.text
    assert len(demo.generate("Once", max_new_tokens=1, explain=3).steps[0].candidates) == 3
    stream = demo.stream("Once upon a time", max_new_tokens=2, explain=4)
    list(stream)
    assert len(stream.steps) == len(stream.result.steps) == 2
    assert "token=" in repr(stream.steps[0])


@pytest.mark.parametrize("explain", [-1, 1.5, "yes"])
def test_a_wrong_explain_is_an_error(demo, explain):
    with pytest.raises(ValueError, match="generate: explain must be"):
        demo.generate("x", explain=explain)
