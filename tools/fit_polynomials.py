"""Print the polynomials of csrc/kernels/elementwise.h with their largest relative errors (needs scipy).

exp(r) on |r| <= ln(2) / 2, erfcx(z) = exp(z^2) erfc(z) on z >= 0 as a polynomial in t = 1 / (1 + z / 2), and p in
tanh(x) = x + x z p(z), z = x^2, on |x| <= 5/8.
Each is a Chebyshev fit of the function divided by itself, so that the error is spread evenly in relative terms.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from scipy.special import erfcx


def fit(function: Callable[[np.ndarray], np.ndarray], low: float, high: float, degree: int) -> np.ndarray:
    """Coefficients, lowest power first, of the polynomial nearest to `function` on [low, high] in relative error."""
    nodes = np.cos(np.pi * (np.arange(4000) + 0.5) / 4000)
    at = (high + low) / 2 + (high - low) / 2 * nodes
    weight = np.ones_like(at)
    for _ in range(200):  # Lawson's reweighting turns least squares into minimax
        series = chebyshev.chebfit(nodes, function(at), degree, w=np.sqrt(weight) / np.abs(function(at)))
        error = np.abs(chebyshev.chebval(nodes, series) / function(at) - 1)
        weight = weight * error
        weight /= weight.sum()
    inner = chebyshev.cheb2poly(series)
    shift = np.array([-(high + low) / (high - low), 2 / (high - low)])
    result = np.zeros(1)
    for c in inner[::-1]:
        result = polynomial.polyadd(polynomial.polymul(result, shift), [c])
    return result


def report(name: str, function: Callable[[np.ndarray], np.ndarray], low: float, high: float, degree: int) -> None:
    """Print the float32 coefficients and the error that they leave in exact arithmetic."""
    rounded = fit(function, low, high, degree).astype(np.float32)
    at = np.linspace(low, high, 100001)
    error = np.abs(polynomial.polyval(at, rounded.astype(np.float64)) / function(at) - 1).max()
    print(name, f"largest relative error {error:.2e}")
    print("  {" + ", ".join(f"{c:.9g}f" for c in rounded) + "}")


def tanh_rest(z: np.ndarray) -> np.ndarray:
    """(tanh(x) / x - 1) / x^2 of z = x^2; its series where the difference would cancel."""
    x = np.sqrt(z)
    series = -1 / 3 + z * (2 / 15 + z * (-17 / 315 + z * (62 / 2835 - z * 1382 / 155925)))
    return np.where(z < 1e-3, series, (np.tanh(x) / np.maximum(x, 1e-9) - 1) / np.maximum(z, 1e-9))


if __name__ == "__main__":
    half = np.log(2) / 2 + 1e-4
    report("exp", np.exp, -half, half, 6)
    report("erfcx", lambda t: erfcx(2 / t - 2), 1 / 8.5, 1.0, 10)
    report("tanh", tanh_rest, 0.0, 25 / 64, 4)
