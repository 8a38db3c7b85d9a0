"""engine.py: whatever jobs join, leave and are cancelled, each has the bits of `generate` alone; no slot is lost."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword import Sampling
from nextword.decoding.budget import LEAST, Budget
from nextword.decoding.engine import Closed, QueueFull
from nextword.decoding.prefix import PrefixCache
from nextword.machine.turn import Turn
from nextword.models.passes import CHUNK
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, settings_of_rows, tiny_config

WINDOW = 80
STORY = np.random.default_rng(7).integers(97, 123, 2 * WINDOW).tolist()  # small letters
GRAMMAR = importlib.util.find_spec("llguidance") is not None
SOON = 60  # seconds that nothing here takes, however busy the machine is


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    """A model of random weights over bytes; its window is 80 tokens."""
    model = random_model(tiny_config(vocab_size=257, n_positions=WINDOW), seed=5)
    return LanguageModel(model, byte_tokenizer(tmp_path_factory.mktemp("bytes")))


def told(one):
    return one.text, one.tokens, one.finish_reason, one.logprobs, one.seed, one.row


def until(true):
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def free(engine):
    return engine._worker.scheduler.slots.free


class Gate:
    """What a model's passes wait at, so that a test knows what there is before the next one."""

    def __init__(self, engine):
        self.passes, self._let = [], threading.Semaphore(0)
        model, self._open = engine._worker.scheduler.model, False
        engine._worker.scheduler.model = self
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, batch, cache, slots, rows, tap=None):
        if not self._open:
            assert self._let.acquire(timeout=SOON)
        self.passes.append([len(ids) for ids in batch])
        return self._model(batch, cache, slots, rows, tap)

    def let(self, passes=1):
        for _ in range(passes):
            self._let.release()

    def open(self):
        self._open = True
        self.let()


@st.composite
def jobs(draw):
    """Jobs of some prompts each, with settings of their own, when they come and whether they are cancelled."""
    found = []
    for _ in range(draw(st.integers(1, 5), "jobs")):
        given = draw(settings_of_rows(), "settings")
        given["logprobs"] = given["logprobs"] or 0  # in which a wrong bit shows
        if GRAMMAR and draw(st.integers(0, 4), "grammar") == 0:
            given |= {"regex": "[a-d ]{3,9}(yes|no)", "stop": (), "bad_words": (), "min_new_tokens": 0,
                      "logit_bias": None}  # fmt: skip
        given["seed"] = given.get("seed") or 0
        given["n"] = draw(st.sampled_from([1, 1, 3]), "n") if given.get("temperature") else 1
        given["row"] = min(given.get("row", 0), 2**63)  # below 2**64 with all rows of the job
        prompts = [STORY[:cut] + draw(st.lists(st.integers(97, 102), min_size=1, max_size=9), "tail")
                   for cut in draw(st.lists(st.sampled_from([0, 5, 40, 70]), min_size=1, max_size=3), "prompts")]
        found.append((prompts, Sampling(**given), draw(st.sampled_from(["stop", "slide"]), "overflow"),
                      draw(st.sampled_from([0, 0, 0.002]), "pause"),
                      draw(st.sampled_from([None, None, None, 0, 0.002]), "stays")))
    return found


def flat(found):
    return [row for one in found for row in (one if isinstance(one, list) else [one])]


@settings(max_examples=30)
@given(jobs(), st.integers(1, 16), st.sampled_from([16, 33, 128, 512]), st.sampled_from(["none", "own", "small"]),
       st.sampled_from([None, "lookup"]), st.integers(1, 2))
