"""reference.py: the definition against its formulas, and its refusals. test_ops.py holds ops against it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nextword import ops, reference


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("pack", ["pack", "pack_transposed"])
@pytest.mark.parametrize(
    ("weight", "words"),
    [(np.zeros((0, 3), "f"), "empty"), (np.zeros((3, 0), "f"), "empty"), (np.float32([[1, np.nan]]), "finite"),
     (np.float32([[np.inf]]), "finite"),
     (np.zeros(3, "f"), "array|matrix"), (np.zeros((1, 2, 3), "f"), "array|matrix")],
)  # fmt: skip
def test_both_refuse_weights_that_are_no_finite_matrix(arithmetic, pack, weight, words):
    with pytest.raises(ValueError, match=words):
        getattr(arithmetic, pack)(weight)


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
def test_both_unpack_what_was_packed(arithmetic):
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(arithmetic.unpack(arithmetic.pack(w)), w)
    np.testing.assert_array_equal(arithmetic.unpack(arithmetic.pack_transposed(w)), w.T)


@pytest.mark.parametrize("x", [-9.0, -1.0, -0.125, 0.0, 0.5, 2.0, 30.0])
def test_an_activation_is_its_formula(x):
    formulas = {
        "gelu_tanh": x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "gelu_erf": x * 0.5 * math.erfc(-x / math.sqrt(2)),
        "quick_gelu": x / 2 * (1 + math.tanh(1.702 * x / 2)),  # the logistic function is (1 + tanh(x / 2)) / 2
        "relu": (x + abs(x)) / 2,
        "silu": x / 2 * (1 + math.tanh(x / 2)),
        "tanh": math.tanh(x),
    }
    for name, y in formulas.items():
        found = float(getattr(reference, name)(np.float32([[x]]))[0, 0])
        # one rounding to float32; 1 + tanh cancels where x < 0, in units of float64
        assert abs(found - y) <= 2**-24 * abs(y) + abs(x) * 2**-50, name
