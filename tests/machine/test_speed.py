"""speed.py: rates are numbers on every instruction set and thread count, and wrong arguments are named."""

from __future__ import annotations

import math
import threading
import time

import pytest

from nextword import cpu
from nextword.arithmetic.formats import DTYPES
from nextword.machine import speed


@pytest.mark.parametrize("count", [1, 2])
def test_rates_are_finite_and_positive(isa, threads, count):
    threads(count)
    for size in (2**20, 2**20 + 77):
        assert 0 < speed.read_bandwidth(size, 0.001) < math.inf
    for dtype in DTYPES:
        assert 0 < speed.multiply_add_rate(0.001, dtype) < math.inf


def test_the_usual_buffer_is_beyond_the_caches():
    assert cpu.last_level_cache() > 0
    assert speed.beyond_caches() >= 2 * cpu.last_level_cache()
    assert speed.read_bandwidth(seconds=0.001) > 0


@pytest.mark.parametrize("size", [0, -1, 2**20 - 1, 2**36 + 1])
def test_a_size_out_of_range_is_an_error_that_names_it(size):
    with pytest.raises(ValueError, match=rf"read_bandwidth: size must be 2\*\*20 .. 2\*\*36 bytes, got {size}"):
        speed.read_bandwidth(size)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 61.0, math.nan, math.inf])
def test_seconds_out_of_range_are_an_error_that_names_them(seconds):
    with pytest.raises(ValueError, match="read_bandwidth: seconds must be above 0 and at most 60, got"):
        speed.read_bandwidth(2**20, seconds)
    with pytest.raises(ValueError, match="multiply_add_rate: seconds must be above 0 and at most 60, got"):
        speed.multiply_add_rate(seconds)


def test_a_dtype_that_is_none_is_an_error_that_lists_them():
    with pytest.raises(ValueError, match=r"multiply_add_rate: dtype must be one of float32, .*, int4, got 'int2'"):
        speed.multiply_add_rate(0.001, "int2")


def test_measuring_lets_other_python_threads_run():
    """The GIL is released: while one thread measures, this one goes round and round."""
    worker = threading.Thread(target=speed.multiply_add_rate, args=(0.5,))
    worker.start()
    rounds = 0
    while worker.is_alive():
        rounds += 1
        time.sleep(0.001)
    assert rounds > 5  # a held GIL lets it run before the call and after it