def test_any_mix_of_jobs_has_the_bits_of_generate_alone(lm, mix, slots, budget, store, draft, threads):
    before = nextword.cpu.threads()
    expected = [flat(lm.generate(prompts, sampling=one, on_overflow=overflow, eos=None))
                for prompts, one, overflow, *_ in mix]
    try:
        nextword.cpu.set_threads(threads)
        kept = {"none": False, "own": True, "small": PrefixCache(lm.model, 96)}[store]
        with lm.engine(slots=slots, store=kept, draft=draft) as engine:
            engine._worker.budget.tokens = lambda decoding, others: budget
            heard, made = [[] for _ in mix], []
            for number, (prompts, one, overflow, pause, stays) in enumerate(mix):
                job = engine.submit(prompts, one, f"client {number % 2}", hear=heard[number].extend, eos=None,
                                    on_overflow=overflow)
                made.append(job)
                if stays is not None:
                    threading.Timer(stays, job.cancel).start()
                time.sleep(pause)
            for job, events, whole in zip(made, heard, expected, strict=True):
                try:
                    results = job.result(SOON)
                except CancelledError:
                    for event in events[:-1]:
                        assert whole[event.row].text.startswith(event.text) or event.text in whole[event.row].text
                    continue
                assert list(map(told, results)) == list(map(told, whole))
                for row, result in enumerate(results):
                    mine = [event for event in events if event.row == row]
                    assert "".join(event.text for event in mine) == result.text
                    assert [token for event in mine for token in event.tokens] == result.logprobs
                    assert [event.result for event in mine if event.result] == [result]
            until(lambda: free(engine) == slots and not engine._worker.going)
    finally:
        nextword.cpu.set_threads(before)


def test_chosen_is_what_generate_gives(lm):
    one = Sampling(temperature=1, n=2, best_of=4, seed=3, max_new_tokens=5)
    with lm.engine(slots=3) as engine:
        found = engine.submit(["ab", "cd"], one, eos=None).chosen(SOON)
    expected = lm.generate(["ab", "cd"], sampling=one, eos=None)
    assert [list(map(told, each)) for each in found] == [list(map(told, each)) for each in expected]


# Turns


def test_who_asks_for_one_row_beside_a_hundred_gets_the_next_slot(lm):
    with lm.engine(slots=2, store=False) as engine:
        gate = Gate(engine)
        many = engine.submit(["ab"] * 100, Sampling(max_new_tokens=4), "many", eos=None)
        gate.let(2)
        until(lambda: len(gate.passes) == 2)
        heard = []
        few = engine.submit("cd", Sampling(max_new_tokens=4), "few", hear=lambda e: heard.append(len(gate.passes)),
                            eos=None)  # fmt: skip
        gate.let(8)  # what runs ends within 4 more passes; its own prompt takes one
        until(lambda: len(gate.passes) == 10)
        assert heard
        assert heard[0] <= 2 + 4 + 1
        assert not many.done
        gate.open()
        assert few.result(SOON)[0].tokens == lm.generate("cd", max_new_tokens=4, eos=None).tokens


def order_of(lm, submit, slots=1):
    """The names of jobs in the order in which their first rows get slots."""
    with lm.engine(slots=slots, store=False) as engine:
        gate, jobs = Gate(engine), {}
        engine.submit("x", Sampling(max_new_tokens=1), "first", eos=None)
        until(lambda: engine._worker.going)
        submit(engine, jobs)
        gate.open()
        for job in jobs.values():
            job.result(SOON)
        return sorted(jobs, key=lambda name: jobs[name].admitted)


def test_the_lowest_priority_number_goes_first_then_who_came_first(lm):
    def submit(engine, jobs):
        for name, priority in (("a", 1), ("b", 0), ("c", 1), ("d", -1)):
            jobs[name] = engine.submit("ab", Sampling(max_new_tokens=1), name, priority, eos=None)

    assert order_of(lm, submit) == ["d", "b", "a", "c"]


def test_the_client_with_the_fewest_tokens_goes_first(lm):
    def submit(engine, jobs):
        for name, client in (("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"), ("e", "y")):
            jobs[name] = engine.submit("abcd", Sampling(max_new_tokens=4), client, eos=None)

    assert order_of(lm, submit) == ["a", "d", "b", "e", "c"]


