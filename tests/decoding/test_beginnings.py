"""What prompts begin with in common: found as by comparing every pair, in linear time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.decoding import beginnings
from nextword.decoding.beginnings import Beginnings, common_length


def by_pairs(prompts, least):
    """The earlier prompt that shares most, the first of several."""
    for i, prompt in enumerate(prompts):
        lengths = [common_length(other, prompt[:-1]) for other in prompts[:i]]
        best = max(lengths, default=0)
        yield (lengths.index(best), best) if best >= least else (-1, 0)


def one_by_one(prompts):
    """What each finds among those before it."""
    known = Beginnings()
    for i, prompt in enumerate(prompts):
        yield known.find(prompt)
        known.add(i, prompt)


@given(st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=14), st.integers(1, 4))
def test_the_beginning_shared_with_an_earlier_prompt_is_the_longest(prompts, least):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginnings, "SHARED", least)
        arrays = [np.array(prompt, np.int64) for prompt in prompts]
        assert list(one_by_one(arrays)) == list(by_pairs(arrays, least))


@given(st.data())
def test_texts_may_be_forgotten(data):
    """Of several that share as much any may be found, but one that is there."""
    texts = st.lists(st.integers(0, 2), max_size=9).map(lambda ids: np.array(ids, np.int64))
    known, there = Beginnings(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginnings, "SHARED", 1)
        for _ in range(data.draw(st.integers(1, 30), "steps")):
            number = data.draw(st.integers(0, 5), "number")
            if number in there or data.draw(st.booleans(), "forget"):
                known.remove(number)
                there.pop(number, None)
            else:
                there[number] = data.draw(texts, "text")
                known.add(number, there[number])
            wanted = data.draw(texts, "wanted")
            found, common = known.find(wanted)
            assert common == max((common_length(text, wanted[:-1]) for text in there.values()), default=0)
            assert (found == -1) if not common else common_length(there[found], wanted[:-1]) == common
    for number in there:
        known.remove(number)
    assert not known._root.children


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
    found = list(one_by_one(prompts))
    assert time.process_time() - start < 20
    assert found[1][1] >= 39
