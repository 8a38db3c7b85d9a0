"""The bounds of nextword.arithmetic.bounds, that of the NumPy twin, and what compares a result with them."""

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.bounds import *  # noqa: F403
from nextword.arithmetic.bounds import TINY, U

Array = NDArray[np.float64]

ACTIVATIONS = ("gelu_tanh", "gelu_erf", "quick_gelu", "relu", "silu", "tanh")


def rounded(exact: Array) -> Array:
    """What rounding the exact result to float32 adds."""
    return U * np.abs(exact) + TINY


def check(got: NDArray[np.float32], exact: Array, bound: Array, what: str) -> None:
    """Assert that every element lies within its bound."""
    error = np.abs(got.astype(np.float64) - exact)
    excess = error - bound
    at = np.unravel_index(np.argmax(excess), excess.shape) if excess.size else None
    assert at is None or not excess[at] > 0, (
        f"{what}: {got[at]} instead of {exact[at]}, error {error[at]:.3g} > {bound[at]:.3g}"
    )
    assert np.isfinite(error).all(), f"{what}: not finite"