def test_a_short_prompt_does_not_wait_for_a_long_one(lm):
    with lm.engine(slots=2, store=False) as engine:
        engine._worker.budget.tokens = lambda decoding, others: 8
        gate = Gate(engine)
        long = engine.submit([STORY[:64]], Sampling(max_new_tokens=1), eos=None)
        short = engine.submit("abc", Sampling(max_new_tokens=1), eos=None)
        gate.let(3)
        assert short.result(SOON)
        assert not long.done
        gate.open()
        long.result(SOON)


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for():
    turn, order, threads = Turn(), [], []

    def take(i):
        with turn:
            order.append(i)

    with turn:
        for i in range(5):
            threads.append(threading.Thread(target=take, args=[i]))
            threads[-1].start()
            until(lambda i=i: len(turn._waiting) == i + 1)
    for thread in threads:
        thread.join(SOON)
    assert order == list(range(5))


def test_engines_that_share_a_turn_never_compute_at_once(lm):
    turn, inside, most = Turn(), [], []
    with lm.engine(slots=2, turn=turn) as one, lm.engine(slots=2, turn=turn) as two:
        for engine in (one, two):
            model = engine._worker.scheduler.model

            class Watched(type(model)):
                def __call__(self, *arguments):
                    inside.append(self)
                    most.append(len(inside))
                    try:
                        return super().__call__(*arguments)
                    finally:
                        inside.remove(self)

            other = model.__copy__()
            other.__class__ = Watched
            engine._worker.scheduler.model = other
        jobs = [engine.submit(["ab", "cd"], Sampling(max_new_tokens=20), eos=None) for engine in (one, two)]
        for job in jobs:
            job.result(SOON)
    assert set(most) == {1}


# The clock


@given(st.floats(0.001, 0.05), st.floats(1e-5, 1e-3), st.integers(0, 64), st.integers(0, 9))
def test_the_budget_is_what_the_clock_allows_whatever_one_pass_was_disturbed(fixed, each, decoding, disturbed):
    budget = Budget(25)
    for number in range(60):
        tokens = (1, 65)[number % 2]
        budget.learn(tokens, (fixed + each * tokens) * (50 if number == disturbed else 1))
    found = budget.tokens(decoding, 1)
    assert LEAST <= found <= CHUNK
    alone = fixed + each * decoding
    right = min(2 * 65, (max(0.025, 2 * alone) - alone) / each)
    assert abs(found - min(CHUNK, max(LEAST, right))) <= 1 + 1e-6 * right


def test_a_prompt_that_nobody_waits_for_goes_in_whole_chunks():
    assert Budget(25).tokens(0, 0) == CHUNK
    assert Budget(25).tokens(1, 0) == Budget(25).tokens(0, 1) == LEAST


# Bounds


def test_beyond_its_bounds_the_queue_is_full_and_says_for_how_long(lm):
    with lm.engine(slots=1, max_queue=3, max_queue_tokens=100) as engine:
        gate = Gate(engine)
        first = engine.submit("ab", Sampling(max_new_tokens=2), eos=None)
        until(lambda: engine._worker.going)
        others = [engine.submit("ab", Sampling(max_new_tokens=2), eos=None) for _ in range(3)]
        for prompts, new in ((["ab"], 2), (["ab"] * 9, 2)):
            with pytest.raises(QueueFull, match="queue takes 3 rows") as caught:
                engine.submit(prompts, Sampling(max_new_tokens=new), eos=None)
            assert caught.value.seconds > 0
        others.pop().cancel()
        gate.let()  # it is seen to after the pass that runs
        until(lambda: engine.stats().waiting == 2)
        with pytest.raises(QueueFull):  # 8 tokens wait
            engine.submit("ab" * 30, Sampling(max_new_tokens=41), eos=None, on_overflow="stop")
        others.append(engine.submit("ab", Sampling(max_new_tokens=2), eos=None))
        assert engine.stats().rejected == 3
        gate.open()
        for job in (first, *others):
            job.result(SOON)
        until(lambda: engine.stats().waiting == engine.stats().running == 0)
        assert len(engine.submit(["ab"] * 9, Sampling(max_new_tokens=2), eos=None).result(SOON)) == 9


