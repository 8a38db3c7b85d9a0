"""scheduler.py: a row that joins and leaves a running batch has the bits of the row alone; slots are bounded."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from interrupts import interrupted, run_on
from nextword import Sampling
from nextword.decoding import scheduler as scheduler_module
from nextword.decoding.assembly import LEAST
from nextword.decoding.beginnings import SHARED
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.scheduler import Scheduler
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, settings_of_rows, tiny_config

WINDOW = 80
STORY = np.random.default_rng(7).integers(97, 123, 2 * WINDOW).tolist()  # small letters
GRAMMAR = importlib.util.find_spec("llguidance") is not None


@pytest.fixture(scope="module", params=["float32", "int8"])
def lm(request, tmp_path_factory):
    """A model of random weights over bytes; its window is 80 tokens, its caches of either dtype."""
    model = random_model(tiny_config(vocab_size=257, n_positions=WINDOW), seed=5, kv_dtype=request.param)
    return LanguageModel(model, byte_tokenizer(tmp_path_factory.mktemp("bytes")))


def row_of(lm, prompt, overflow="stop", eos=None, **settings):
    """A row as `generate` makes it."""
    call = lm._call("generate", overflow, eos, False, ())
    return call.rows([prompt], [Sampling(**{"seed": 0, "logprobs": 0, **settings})], [True])[0]


def alone(lm, prompt, overflow="stop", eos=None, **settings):
    """What `generate` makes of the same arguments."""
    return lm.generate(prompt, on_overflow=overflow, eos=eos, **{"seed": 0, "logprobs": 0, **settings})


def told(out):
    return out.text, out.tokens, out.finish_reason, out.logprobs


def told_of(row):
    """The same of a row of a scheduler."""
    return row.text, row.tokens, row.finish, row.logprobs


def prompts():
    """Prompts that begin like each other, some for longer than is worth sharing, some longer than the window."""
    return st.builds(lambda cut, tail: STORY[:cut] + tail, st.sampled_from([0, 5, SHARED, SHARED + 9, 70, WINDOW + 10]),
                     st.lists(st.integers(97, 102), min_size=1, max_size=12))  # fmt: skip


@st.composite
def arrivals(draw):
    """Rows with settings of their own, the passes at which they join, and at which some are cancelled."""
    found = []
    for _ in range(draw(st.integers(1, 6), "rows")):
        prompt, settings = draw(prompts(), "prompt"), draw(settings_of_rows(), "settings")
        settings["logprobs"] = settings["logprobs"] or 0  # in which a wrong bit shows
        settings["max_new_tokens"] += draw(st.sampled_from([0, 0, 60]), "more")
        if GRAMMAR and draw(st.integers(0, 4), "grammar") == 0:
            settings |= {"regex": "[a-d ]{3,9}(yes|no)", "stop": (), "bad_words": (), "min_new_tokens": 0,
                         "logit_bias": None}  # fmt: skip
        overflow = draw(st.sampled_from(["stop", "slide"]), "overflow") if len(prompt) <= WINDOW else "slide"
        joins, stays = draw(st.integers(0, 6), "joins"), draw(st.sampled_from([None, None, 0, 1, 3]), "stays")
        found.append((prompt, overflow, settings, joins, stays))
    return found


@given(st.data(), arrivals(), st.integers(1, 3))
def test_rows_that_join_and_leave_at_any_pass_have_the_bits_of_the_row_alone(lm, data, rows, slots):
    expected = []
    for prompt, overflow, settings, *_ in rows:
        text = alone(lm, prompt, overflow, **settings).text
        if "regex" not in settings and len(text) > 3 and data.draw(st.booleans(), "stop string"):
            at = data.draw(st.integers(1, len(text) - 2), "at")
            settings["stop"] = (*settings["stop"], text[at : at + 2])
        expected.append(alone(lm, prompt, overflow, **settings))
    draft = data.draw(st.sampled_from([None, "lookup", "int8"]), "draft")
    store = PrefixCache(lm.model, 96) if data.draw(st.booleans(), "store") else None
    cache = lm.model.cache(slots, WINDOW)
    scheduler = Scheduler(lm.model, cache, lm._drafter("generate", draft, []), store)
    made = [row_of(lm, prompt, overflow, **settings) for prompt, overflow, settings, *_ in rows]
    seats, number = {}, 0
    while len(seats) < len(rows) or scheduler.running or scheduler.waiting:
        for i, (_, overflow, _, joins, stays) in enumerate(rows):
            if joins == number:
                seats[i] = scheduler.submit(made[i], overflow)
            if stays is not None and number == joins + stays:
                scheduler.cancel(seats[i])
        scheduler.budget = data.draw(st.sampled_from([1, 7, 40, 512]), "budget")
        for _ in scheduler.step():
            assert len(scheduler.running) + scheduler.slots.free == slots
            if data.draw(st.integers(0, 30), "cancelled in a pass") == 0 and scheduler.running:
                scheduler.cancel(next(iter(scheduler.running)))
        number += 1
        assert number < 2000
    for row, whole in zip(made, expected, strict=True):
        if row.finish == "cancelled":
            count = len(row.tokens)
            assert row.tokens == whole.tokens[:count]
            assert row.logprobs == whole.logprobs[:count]
        else:
            assert told_of(row) == told(whole)
    assert scheduler.slots.free == slots


@given(st.data(), arrivals(), st.integers(1, 3), st.booleans())
def test_nothing_is_lost_where_a_pass_is_interrupted(lm, data, rows, slots, after):
    """Before the model has run, or when it has and nobody has seen its logits."""
    other = interrupted(lm.model, data.draw(st.sets(st.integers(0, 20)), "interrupted"), after)
    draft = data.draw(st.sampled_from([None, "lookup"]), "draft")
    scheduler = Scheduler(other, other.cache(slots, WINDOW), draft)
    made = [row_of(lm, prompt, overflow, **settings) for prompt, overflow, settings, *_ in rows]
    for row, (_, overflow, *_) in zip(made, rows, strict=True):
        scheduler.submit(row, overflow)
    run_on(scheduler)
    for row, (prompt, overflow, settings, *_) in zip(made, rows, strict=True):
        assert told_of(row) == told(alone(lm, prompt, overflow, **settings))


# Slots


class Watched:
    """A model that notes what went through it in each pass: the tokens of each slot."""

    def __init__(self, model):
        self._model, self.passes = model, []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, batch, cache, slots, rows, tap=None):
        self.passes.append({slot: len(ids) for slot, ids in zip(slots, batch, strict=True)})
        return self._model(batch, cache, slots, rows, tap)


def drained(scheduler):
    for _ in scheduler.steps():
        pass


def test_many_rows_run_in_few_slots_that_are_used_again(lm):
    model = Watched(lm.model)
    cache = model.cache(3, 32)
    size = sum(x.nbytes for arrays in (cache.keys, cache.values, cache.scales) for x in arrays)
    scheduler = Scheduler(model, cache)
    rows = [row_of(lm, [97 + i, 98], max_new_tokens=1 + i % 5) for i in range(20)]
    for row in rows:
        scheduler.submit(row)
    assert size == lm.model.cache_bytes(3, 32)
    for _ in scheduler.steps():
        assert len(scheduler.running) <= 3
    assert scheduler.cache is cache
    assert all(len(one) <= 3 and set(one) <= {0, 1, 2} for one in model.passes)
    assert sum(sum(one.values()) for one in model.passes) == sum(1 + len(row.tokens) for row in rows)
    for i, row in enumerate(rows):
        assert told_of(row) == told(alone(lm, [97 + i, 98], max_new_tokens=1 + i % 5))


def test_rows_start_in_the_order_in_which_they_came(lm):
    scheduler = Scheduler(lm.model, lm.model.cache(2, 32))
    rows = [row_of(lm, [97 + i], max_new_tokens=3) for i in range(6)]
    for row in rows:
        scheduler.submit(row)
    begun = []
    for taken in scheduler.steps():
        begun += [rows.index(seat.row) for seat in taken if len(seat.row.tokens) == 1]
    assert begun == list(range(6))


def test_a_row_that_waits_starts_with_the_pass_after_one_has_left(lm):
    scheduler = Scheduler(lm.model, lm.model.cache(1, 64))
    first = scheduler.submit(row_of(lm, [97], max_new_tokens=50))
    second = scheduler.submit(row_of(lm, [98], max_new_tokens=2))
    third = scheduler.submit(row_of(lm, [99], max_new_tokens=2))
    for _ in range(3):
        list(scheduler.step())
    assert (len(first.row.tokens), len(second.row.tokens)) == (3, 0)
    scheduler.cancel(first)
    scheduler.cancel(third)
    scheduler.cancel(first)
    assert (scheduler.slots.free, first.row.finish, len(scheduler.waiting)) == (1, "cancelled", 1)
    list(scheduler.step())
    assert len(second.row.tokens) == 1
    drained(scheduler)
    assert told_of(second.row) == told(alone(lm, [98], max_new_tokens=2))
    assert (first.row.tokens, third.row.tokens) == (alone(lm, [97], max_new_tokens=3).tokens, [])


def test_a_row_that_might_outgrow_its_slot_is_refused(lm):
    scheduler = Scheduler(lm.model, lm.model.cache(1, 32))
    scheduler.submit(row_of(lm, [97] * 30, max_new_tokens=3))
    with pytest.raises(ValueError, match=r"submit: a row must fit into its slot of 32 tokens, got up to 33; make the"):
        scheduler.submit(row_of(lm, [97] * 30, max_new_tokens=4))
    with pytest.raises(ValueError, match="got up to 80"):
        scheduler.submit(row_of(lm, [97] * 70, "slide", max_new_tokens=400))


def test_a_row_may_go_on_in_a_slot_that_holds_its_beginning(lm):
    cache = lm.model.cache(2, WINDOW)
    lm.model([np.array(STORY[:40])], cache, [1])
    model = Watched(lm.model)
    scheduler = Scheduler(model, cache)
    seat = scheduler.submit(row_of(lm, STORY[:42], max_new_tokens=5), slot=1)
    for slot in (1, 2):
        with pytest.raises(ValueError, match=rf"submit: slot must be one of those that are free, \[0\], got {slot}"):
            scheduler.submit(row_of(lm, STORY[:42]), slot=slot)
    drained(scheduler)
    assert model.passes == [{1: 2}] + [{1: 1}] * 4
    assert told_of(seat.row) == told(alone(lm, STORY[:42], max_new_tokens=5))


def test_a_cache_without_slots_is_refused(lm):
    with pytest.raises(ValueError, match="scheduler: cache must have a slot at least, got 0"):
        Scheduler(lm.model, lm.model.cache(0, 32))


def test_a_text_of_no_tokens_is_there_before_anything_runs(lm):
    for draft, counts in ((None, (None, None)), ("lookup", (0, 0))):
        out = lm.stream("x", max_new_tokens=0, draft=draft).result
        assert (out.text, out.finish_reason, out.drafted, out.accepted) == ("", "length", *counts)
        assert out.timings == nextword.decoding.results.Timings(0, 0.0, 0, 0.0)


# What a pass takes


@pytest.mark.parametrize("overflow", ["error", "stop", "slide"])
def test_texts_of_no_tokens_need_no_room(lm, overflow):
    found = lm.generate([STORY[:60], STORY[:70]], max_new_tokens=0, on_overflow=overflow)
    assert [(out.tokens, out.prompt_tokens, out.finish_reason) for out in found] == [
        ([], STORY[:60], "length"), ([], STORY[:70], "length")]  # fmt: skip


@pytest.mark.parametrize("after", [False, True])
def test_no_slot_is_lost_where_a_row_is_interrupted_as_it_leaves(lm, monkeypatch, after):
    scheduler = Scheduler(lm.model, lm.model.cache(1, 64))
    rows = [row_of(lm, STORY[:9], max_new_tokens=3), row_of(lm, STORY[:8], max_new_tokens=3)]
    leave = scheduler.slots.leave

    def interrupted(seat):
        monkeypatch.undo()
        if after:
            leave(seat)
        raise KeyboardInterrupt

    monkeypatch.setattr(scheduler.slots, "leave", interrupted)
    for row in rows:
        scheduler.submit(row, "stop")
    with pytest.raises(KeyboardInterrupt):
        drained(scheduler)
    for _ in range(9):
        [*scheduler.step()]
    assert [told_of(row) for row in rows] == [told(alone(lm, STORY[:n], max_new_tokens=3)) for n in (9, 8)]
    assert scheduler.slots.free == 1


def test_a_long_prompt_is_read_in_pieces_beside_rows_that_take_a_token_in_every_pass(lm):
    model = Watched(lm.model)
    scheduler = Scheduler(model, model.cache(3, WINDOW), budget=20)
    going = [scheduler.submit(row_of(lm, [97 + i], max_new_tokens=9)) for i in range(2)]
    list(scheduler.step())
    long = scheduler.submit(row_of(lm, STORY[:70], max_new_tokens=2))
    drained(scheduler)
    assert model.passes[1:6] == [{0: 1, 1: 1, 2: 18}] * 3 + [{0: 1, 1: 1, 2: 16}] + [{0: 1, 1: 1, 2: 1}]
    assert told_of(long.row) == told(alone(lm, STORY[:70], max_new_tokens=2))
    for i, seat in enumerate(going):
        assert told_of(seat.row) == told(alone(lm, [97 + i], max_new_tokens=9))


def test_prompts_are_read_however_many_rows_go_on_and_however_small_the_budget(lm):
    model, many = Watched(lm.model), dict.fromkeys(range(20), 1)
    scheduler = Scheduler(model, model.cache(21, WINDOW), budget=2 * LEAST)
    for i in many:
        scheduler.submit(row_of(lm, [97 + i], max_new_tokens=20))
    list(scheduler.step())
    scheduler.submit(row_of(lm, STORY[:60], max_new_tokens=2))
    list(scheduler.step())
    assert model.passes == [many, {**many, 20: LEAST}]
    for budget, taken in ((3, 2), (1, 1), (31, 16), (45, 25)):
        scheduler.budget = budget
        list(scheduler.step())
        assert model.passes[-1] == {**many, 20: taken}


def test_a_pass_that_reads_and_goes_on_counts_for_each_by_its_tokens(lm, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(scheduler_module.time, "perf_counter", lambda: float(next(clock)))  # a second for each look
    scheduler = Scheduler(lm.model, lm.model.cache(2, WINDOW), budget=10)
    scheduler.submit(row_of(lm, [97, 98], max_new_tokens=20))
    list(scheduler.step())
    assert (scheduler.prefill_tokens, scheduler.prefill_seconds, scheduler.decode_seconds) == (2, 1, 0)
    scheduler.submit(row_of(lm, STORY[:11], max_new_tokens=1))
    list(scheduler.step())  # 9 tokens of the prompt, and one of the text
    assert (scheduler.prefill_tokens, scheduler.prefill_seconds, scheduler.decode_seconds) == (11, 1.9, 1 - 0.9)
    list(scheduler.step())
    list(scheduler.step())
    assert scheduler.prefill_tokens == 13
    assert (scheduler.prefill_seconds, scheduler.decode_seconds) == pytest.approx((1.9 + 2 / 3, 0.1 + 1 / 3 + 1))


# What rows share


def test_a_row_that_joins_later_copies_what_it_shares_with_one_that_is_there(lm):
    model = Watched(lm.model)
    scheduler = Scheduler(model, model.cache(2, WINDOW))
    a, b = [*STORY[:50], 97], [*STORY[:50], 98, 99]
    scheduler.submit(row_of(lm, a, max_new_tokens=9))
    list(scheduler.step())
    second = scheduler.submit(row_of(lm, b, max_new_tokens=9))
    list(scheduler.step())
    assert model.passes == [{0: 51}, {0: 1, 1: 2}]
    drained(scheduler)
    assert told_of(second.row) == told(alone(lm, b, max_new_tokens=9))


def test_a_slot_that_is_free_lends_what_its_last_row_left(lm):
    model = Watched(lm.model)
    scheduler = Scheduler(model, model.cache(2, WINDOW))
    for tail in ([97], [98, 99], [98, 99, 100]):
        seat = scheduler.submit(row_of(lm, STORY[:50] + tail, max_new_tokens=3))
        drained(scheduler)
        assert told_of(seat.row) == told(alone(lm, STORY[:50] + tail, max_new_tokens=3))
    assert [one[0] for one in model.passes if max(one.values()) > 1] == [51, 2]  # the last one reads a token alone
    assert all(set(one) == {0} for one in model.passes)


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_who_waits_for_a_beginning_gets_what_there_is_when_its_lender_is_cancelled(lm, passes):
    model = Watched(lm.model)
    scheduler = Scheduler(model, model.cache(3, WINDOW), budget=SHARED + 2)
    first, *others = [scheduler.submit(row_of(lm, [*STORY[:70], i], max_new_tokens=4)) for i in (97, 98, 99)]
    for _ in range(passes):
        list(scheduler.step())
    scheduler.cancel(first)
    drained(scheduler)
    for i, seat in zip((98, 99), others, strict=True):
        assert told_of(seat.row) == told(alone(lm, [*STORY[:70], i], max_new_tokens=4))
    read = sum(sum(one.values()) for one in model.passes if max(one.values()) > 1)
    assert read <= 71 + 71 + 6  # the beginning once, but for what the cancelled row had read of it alone


def test_a_lender_that_slides_lends_first(lm):
    """It goes on with other tokens at the same places. Its prompt fills the window, so that it slides with the pass in
    which the others could have copied."""
    model = Watched(lm.model)
    scheduler = Scheduler(model, model.cache(3, WINDOW), budget=8)
    prompts = [[*STORY[: WINDOW - 1], i] for i in (97, 98, 99)]
    seats = [scheduler.submit(row_of(lm, prompt, "slide", max_new_tokens=9)) for prompt in prompts]
    drained(scheduler)
    assert model.passes[:11] == [{0: 8}] * 11
    assert [next(one[slot] for one in model.passes if slot in one) for slot in (1, 2)] == [1, 1]
    for prompt, seat in zip(prompts, seats, strict=True):
        assert told_of(seat.row) == told(alone(lm, prompt, "slide", max_new_tokens=9))


def test_nothing_that_was_computed_under_replaced_activations_is_lent_when_its_row_has_left(lm):
    scheduler = Scheduler(lm.model, lm.model.cache(1, WINDOW))
    prompt = STORY[:50]
    with nextword.trace(lm, names=[], replace={"h.0.attn.out": lambda x: 0.5 * x}):
        scheduler.submit(row_of(lm, [*prompt, 97], max_new_tokens=3))
        drained(scheduler)
    seat = scheduler.submit(row_of(lm, [*prompt, 98], max_new_tokens=3))
    drained(scheduler)
    assert told_of(seat.row) == told(alone(lm, [*prompt, 98], max_new_tokens=3))


# A row that fails


@pytest.mark.parametrize("draft", [None, "lookup"])
@pytest.mark.parametrize("when", [0, 3])
def test_a_row_whose_processor_raises_leaves_and_the_others_go_on(lm, when, draft):
    calls = iter(range(100))

    def fails(x):
        if next(calls) == when:
            raise OSError("mine")
        return x

    scheduler = Scheduler(lm.model, lm.model.cache(3, WINDOW), draft)
    prompts = [[97, 98, 97, 98], [99], [100, 101], [102]]
    rows = [row_of(lm, ids, max_new_tokens=8, processors=fails if i == 1 else None)
            for i, ids in enumerate(prompts)]  # fmt: skip
    seats = [scheduler.submit(row) for row in rows]
    with pytest.raises(OSError, match="mine"):
        drained(scheduler)
    assert isinstance(seats[1].error, OSError)
    assert seats[1].row.finish is None
    scheduler.cancel(seats[1])  # it is gone already
    drained(scheduler)
    for i in (0, 2, 3):
        assert told_of(rows[i]) == told(alone(lm, prompts[i], max_new_tokens=8))
    assert rows[1].tokens == alone(lm, prompts[1], max_new_tokens=8).tokens[:when]
    assert scheduler.slots.free == 3


def test_generate_raises_what_a_row_raises(lm):
    def fails(x):
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        lm.generate([[97], [98]], sampling=[Sampling(), Sampling(processors=fails)])


def test_a_prompt_that_did_not_fit_into_the_window_is_not_stored(lm):
    """Its slot holds its last tokens."""
    store = PrefixCache(lm.model)
    alone(lm, STORY[: WINDOW + 10], "slide", prefix=store, max_new_tokens=2)
    assert (len(store), store.lookup(STORY[:WINDOW])) == (0, 0)
