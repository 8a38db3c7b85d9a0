"""The tokens that transformers' warpers keep, and their probabilities, are those of distribution."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bounds
from nextword import ops, reference

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
process = pytest.importorskip(
    "transformers.generation.logits_process", reason='needs transformers: pip install "nextword[parity]"'
)

# Two OpenMP runtimes, torch's and ours, would wait for each other's threads on a small machine.
torch.set_num_threads(1)


def theirs(logits, temperature, top_k, top_p, min_p, typical_p, dtype):
    """(ids, probabilities) by transformers' warpers in the order of the rules."""
    warpers = [process.TemperatureLogitsWarper(temperature)]
    if top_k:
        warpers.append(process.TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(process.TopPLogitsWarper(top_p))
    if min_p:
        warpers.append(process.MinPLogitsWarper(min_p))
    if typical_p < 1:
        warpers.append(process.TypicalLogitsWarper(typical_p))
    scores = torch.tensor(logits, dtype=dtype)[None]
    for warper in warpers:
        scores = warper(None, scores)
    p = torch.softmax(scores, -1)[0].numpy().astype(np.float64)
    ids = np.flatnonzero(np.isfinite(scores[0].numpy()))
    return ids, p[ids]


RULES = {
    "temperature": (0.7, 0, 1.0, 0.0, 1.0),
    "top_k": (0.8, 40, 1.0, 0.0, 1.0),
    "top_p": (1.0, 0, 0.9, 0.0, 1.0),
    "min_p": (1.0, 0, 1.0, 0.05, 1.0),
    "typical_p": (1.0, 0, 1.0, 0.0, 0.9),
    "all": (0.8, 50, 0.9, 0.02, 0.9),
    "all, hot": (2.5, 300, 0.8, 0.001, 0.5),
}


def same_or_short_of_a_bound(ids, expected_ids, logits, rules):
    """Whether two sets are equal, or differ by what the bounds' slack allows: `reference` has the rule."""
    if np.array_equal(ids, expected_ids):
        return True
    n, (temperature, _, top_p, min_p, typical_p) = len(logits), rules
    slack = bounds.U * (1 + math.log(n))
    apart = np.setxor1d(ids, expected_ids)
    shares = [(*rules[:2], top_p + by if top_p < 1 else 1.0, min_p, typical_p + by if typical_p < 1 else 1.0)
              for by in (-slack, slack)]
    least, most = (reference.distribution(logits, *rule, False)[0] for rule in shares)
    near_min_p = min_p and np.abs((logits[apart] - logits.max()) / temperature - math.log(min_p)).max() < 4 * slack
    return near_min_p or bool(np.isin(apart, np.setxor1d(least, most)).all())


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 50, 1000, 50257]), st.sampled_from([0.1, 1, 4]))
def test_distribution_is_transformers(isa, rules, seed, n, spread):
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal(n) * spread).astype(np.float32)
    expected_ids, expected = theirs(logits, *rules, torch.float64)
    ids, p, _ = ops.distribution(logits, *rules, False)
    assert same_or_short_of_a_bound(ids, expected_ids, logits, rules)
    if np.array_equal(ids, expected_ids):
        d = logits[ids].astype(np.float64) / rules[0]
        error = expected * bounds.shares(d - d.max()) + bounds.FLUSHED + 2.0**-40 * expected
        assert (np.abs(p - expected) <= error).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bound_that_a_sum_is_exactly_keeps_what_theirs_keeps_but_for_the_rounding_of_theirs(isa, dtype):
    """Four tokens in twentieths: at the bound itself their rounded sum may miss it, and then they keep one more."""
    more = exact = 0
    for counts in itertools.combinations_with_replacement(range(17, 0, -1), 4):
        if sum(counts) != 20:
            continue
        logits, sums = np.log(np.array(counts) / 20).astype(np.float32), np.cumsum(counts)
        for share in range(1, 40):  # of 40: every second one is a sum that can be exact
            rules = (1.0, 0, share / 40, 0.0, 1.0)
            ids, theirs_ids = ops.distribution(logits, *rules, False)[0].tolist(), theirs(logits, *rules, dtype)[0]
            assert ids == list(range(int(np.searchsorted(sums * 2, share)) + 1))
            if share in sums * 2 and len(set(counts)) == 4:  # of equal tokens theirs may keep another
                exact += 1
                more += len(theirs_ids) == len(ids) + 1
                assert theirs_ids.tolist() in (ids, [*ids, len(ids)])
            elif len(set(counts)) == 4:
                assert theirs_ids.tolist() == ids
    assert exact > 20
    assert more < exact / 2


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7])
def test_ties_at_the_k_th_logit_stay_as_theirs(isa, k):
    logits = np.float32([1, 2, 2, 0, 2, 1, -np.inf])
    rules = (1.0, k, 1.0, 0.0, 1.0)
    assert ops.distribution(logits, *rules, False)[0].tolist() == theirs(logits, *rules, torch.float32)[0].tolist()


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
def test_the_reference_is_transformers(rules):
    for seed in range(10):
        logits = (np.random.default_rng(seed).standard_normal(2000) * 3).astype(np.float32)
        ids, p, _ = reference.distribution(logits, *rules, False)
        expected_ids, expected = theirs(logits, *rules, torch.float64)
        assert np.array_equal(ids, expected_ids)
        np.testing.assert_allclose(p, expected, rtol=1e-10)