def test_slots_and_store_fit_into_the_memory_that_was_given(lm):
    each = lm.model.cache_bytes(1, WINDOW)
    for memory in (each, 3 * each, 10 * each + 7, 500 * each):
        with lm.engine(kv_memory=memory) as engine:
            engine.submit([STORY[:70]] * 3, Sampling(max_new_tokens=3), eos=None).result(SOON)
            assert 1 <= engine.slots <= 64
            assert engine.stats().kv_bytes <= memory
    with pytest.raises(ValueError, match=f"kv_memory must be at least {each:,} bytes, for 1 slots"):
        lm.engine(kv_memory=each - 1)
    with pytest.raises(ValueError, match=f"kv_memory must be at least {9 * each:,} bytes"):
        lm.engine(slots=9, kv_memory=8 * each)
    with pytest.raises(MemoryError, match=r"engine: .* slots of 80 tokens would take"):
        lm.engine(slots=10**9)


@pytest.mark.parametrize(("name", "value"), [("slots", 0), ("slots", 1.5), ("kv_memory", True), ("pass_ms", 0),
    ("pass_ms", "fast"), ("max_queue", -1), ("max_queue_tokens", 0)])  # fmt: skip
def test_arguments_that_are_none_are_refused(lm, name, value):
    with pytest.raises(ValueError, match=f"engine: {name} must be"):
        lm.engine(**{name: value})


def test_what_generate_refuses_submit_refuses_at_once(lm):
    with lm.engine(slots=1) as engine:
        with pytest.raises(ValueError, match="submit: prompt of 81 tokens"):
            engine.submit([97] * 81)
        with pytest.raises(TypeError, match="submit: sampling must be"):
            engine.submit("ab", {"n": 1})
        with pytest.raises(ValueError, match="submit: num_beams must be 1"):
            engine.submit("ab", Sampling(num_beams=2))
        with pytest.raises(IndexError):
            engine.submit([[97, 999]])
        with nextword.trace(lm.model), pytest.raises(RuntimeError, match="activations are looked at"):
            engine.submit("ab")
        assert engine.stats().waiting == 0


# Ends


def test_who_cancels_while_a_prompt_is_read_or_a_text_grows_is_in_no_later_pass(lm):
    for passes in (1, 3):
        with lm.engine(slots=2, store=False) as engine:
            engine._worker.budget.tokens = lambda decoding, others: 40
            gate = Gate(engine)
            job = engine.submit([STORY[:60]], Sampling(max_new_tokens=20), eos=None)
            gate.let(passes)
            until(lambda gate=gate, passes=passes: len(gate.passes) == passes)
            job.cancel()
            gate.let(1)  # the one that runs
            with pytest.raises(CancelledError):
                job.result(SOON)
            assert len(gate.passes) <= passes + 1
            assert free(engine) == 2
            assert engine.stats().cancelled == 1
            gate.open()


def test_a_pass_that_nobody_wants_ends_before_its_time_and_costs_nobody_a_bit(lm):
    with lm.engine(slots=2, store=False) as engine:
        gate, whole = Gate(engine), lm.generate("abc", max_new_tokens=9, logprobs=0, eos=None)
        job = engine.submit("ab", Sampling(max_new_tokens=60), eos=None)
        until(lambda: engine._worker.going)
        job.cancel()
        assert engine._worker.stop.is_set()
        gate.open()
        with pytest.raises(CancelledError):
            job.result(SOON)
        job = engine.submit("abc", Sampling(max_new_tokens=9, logprobs=0), eos=None)
        while not job.done:
            engine._worker.stop.set()
            time.sleep(0.01)
        assert told(job.result(SOON)[0])[:4] == told(whole)[:4]
        assert free(engine) == 2


