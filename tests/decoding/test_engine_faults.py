"""engine.py and its parts: what one caller gives, does or meets harms no other; the thread goes on, no slot is lost."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import random
import threading
import time
import weakref
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword import Sampling
from nextword.decoding.admission import Admission
from nextword.decoding.job import Job
from nextword.decoding.row import Row
from nextword.decoding.rules import Rules
from nextword.machine.stop import StoppedError
from nextword.machine.turn import Turn
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, tiny_config

SOON = 60  # seconds that nothing here takes, however busy the machine is
SHORT = Sampling(max_new_tokens=3)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    """A model of random weights over bytes."""
    model = random_model(tiny_config(vocab_size=257, n_positions=80), seed=5)
    return LanguageModel(model, byte_tokenizer(tmp_path_factory.mktemp("bytes")))


def goes_on(engine):
    assert len(engine.submit("ab", SHORT, eos=None).result(SOON)[0].tokens) == 3
    end = time.monotonic() + SOON
    while engine._worker.going or engine._worker.scheduler.slots.free < engine.slots:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_job_without_a_text_has_ended_at_once(lm):
    with lm.engine(slots=1) as engine:
        assert engine.submit([], SHORT).result(SOON) == []
        goes_on(engine)
    assert asyncio.run(lm.agenerate([], max_new_tokens=3)) == lm.generate([], max_new_tokens=3) == []
    lm._engine.close()


def test_a_job_that_was_cancelled_before_it_started_joins_no_more(lm):
    with lm.engine(slots=1) as engine:
        job = engine.prepared("ab", SHORT)
        job.cancel()
        with pytest.raises(CancelledError):
            job.result(SOON)
        job.start()
        assert engine.stats().waiting == 0


def test_who_waits_too_short_a_time_is_told_by_pythons_own_error(lm):
    with lm.engine(slots=1) as engine:
        job = engine.prepared("ab", SHORT, eos=None)
        with pytest.raises(TimeoutError, match=r"the job has not ended within 0\.01 s; it goes on"):
            job.result(0.01)
        job.start()
        assert len(job.result(SOON)[0].tokens) == 3


@pytest.mark.parametrize(("name", "value"), [("client", ["me"]), ("client", None), ("priority", "high"),
    ("priority", math.nan), ("priority", None), ("hear", 5)])  # fmt: skip
def test_what_no_queue_can_order_is_refused_at_once(lm, name, value):
    with lm.engine(slots=1) as engine:
        with pytest.raises(TypeError, match=f"submit: {name} must be .*, got "):
            engine.submit("ab", SHORT, **{name: value})
        goes_on(engine)


@pytest.mark.parametrize(("name", "value", "error"), [("store", 5, ValueError), ("store", None, ValueError),
    ("on_pass", 5, TypeError), ("draft", "int7", ValueError), ("draft", 5, ValueError)])  # fmt: skip
def test_an_engine_is_made_of_what_it_takes(lm, name, value, error):
    with pytest.raises(error, match=f"engine: {name} must be .*, got "):
        lm.engine(slots=1, **{name: value})


def test_an_engine_drafts_with_what_generate_does(lm):
    with pytest.raises(ValueError, match="engine: draft must have the model's vocabulary"):
        lm.engine(slots=1, draft=nextword.load())
    for draft in ("lookup", "int8", lm):
        with lm.engine(slots=1, draft=draft) as engine:
            assert engine.submit("abab" * 9, Sampling(max_new_tokens=30), eos=None).result(SOON)[0].drafted > 0


def test_close_takes_any_number_of_seconds(lm):
    engine = lm.engine(slots=1)
    for drain in (None, "soon", math.nan):
        with pytest.raises(TypeError, match="close: drain must be a number of seconds, got "):
            engine.close(drain)
    goes_on(engine)
    job = engine.submit("ab", SHORT, eos=None)
    engine.close(math.inf)
    assert len(job.result(0)[0].tokens) == 3


def test_other_work_that_cannot_be_closed_harms_nobody(lm):
    def steps():
        try:
            while True:
                yield begun.set()
        finally:
            raise ValueError("in close")

    with lm.engine(slots=1) as engine:
        with pytest.raises(TypeError, match="run: steps must be an iterable of steps, got 5"):
            engine.run(5)
        begun = threading.Event()
        work = engine.run(steps())
        assert begun.wait(SOON)
        assert work.cancel()
        goes_on(engine)
    begun = threading.Event()
    engine = lm.engine(slots=1)
    works = [engine.run(steps()) for _ in range(3)]
    assert begun.wait(SOON)
    works[1].cancel()
    engine.close(0)
    for work in works[::2]:
        with pytest.raises(RuntimeError, match="engine: it was closed before this was done"):
            work.result(SOON)


@pytest.mark.parametrize("how", ["ends", "fails", "is cancelled"])
def test_nothing_is_kept_of_a_text_that_has_ended(lm, how):
    def fails(logits):
        raise ZeroDivisionError

    with lm.engine(slots=1) as engine:
        goes_on(engine)
        settings = SHORT.changed(processors=[fails] if how == "fails" else [], max_new_tokens=60 if "is" in how else 3)
        job = engine.submit("ab", settings, eos=None, explain=True)
        row = weakref.ref(job.rows[0])
        if how == "is cancelled":
            job.cancel()
        wait([job.future], SOON)
        assert job.done
        del job
        end = time.monotonic() + SOON
        while row() is not None and time.monotonic() < end:
            gc.collect()
            time.sleep(0.01)
        assert row() is None


def test_a_future_that_is_cancelled_as_it_is_settled_harms_nobody(lm):
    with lm.engine(slots=1) as engine:
        made = []
        for text in ("ab", "cd"):
            job = engine.prepared(text, SHORT, eos=None)
            job.hear = lambda events, job=job: job.future.cancel() if events[-1].result else None
            job.start()
            made.append(job)
        goes_on(engine)
        assert all(job.future.cancelled() for job in made)


class Broken:
    """A model whose logits are NaN in some passes."""

    def __init__(self, model):
        self.model, self.broken = model, True

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, *arguments):
        logits = self.model(*arguments)
        return np.full_like(logits, np.nan) if self.broken else logits


def test_a_prompt_that_cannot_be_told_of_gives_its_slot_back(lm):
    with lm.engine(slots=1) as engine:
        scheduler = engine._worker.scheduler
        scheduler.model = broken = Broken(scheduler.model)
        with pytest.raises(ValueError, match="none may be NaN"):
            engine.submit("abcd", Sampling(max_new_tokens=1, prompt_logprobs=0), eos=None).result(SOON)
        broken.broken = False
        goes_on(engine)


def test_a_stop_that_a_rows_own_rules_let_through_ends_its_job_alone(lm):
    def stopped(logits):
        raise StoppedError("a pass of the processor's own")

    with lm.engine(slots=2) as engine:
        other = engine.submit("ab", Sampling(max_new_tokens=30), eos=None)
        with pytest.raises(StoppedError, match="of the processor's own"):
            engine.submit("ab", Sampling(max_new_tokens=3, processors=[stopped]), eos=None).result(SOON)
        assert len(other.result(SOON)[0].tokens) == 30
        goes_on(engine)


# Order


JOBS = st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.integers(1, 4), st.integers(1, 5))


@given(st.lists(JOBS, max_size=20), st.integers(0, 2**32))
def test_the_order_is_that_of_priority_then_tokens_served_then_arrival(kinds, seed):
    draw, queue, waiting, served, active = random.Random(seed), Admission(None, None), [], {}, {}
    rules = Rules(SHORT, 257)
    coming = [Job(None, [], [Row([0] * length, SHORT, rules)] * rows, "error", client, priority, None)
              for priority, client, rows, length in kinds]
    while coming or waiting:
        if coming and (not waiting or draw.random() < 0.4):
            job = coming.pop()
            if not active.get(job.client):
                there = [served[client] for client, rows in active.items() if rows]
                served[job.client] = max(served.get(job.client, 0), min(there, default=0))
            active[job.client] = active.get(job.client, 0) + len(job.rows)
            waiting.append([job, 0])
            queue.add(job)
        elif draw.random() < 0.2:
            job, number = waiting.pop(draw.randrange(len(waiting)))
            queue.drop(job)
            active[job.client] -= len(job.rows) - number
        else:
            first = min(waiting, key=lambda one: (one[0].priority, served[one[0].client]))
            job, number = first
            assert queue.next() == (job, number)
            served[job.client] += len(job.rows[number].prompt)
            first[1] += 1
            if first[1] == len(job.rows):
                waiting.remove(first)
            if draw.random() < 0.5:
                queue.left(job.client, 1)
                active[job.client] -= 1
        assert len(queue) == len(waiting)
        assert queue.jobs() == [job for job, _ in waiting]


def test_names_up_to_a_slash_are_one_client_to_the_others():
    queue, rules = Admission(None, None), Rules(SHORT, 257)
    for client in [*(f"many/{i}" for i in range(6)), "many/0", "many/0", "one", "one", "one"]:
        queue.add(Job(None, [], [Row([0] * 5, SHORT, rules)], "error", client, 0, None))
    order = [queue.next()[0].client for _ in range(11)]
    assert [client.partition("/")[0] for client in order[:6]] == ["many", "one"] * 3
    assert order[6:] == ["many/3", "many/4", "many/5", "many/0", "many/0"]


def test_who_is_interrupted_while_it_waits_for_its_turn_is_waited_for_by_nobody(monkeypatch):
    class Event(threading.Event):
        def wait(self, timeout=None):
            if late:
                turn.__exit__(None, None, None)  # it is this one's turn just as the interrupt comes
            raise KeyboardInterrupt

    for late in (False, True):
        turn = Turn()
        turn.__enter__()
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Event", Event)
            with pytest.raises(KeyboardInterrupt), turn:
                pass
        if not late:
            turn.__exit__(None, None, None)
        thread = threading.Thread(target=lambda turn=turn: turn.__enter__(), daemon=True)
        thread.start()
        thread.join(SOON)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_that_was_forked_while_an_engine_was_being_made_makes_its_own(lm):
    from nextword.tasks import awaited

    with awaited._making:
        child = os.fork()
        if child == 0:
            found = 1
            try:
                found = int(len(asyncio.run(lm.agenerate("ab", max_new_tokens=3, eos=None)).tokens) != 3)
            finally:
                os._exit(found)
    end = time.monotonic() + SOON
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, 9)
        time.sleep(0.01)
    assert ended[1] == 0
