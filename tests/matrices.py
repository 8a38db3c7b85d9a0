"""Arrays that the tests of operations take: sizes around those of tiles and panels, numbers of several sizes, bits."""

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
# Around the panel (32), the tile (12) and the blocks (16 and 512 rows), and in between; 512 columns are spread.
rows_ = st.one_of(st.integers(1, 40), st.sampled_from([511, 512, 513]))
cols_ = st.one_of(st.integers(1, 70), st.sampled_from([96, 200, 512]))


def numbers(rng, *shape, outliers=0.0):
    """float32 values of several sizes, with zeros of both signs; outliers: the share of values 30 times as large."""
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 3)
    if outliers:
        x[rng.random(shape) < outliers] *= 30
    x[rng.random(shape) < 0.05] = 0.0
    x[rng.random(shape) < 0.05] = -0.0
    return x.astype(np.float32)


def exact(x):
    return x.astype(np.float64)


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