def test_two_hundred_cancels_at_any_moment_leave_all_slots_free(lm):
    drawn = random.Random(4)
    with lm.engine(slots=4, max_queue=None) as engine:
        whole = lm.generate("abc", max_new_tokens=9, eos=None)
        jobs = []
        for _ in range(200):
            jobs.append(engine.submit([STORY[: drawn.randrange(1, 60)]] * drawn.randrange(1, 4),
                                      Sampling(max_new_tokens=15), str(drawn.randrange(3)), eos=None))  # fmt: skip
            if drawn.random() < 0.5:
                time.sleep(drawn.random() / 500)
            drawn.choice(jobs).cancel()
        for job in jobs:
            job.cancel()
        assert told(engine.submit("abc", Sampling(max_new_tokens=9), eos=None).result(SOON)[0])[:3] == told(whole)[:3]
        until(lambda: not engine._worker.going)
        assert all(job.done for job in jobs)
        assert (free(engine), engine.stats().waiting, engine._worker.admission.tokens) == (4, 0, 0)
        assert not engine._worker.admission._clients.there


def test_close_finishes_what_was_submitted_and_takes_no_more(lm):
    engine = lm.engine(slots=1)
    jobs = [engine.submit("ab", Sampling(max_new_tokens=5), eos=None) for _ in range(4)]
    engine.close(SOON)
    assert all(len(job.result(0)[0].tokens) == 5 for job in jobs)
    assert engine.closed
    for refused in (lambda: engine.submit("ab"), lambda: engine.run([1])):
        with pytest.raises(Closed, match="engine: it is closed"):
            refused()
    assert engine.stats().waiting == 0
    engine.close()


def test_what_is_not_done_in_time_ends_by_closed(lm):
    engine = lm.engine(slots=1)
    gate, heard = Gate(engine), []
    jobs = [engine.submit("ab", Sampling(max_new_tokens=50), hear=heard.extend, eos=None) for _ in range(2)]
    until(lambda: engine._worker.going)
    closing = threading.Thread(target=engine.close, args=[0.01])
    closing.start()
    time.sleep(0.05)
    gate.let()
    closing.join(SOON)
    assert not closing.is_alive()
    for job in jobs:
        with pytest.raises(Closed):
            job.result(0)
    assert [type(event.error) for event in heard if event.error] == [Closed, Closed]


# Errors


def raises(logits):
    raise ZeroDivisionError("a processor's own")


def test_what_a_row_raises_ends_its_job_alone(lm):
    with lm.engine(slots=4) as engine:
        good = engine.submit(["ab", "cd"], Sampling(max_new_tokens=9, logprobs=0), eos=None)
        bad = engine.submit(["ab", "cd"], [Sampling(max_new_tokens=9, seed=1),
                                           Sampling(max_new_tokens=9, seed=1, processors=[raises])], eos=None)
        with pytest.raises(ZeroDivisionError):
            bad.result(SOON)
        expected = lm.generate(["ab", "cd"], max_new_tokens=9, logprobs=0, eos=None)
        assert [one.logprobs for one in good.result(SOON)] == [one.logprobs for one in expected]
        until(lambda: free(engine) == 4)


def test_what_a_pass_raises_ends_the_jobs_in_it_and_the_thread_goes_on(lm):
    with lm.engine(slots=2) as engine:
        model, broken = engine._worker.scheduler.model, []

        def fails(*arguments):
            broken.append(1)
            raise MemoryError("no more")

        class Broken:
            __call__ = staticmethod(fails)

            def __getattr__(self, name):
                return getattr(model, name)

        engine._worker.scheduler.model = Broken()
        with pytest.raises(MemoryError, match="no more"):
            engine.submit("ab", Sampling(max_new_tokens=3), eos=None).result(SOON)
        engine._worker.scheduler.model = model
        assert engine.submit("ab", Sampling(max_new_tokens=3), eos=None).result(SOON)
        assert len(broken) == 1
        assert engine.stats().failed == 1
        assert free(engine) == 2


