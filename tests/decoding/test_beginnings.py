"""What prompts begin with in common: found as by comparing every pair, in linear time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.decoding import beginnings
from nextword.decoding.beginnings import common_length, shared_beginnings


def by_pairs(prompts, least):
    """The earlier prompt that shares most, the first of several."""
    for i, prompt in enumerate(prompts):
        lengths = [common_length(other, prompt[:-1]) for other in prompts[:i]]
        best = max(lengths, default=0)
        yield (lengths.index(best), best) if best >= least else (i, 0)


@given(st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=14), st.integers(1, 4))
def test_the_beginning_shared_with_an_earlier_prompt_is_the_longest(prompts, least):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginnings, "SHARED", least)
        arrays = [np.array(prompt, np.int64) for prompt in prompts]
        assert shared_beginnings(arrays) == list(by_pairs(arrays, least))


@pytest.mark.parametrize("kind", ["equal", "other", "nested"])
def test_ten_thousand_prompts_take_seconds(kind):
    """A pair at a time they would be 50 million comparisons, a minute and more."""
    rng = np.random.default_rng(0)
    common = rng.integers(0, 4096, 64)
    if kind == "equal":
        prompts = [common] * 10_000
    elif kind == "other":
        prompts = [np.concatenate([common, rng.integers(0, 4096, 8)]) for _ in range(10_000)]
    else:
        long = rng.integers(0, 4096, 1000)
        prompts = [long[: 40 + i % 960] for i in range(10_000)]
    start = time.process_time()
    found = shared_beginnings(prompts)
    assert time.process_time() - start < 20
    assert found[1][1] >= 39
