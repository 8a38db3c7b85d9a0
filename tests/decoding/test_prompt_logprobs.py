"""prompt_logprobs: the bits of `score`, whatever the neighbours; the end token's entry in logprobs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interrupts import interrupted, run_on
from nextword import Sampling
from nextword.decoding.assembly import TOLD
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.scheduler import Scheduler
from nextword.machine import memory
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, tiny_config

WINDOW = 160
STORY = np.random.default_rng(3).integers(0, 37, 2 * WINDOW).tolist()


@pytest.fixture(scope="module", params=["float32", "int8"])
def lm(request):
    return LanguageModel(random_model(tiny_config(n_positions=WINDOW), seed=5, kv_dtype=request.param))


def scored(lm, ids):
    return [None, *lm.score(ids, start=None).logprobs[1:].tolist()] if len(ids) > 1 else [None]


def numbers(out):
    return [None if one is None else one.logprob for one in out.prompt_logprobs]


prompts = st.builds(lambda cut, tail: STORY[:cut] + tail, st.sampled_from([0, 5, 40, 70, WINDOW - 20]),
                    st.lists(st.integers(0, 36), min_size=1, max_size=12))  # fmt: skip


@given(st.data())
def test_a_prompts_log_probabilities_are_those_of_score_whatever_the_neighbours(lm, data):
    rows = data.draw(st.lists(st.tuples(prompts, st.sampled_from([None, 0, 3, 99]), st.sampled_from([0, 1, 5])),
                              min_size=1, max_size=5), "rows")  # fmt: skip
    call = lm._call("generate", "stop", None, False, ())
    each = [Sampling(seed=0, logprobs=0, prompt_logprobs=k, max_new_tokens=fresh) for _, k, fresh in rows]
    made = [call.rows([ids], [one], [True])[0] for (ids, _, _), one in zip(rows, each, strict=True)]
    store = PrefixCache(lm.model, 96) if data.draw(st.booleans(), "store") else None
    slots = data.draw(st.integers(1, 3), "slots")
    draft = data.draw(st.sampled_from([None, "lookup"]), "draft")
    scheduler = Scheduler(lm.model, lm.model.cache(slots, WINDOW), draft, store)
    for row in made:
        scheduler.submit(row, "stop")
    while scheduler.running or scheduler.waiting:
        scheduler.budget = data.draw(st.sampled_from([1, 7, 100, 512]), "budget")
        for _ in scheduler.step():
            assert len(scheduler.running) + scheduler.slots.free == slots
    for row, (ids, k, fresh) in zip(made, rows, strict=True):
        assert row.finish == "length"
        alone = lm.generate(ids, seed=0, logprobs=0, max_new_tokens=fresh, eos=None)
        assert (row.tokens, row.logprobs) == (alone.tokens, alone.logprobs)
        if k is None:
            assert row.prompt_logprobs is None
            continue
        assert numbers(row) == scored(lm, ids)
        assert [one.token for one in row.prompt_logprobs[1:]] == ids[1:]
        logits = lm.logits(ids)
        for place, one in enumerate(row.prompt_logprobs[1:]):
            order = np.argsort(-logits[place].astype(np.float64), kind="stable")[:k].tolist()
            assert [token for token, _ in one.top] == order
            assert all(value == one.logprob for token, value in one.top if token == one.token)


def test_generate_tells_of_prompts_alone_in_batches_and_of_several_texts(lm):
    ids = [STORY[:100], STORY[:99], [7]]
    for fresh in (0, 1, 4):
        found = lm.generate(ids, prompt_logprobs=2, max_new_tokens=fresh, eos=None)
        assert [numbers(out) for out in found] == [scored(lm, one) for one in ids]
        assert [len(out.tokens) for out in found] == [fresh] * 3
    for out in lm.generate(STORY[:70], prompt_logprobs=0, n=2, best_of=3, temperature=1.0, max_new_tokens=3, seed=1):
        assert numbers(out) == scored(lm, STORY[:70])
    assert lm.generate(STORY[:70], max_new_tokens=0).prompt_logprobs is None
    out = lm.generate(STORY[:WINDOW], prompt_logprobs=0, max_new_tokens=1, eos=None)
    assert (numbers(out), len(out.tokens)) == (scored(lm, STORY[:WINDOW]), 1)


def test_a_pass_takes_the_logits_of_few_tokens_of_all_prompts_that_are_told_of(lm):
    passes = []

    class Watched(type(lm.model)):
        def __call__(self, batch, cache, slots, rows, tap=None):
            passes.append(([len(ids) for ids in batch], len(rows)))
            return super().__call__(batch, cache, slots, rows, tap)

    other = lm.model.__copy__()
    other.__class__ = Watched
    call = lm._call("generate", "stop", None, False, ())
    scheduler = Scheduler(other, other.cache(3, WINDOW))
    for ids, k in ((STORY[:100], 1), (STORY[1:100], 1), (STORY[2:100], None)):
        scheduler.submit(call.rows([ids], [Sampling(seed=0, prompt_logprobs=k, max_new_tokens=3)], [True])[0], "stop")
    for _ in scheduler.steps():
        pass
    assert passes[0] == ([TOLD, 98], TOLD + 1)  # the third row is not kept waiting
    assert all(count <= TOLD + 3 for _, count in passes)


@given(st.sets(st.integers(0, 9)), st.booleans())
def test_no_log_probability_is_lost_where_a_pass_is_interrupted(lm, numbers_of_passes, after):
    other = interrupted(lm.model, numbers_of_passes, after)
    call = lm._call("generate", "stop", None, False, ())
    rows = [call.rows([ids], [Sampling(seed=0, prompt_logprobs=1, max_new_tokens=fresh)], [True])[0]
            for ids, fresh in ((STORY[:150], 0), (STORY[:70], 3))]
    scheduler = Scheduler(other, other.cache(2, WINDOW))
    for row in rows:
        scheduler.submit(row, "stop")
    run_on(scheduler)
    assert [numbers(row) for row in rows] == [scored(lm, STORY[:150]), scored(lm, STORY[:70])]


def test_what_cannot_be_told_is_one_clear_error(lm, monkeypatch):
    with pytest.raises(ValueError, match="sampling: prompt_logprobs must be >= 0, got -1"):
        Sampling(prompt_logprobs=-1)
    with pytest.raises(ValueError, match="sampling: prompt_logprobs do not go with beam search"):
        Sampling(prompt_logprobs=1, num_beams=2)
    with pytest.raises(ValueError, match=f"generate: prompt must fit into the context window of {WINDOW} tokens"):
        lm.generate(STORY[: WINDOW + 1], prompt_logprobs=1, on_overflow="slide")
    with pytest.raises(ValueError, match="prompt_logprobs must be None in a session"):
        lm.session([1, 2, 3]).generate(prompt_logprobs=1)
    monkeypatch.setattr(memory, "available", lambda: 10**8)
    with pytest.raises(MemoryError, match=r"generate: prompt_logprobs=37 of 100 tokens"):
        lm.generate(STORY[:100], prompt_logprobs=37, best_of=1000, temperature=1.0)


def test_the_end_token_has_its_entry_in_logprobs_alone(lm):
    whole = lm.generate(STORY[:20], max_new_tokens=9, logprobs=1, eos=None, temperature=3.0, seed=2)
    end = whole.tokens[4]
    at = whole.tokens.index(end)
    ended = lm.generate(STORY[:20], max_new_tokens=9, logprobs=1, eos=end, temperature=3.0, seed=2)
    stopped = lm.generate(STORY[:20], max_new_tokens=9, logprobs=1, eos=None, stop=end, temperature=3.0, seed=2)
    assert (ended.tokens, stopped.tokens) == (whole.tokens[:at], whole.tokens[: at + 1])
    assert ended.logprobs == stopped.logprobs == whole.logprobs[: at + 1]
    assert ended.finish_reason == stopped.finish_reason == "stop"


@pytest.mark.parametrize("search", [{"num_beams": 3}, {"penalty_alpha": 0.5}])
def test_the_end_token_of_a_search_has_its_entry(lm, search):
    ends = list(range(0, 37, 2))
    out = lm.generate(STORY[:20], max_new_tokens=9, logprobs=1, eos=ends, min_new_tokens=2,
                      logit_bias=dict.fromkeys(ends, 6.0), **search)
    assert out.finish_reason == "stop"
    told = [one.token for one in out.logprobs]
    assert told[:-1] == out.tokens
    assert told[-1] in ends
    scored = lm.score(STORY[:20] + told, start=None).logprobs[20:].tolist()
    assert [one.logprob for one in out.logprobs] == scored