def test_who_cannot_hear_loses_his_job_alone(lm):
    def deaf(events):
        raise KeyError("deaf")

    with lm.engine(slots=2) as engine:
        good = engine.submit("ab", Sampling(max_new_tokens=9), eos=None)
        with pytest.raises(KeyError, match="deaf"):
            engine.submit("ab", Sampling(max_new_tokens=9), hear=deaf, eos=None).result(SOON)
        assert len(good.result(SOON)[0].tokens) == 9
        until(lambda: free(engine) == 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_fails_all_jobs_and_says_why(lm):
    engine = lm.engine(slots=1)
    gate = Gate(engine)
    jobs = [engine.submit("ab", Sampling(max_new_tokens=3), eos=None) for _ in range(3)]
    until(lambda: engine._worker.going)
    engine._worker._work = lambda: 1 / 0
    gate.open()
    for job in jobs:
        with pytest.raises(Closed, match="its thread has ended, by ZeroDivisionError"):
            job.result(SOON)
    engine._thread.join(SOON)
    with pytest.raises(Closed, match="by ZeroDivisionError"):
        engine.submit("ab")


# Other work


def test_other_work_goes_in_turns_with_passes_and_can_be_cancelled(lm):
    with lm.engine(slots=1) as engine:
        assert engine.run(range(5)).result(SOON) == list(range(5))
        job, seen = engine.submit("ab", Sampling(max_new_tokens=50), eos=None), []

        def steps():
            while True:
                seen.append(engine.stats().passes)
                yield seen[-1]

        endless = engine.run(steps())
        assert len(job.result(SOON)[0].tokens) == 50
        until(lambda: len(seen) > 5)
        assert endless.cancel()
        until(lambda: not engine._worker.works)

        def broken():
            yield 1
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            engine.run(broken()).result(SOON)


# The thread


def test_a_thread_that_has_nothing_to_do_takes_no_processor_time(lm):
    with lm.engine(slots=1) as engine:
        engine.submit("ab", Sampling(max_new_tokens=3), eos=None).result(SOON)
        until(lambda: not engine._worker.going)
        time.sleep(0.3)  # who works spins for a while at the end of a pass
        clock = time.pthread_getcpuclockid(engine._thread.ident)
        before = time.clock_gettime(clock)
        time.sleep(0.5)
        assert time.clock_gettime(clock) - before < 0.5 * 0.005  # 0.5 %


def test_an_engine_that_nobody_holds_ends(lm):
    engine = lm.engine(slots=1)
    thread = engine._thread
    job = engine.submit("ab", Sampling(max_new_tokens=3), eos=None)
    del engine
    assert len(job.result(SOON)[0].tokens) == 3
    del job
    thread.join(SOON)
    assert not thread.is_alive()


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_interpreter_ends_while_an_engine_computes():
    code = """
import nextword
lm = nextword.load()
engine = lm.engine(slots=2)
jobs = [engine.submit("Once", nextword.Sampling(max_new_tokens=500), eos=None) for _ in range(4)]
while not engine.stats().passes:
    pass
print("ends")
"""
    assert run(code) == (0, "ends\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_is_told_that_the_thread_is_not_there():
    code = """
import os, sys, nextword
lm = nextword.load()
engine = lm.engine(slots=2)
job = engine.submit("Once", nextword.Sampling(max_new_tokens=400), eos=None)
child = os.fork()
if child == 0:
    for call in (lambda: engine.submit("Once"), job.result):
        try:
            call()
        except RuntimeError as error:
            assert "forked" in str(error), error
        else:
            os._exit(2)
    job.cancel()
    engine.close()
    with lm.engine(slots=1) as mine:
        assert len(mine.submit("Once", nextword.Sampling(max_new_tokens=3), eos=None).result(60)[0].tokens) == 3
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert len(job.result(60)[0].tokens) == 400
print("both")
"""
    assert run(code) == (0, "both\n", "")


def test_small_passes_are_trusted_to_twice_their_size():
    budget = Budget(25)
    for tokens in (20, 1, 1, 1):  # one token costs what twenty do
        budget.learn(tokens, 0.018)
    assert budget.tokens(1, 0) == LEAST
    for tokens in (65, 1, 1, 129):
        budget.learn(tokens, 0.018 if tokens == 1 else 0.001 * tokens)
    assert LEAST <= budget.tokens(1, 0) <= 2 * 129
