"""log_probabilities: one operation for all log-probabilities, against its definition, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import cpu, ops, reference


@st.composite
def cases(draw):
    """Logits of some rows, each with a finite one, targets (one of each row, or several), and how many of the best."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, size = draw(st.integers(0, 9)), draw(st.one_of(st.integers(1, 70), st.sampled_from([511, 513, 4099])))
    spread, place = draw(st.sampled_from([0.0, 1e-42, 1, 30, 1e4])), draw(st.sampled_from([0, -99]))
    x = rng.standard_normal((rows, size)) * spread + place
    if draw(st.booleans()):
        x = np.round(x)  # equals
    if draw(st.booleans()):
        x[:, 1:][rng.random((rows, size - 1)) < draw(st.sampled_from([0.1, 1]))] = -np.inf
    shape = draw(st.sampled_from([(rows,), (rows, 1), (rows, 3), (rows, 0)]))
    return x.astype(np.float32), rng.integers(0, size, shape), draw(st.sampled_from([0, 1, 5, 70, 5000]))


def bits(found):
    return [(x.dtype, x.shape, x.tobytes()) for x in found]


@given(cases())
def test_log_probabilities_are_within_the_bound_of_their_sum(isa, case):
    """log_sum_exp's bound (exponentials off by 2 units, a sum of n by n / 16 + 4 more), and a difference's rounding."""
    logits = case[0]
    found, exact = ops.log_probabilities(*case), reference.log_probabilities(*case)
    assert [(x.dtype, x.shape) for x in found] == [(x.dtype, x.shape) for x in exact]
    assert np.array_equal(found[1], exact[1])
    for values, expected in ((found[0], exact[0]), (found[2], exact[2])):
        finite = np.isfinite(expected)
        assert np.array_equal(values[~finite], expected[~finite])  # -inf
        largest = np.abs(logits[np.isfinite(logits)].astype(np.float64)).max(initial=0)
        sums = largest + np.log(logits.shape[1])  # |log_sum_exp| at most
        bound = 2.0**-52 * (2 * (5 + logits.shape[1]) + sums) + 2.0**-52 * np.abs(expected[finite])
        assert (np.abs(values[finite] - expected[finite]) <= bound).all()


@given(cases(), st.integers(1, 3))
def test_the_bits_are_those_of_any_instruction_set_and_thread_count_and_of_the_row_alone(isa, threads, case, count):
    logits, targets, top = case
    whole = ops.log_probabilities(*case)
    threads(count)
    assert bits(ops.log_probabilities(*case)) == bits(whole)
    cpu.set_isa("baseline")
    assert bits(ops.log_probabilities(*case)) == bits(whole)
    cpu.set_isa(isa)
    for i in range(len(logits)):
        alone = ops.log_probabilities(logits[i : i + 1], targets[i : i + 1], top)
        assert bits(alone) == bits([x[i : i + 1] for x in whole])


@given(cases())
def test_each_number_is_the_logit_less_log_sum_exp(isa, case):
    logits, targets, top = case
    of_targets, ids, values = ops.log_probabilities(*case)
    for i, row in enumerate(logits):
        expected = row.astype(np.float64) - ops.log_sum_exp(row)
        assert np.array_equal(of_targets[i], expected[targets[i]])
        assert np.array_equal(values[i], expected[ids[i]])
        assert np.array_equal(ids[i], ops.top(row, top))


def test_many_rows_are_divided_over_threads_with_the_same_bits(isa, threads):
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((33, 50257)).astype(np.float32), rng.integers(0, 50257, 33)
    threads(1)
    alone = ops.log_probabilities(logits, targets, 20)
    threads(3)
    assert bits(ops.log_probabilities(logits, targets, 20)) == bits(alone)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("arithmetic", [ops, reference])
def test_a_row_without_a_distribution_is_one_clear_error(isa, threads, bad, count, arithmetic):
    threads(count)
    for at in (0, 5, 39):
        logits = np.zeros((40, 5000), np.float32)
        logits[at] = bad
        with pytest.raises(ValueError, match=rf"^sampling: the largest logit must be finite .* got {bad} among 5000 "
                           "logits of log_probabilities; pass finite logits"):
            arithmetic.log_probabilities(logits, np.zeros(40, np.int64), 1)


def test_the_first_row_that_is_wrong_is_the_one_that_is_told_of(isa, threads):
    threads(3)
    logits = np.zeros((64, 5000), np.float32)
    logits[9:, 3] = np.nan
    logits[7, 3] = np.inf
    for _ in range(9):
        with pytest.raises(ValueError, match="got inf among"):
            ops.log_probabilities(logits, np.zeros(64, np.int64))


@pytest.mark.parametrize("wrong", [-1, 5, 2**40, -(2**63)])
@pytest.mark.parametrize("arithmetic", [ops, reference])
def test_targets_outside_of_the_vocabulary_are_an_error(wrong, arithmetic):
    with pytest.raises(IndexError, match=r"sampling: log_probabilities: targets must be 0 .. 4"):
        arithmetic.log_probabilities(np.zeros((3, 5), np.float32), np.array([0, 4, wrong]))


@pytest.mark.parametrize(("logits", "targets", "top", "kind", "message"), [
    (np.zeros((2, 3)), np.zeros(2, np.int64), 0, ValueError, r"float32 \[rows, vocabulary\], got float64"),
    (np.zeros(3, "f"), np.zeros(1, np.int64), 0, ValueError, r"float32 \[rows, vocabulary\], got float32"),
    (np.zeros((2, 6), "f")[:, ::2], np.zeros(2, np.int64), 0, ValueError, r"logits must be float32"),
    (np.zeros((2, 3), "f"), np.zeros(3, np.int64), 0, ValueError, r"targets must be int64 \[2\], got int64 \[3\]"),
    (np.zeros((2, 3), "f"), np.zeros((3, 1), np.int64), 0, ValueError, r"targets must be int64 \[2, targets\], got"),
    (np.zeros((2, 3), "f"), np.zeros(2, np.int32), 0, ValueError, r"targets must be int64 \[2\], got int32"),
    (np.zeros((2, 3), "f"), [0, 1], 0, ValueError, r"targets must be int64 \[2\], got list"),
    (np.zeros((2, 3), "f"), np.zeros(2, np.int64), -1, ValueError, "top must be 0 or more, got -1"),
    (np.zeros((2, 3), "f"), np.zeros(2, np.int64), 1.5, TypeError, "log_probabilities: top must be int, got float"),
    (np.zeros((2, 0), "f"), np.zeros((2, 0), np.int64), 0, ValueError, "got -inf among 0 logits"),
])  # fmt: skip
def test_other_arguments_are_one_clear_error(logits, targets, top, kind, message):
    with pytest.raises(kind, match=message):
        ops.log_probabilities(logits, targets, top)
