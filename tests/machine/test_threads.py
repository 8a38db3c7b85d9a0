"""One model from many threads: every method equals the call alone, bit for bit; what belongs to one thread says so."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
import threading

import numpy as np
import pytest

import nextword
from nextword.decoding.prefix import PrefixCache
from nextword.machine.guard import Guard
from nextword.models.cache import KVCache
from nextword.models.gpt2 import GPT2
from nextword.models.parts import replaced
from nextword.models.trace import Tap
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, tiny_config

THREADS = 4
STORY = "Once upon a time there was a king who had three daughters. The youngest"
PROMPTS = [STORY, "The fox said to the wolf", "Es war einmal ein Müller", "one two three one two three one two"]
DRAWN = {"temperature": 1, "seed": 5}


def at_once(*calls):
    """What each call returns, all started at one barrier; what one of them raises."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)
    errors: list[BaseException] = []

    def work(i):
        try:
            barrier.wait()
            results[i] = calls[i]()
        except BaseException as error:
            errors.append(error)

    every = [threading.Thread(target=work, args=(i,)) for i in range(len(calls))]
    for thread in every:
        thread.start()
    for thread in every:
        thread.join()
    if errors:
        raise errors[0]
    return results


def of_a_new_model():
    """A model that nobody has used yet."""
    return LanguageModel(random_model(tiny_config(n_positions=64), seed=3))


def spoken(found):
    """What is told of a generation, without its timings."""
    every = found if isinstance(found, list) else [found]
    return [(one.text, one.tokens, one.finish_reason, one.logprobs, one.score) for one in every]


def traced(lm, prompt):
    with nextword.trace(lm, names="h.*.attn.weights") as t:
        lm.generate(prompt, max_new_tokens=3)
    return {name: [x.tobytes() for x in t.all(name)] for name in t}


def patched(lm, prompt):
    with nextword.trace(lm, names=[], replace={"h.1.attn.out": lambda x: 0 * x}):
        return lm.logits(prompt).tobytes()


def branched(lm, prompt):
    session = lm.session(prompt)
    other = session.fork()
    return session.generate(max_new_tokens=4).tokens, other.generate(max_new_tokens=6).tokens, other.logits.tobytes()


METHODS = {
    "logits": lambda lm, prompt: lm.logits(prompt).tobytes(),
    "greedy": lambda lm, prompt: spoken(lm.generate(prompt, temperature=0, max_new_tokens=8, logprobs=2)),
    "sampled": lambda lm, prompt: spoken(lm.generate(prompt, max_new_tokens=8, n=3, top_p=0.9, **DRAWN)),
    "batch": lambda lm, prompt: [spoken(x) for x in lm.generate([prompt, STORY], max_new_tokens=5, **DRAWN)],
    "beams": lambda lm, prompt: spoken(lm.generate(prompt, num_beams=3, n=2, max_new_tokens=6)),
    "contrastive": lambda lm, prompt: spoken(lm.generate(prompt, penalty_alpha=0.6, top_k=4, max_new_tokens=6)),
    "lookup": lambda lm, prompt: spoken(lm.generate(prompt, draft="lookup", temperature=0, max_new_tokens=12)),
    "int8 draft": lambda lm, prompt: spoken(lm.generate(prompt, draft="int8", max_new_tokens=8, **DRAWN)),
    "stream": lambda lm, prompt: list(lm.stream(prompt, max_new_tokens=8, **DRAWN)),
    "score": lambda lm, prompt: lm.score(prompt).logprobs.tobytes(),
    "choose": lambda lm, prompt: [c.logprob for c in lm.choose(prompt, [" he", " she", " and then"])],
    "session": branched,
    "trace": traced,
    "replacing trace": patched,
    "explain": lambda lm, prompt: [s.token for s in lm.generate(prompt, explain=3, max_new_tokens=4).steps],
    "encode": lambda lm, prompt: lm.tokenizer.encode(prompt * 50),
    "encode_batch": lambda lm, prompt: lm.tokenizer.encode_batch([prompt] * 3000),
    "train": lambda lm, prompt: nextword.Tokenizer.train([prompt * 20], 300).encode(prompt),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_calls_from_threads_equal_each_call_alone(demo, method):
    run = METHODS[method]
    alone = [run(demo, prompt) for prompt in PROMPTS]
    fresh = nextword.load()  # its first use is from many threads
    prompts = PROMPTS * 2
    assert at_once(*[lambda p=p: run(fresh, p) for p in prompts]) == alone * 2


def test_different_methods_at_once_equal_each_alone(demo):
    alone = {name: run(demo, STORY) for name, run in METHODS.items()}
    fresh = nextword.load()
    found = at_once(*[lambda run=run: run(fresh, STORY) for run in METHODS.values()])
    assert dict(zip(METHODS, found, strict=True)) == alone


def test_grammars_from_threads_equal_each_alone(demo):
    pytest.importorskip("llguidance")

    def run(lm, pattern):
        return spoken(lm.generate(STORY, regex=pattern, max_new_tokens=12, seed=4))

    patterns = ["[a-z ]{5,20}", "(yes|no)!", "[0-9]{3}-[0-9]{2}", " [A-Z][a-z]+"]
    alone = [run(demo, pattern) for pattern in patterns]
    fresh = nextword.load()
    assert at_once(*[lambda p=p: run(fresh, p) for p in patterns]) == alone


def test_a_store_of_prompts_may_be_shared_by_threads(demo):
    def run(prompt, **more):
        return spoken(demo.generate(prompt, max_new_tokens=4, **DRAWN, **more))

    prompts = [STORY[: len(STORY) - 7 * i] + tail for i in range(4) for tail in (" said", " and")]
    alone = [run(prompt) for prompt in prompts]
    store = PrefixCache(demo.model, tokens=64)  # so small that pages are dropped all the time
    for _ in range(3):
        assert at_once(*[lambda p=p: run(p, prefix=store) for p in prompts]) == alone
        assert len(store) <= 64


# First use, and what interrupts it


class Interrupting:
    """An `ops` whose Program fails at its `at`-th operation."""

    def __init__(self, ops, at, error):
        self.at, self.error, self._ops = at, error, ops

    def __getattr__(self, name):
        return getattr(self._ops, name)

    def Program(self):  # noqa: N802
        outer, inner = self, self._ops.Program()

        class Half:
            def add(self, *operation):
                outer.at -= 1
                if outer.at == 0:
                    raise outer.error
                return inner.add(*operation)

            def close(self, result):
                inner.close(result)

            def run(self, *arguments):
                return inner.run(*arguments)

        return Half()


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 2, 9])
def test_a_model_whose_first_use_was_interrupted_is_as_good_as_new(error, at):
    expected = of_a_new_model().logits([1, 2, 3])
    lm = of_a_new_model()
    lm.model = replaced(lm.model, {id(nextword.ops): Interrupting(nextword.ops, at, error)})
    with pytest.raises(type(error)):
        lm.logits([1, 2, 3])
    np.testing.assert_array_equal(lm.logits([1, 2, 3]), expected)


def test_a_draft_whose_making_was_interrupted_is_made_anew(monkeypatch):
    lm = of_a_new_model()
    with monkeypatch.context() as patch:
        patch.setattr(nextword.ops, "unpack", lambda _: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            lm.generate([1, 2], draft="int8")
    plain = lm.generate([1, 2], max_new_tokens=9, seed=1).tokens
    assert lm.generate([1, 2], max_new_tokens=9, seed=1, draft="int8").tokens == plain


def test_a_store_that_was_interrupted_holds_nothing_half(monkeypatch):
    lm = of_a_new_model()
    store = PrefixCache(lm.model, tokens=64)
    ids = [*range(36), 1]
    with monkeypatch.context() as patch:
        fill = PrefixCache._fill

        def second_fails(self, page, part, at, cache, slot):
            fill(self, page, part, at, cache, slot)
            if at:
                raise KeyboardInterrupt

        patch.setattr(PrefixCache, "_fill", second_fails)
        with pytest.raises(KeyboardInterrupt):
            lm.generate(ids, prefix=store, max_new_tokens=2)
    assert store.lookup(ids) == 0
    for _ in range(2):
        assert lm.generate(ids, prefix=store, max_new_tokens=9, seed=2).tokens == lm.generate(
            ids, max_new_tokens=9, seed=2).tokens  # fmt: skip
    assert store.lookup(ids) == len(ids)


# Traces and contexts


def test_a_replacing_trace_changes_no_other_thread():
    lm = of_a_new_model()
    plain = lm.logits([1, 2, 3])
    opened, seen = threading.Event(), threading.Event()
    found = []

    def other():
        opened.wait()
        found.append(lm.logits([1, 2, 3]))
        seen.set()

    thread = threading.Thread(target=other)
    thread.start()
    with nextword.trace(lm, replace={"h.0.attn.out": np.zeros_like}) as t:
        opened.set()
        assert seen.wait(60)
        assert len(t) == 0
        within = lm.logits([1, 2, 3])
    thread.join()
    np.testing.assert_array_equal(found[0], plain)
    assert (within != plain).any()


def test_a_thread_started_in_a_trace_is_not_seen_unless_it_runs_in_a_copy_of_the_context():
    lm = of_a_new_model()
    with nextword.trace(lm, names="logits") as t:
        at_once(lambda: lm.logits([1]))
        assert len(t) == 0
        inside = contextvars.copy_context()
        at_once(lambda: inside.run(lm.logits, [1]))
        assert len(t.all("logits")) == 1
        asyncio.run(asyncio.to_thread(lm.logits, [2]))
        assert len(t.all("logits")) == 2


def test_tasks_have_traces_of_their_own():
    lm = of_a_new_model()

    async def task(token):
        with nextword.trace(lm, names="wte") as t:
            await asyncio.sleep(0)
            lm.logits([token])
            await asyncio.sleep(0)
        return [x.tobytes() for x in t.all("wte")]

    async def both():
        return await asyncio.gather(task(1), task(2))

    assert asyncio.run(both()) == [asyncio.run(task(1)), asyncio.run(task(2))]


def test_a_streams_steps_belong_to_where_they_are_asked_for():
    lm = of_a_new_model()
    with nextword.trace(lm, names="logits") as t:
        made_inside = lm.stream([1, 2], max_new_tokens=3)
    assert len(list(made_inside)) == 3
    assert len(t) == 0
    made_outside = lm.stream([1, 2], max_new_tokens=3)
    next(iter(made_outside))
    with t:
        next(iter(made_outside))
    assert len(list(made_outside)) == 1
    assert len(t.all("logits")) == 1


def test_a_trace_that_another_context_has_closed_is_over_everywhere():
    lm = of_a_new_model()
    t = nextword.trace(lm, names="logits")
    t.__enter__()
    contextvars.copy_context().run(t.__exit__, None, None, None)
    lm.logits([1])
    assert len(t) == 0
    assert type(lm.model.tap) is Tap
    contextvars.Context().run(t.__enter__)  # opened again elsewhere, it is not open here
    assert type(lm.model.tap) is Tap


def test_a_trace_cannot_be_open_twice():
    t = nextword.trace(of_a_new_model())
    with t, pytest.raises(RuntimeError, match="trace: this one is open already"), t:
        pass


def test_two_models_are_traced_apart():
    one, two = of_a_new_model(), of_a_new_model()
    with nextword.trace(one, names="logits") as outer, nextword.trace(two, names="logits") as inner:
        one.logits([1])
        one.logits([2])
        two.logits([3])
    assert (len(outer.all("logits")), len(inner.all("logits"))) == (2, 1)


# What belongs to one thread at a time


def held_by_another_thread(guard):
    """A context in which another thread is inside of the guard."""

    class Held:
        def __enter__(self):
            self.leave, entered = threading.Event(), threading.Event()

            def hold():
                with guard:
                    entered.set()
                    self.leave.wait()

            self.thread = threading.Thread(target=hold)
            self.thread.start()
            entered.wait()

        def __exit__(self, *_):
            self.leave.set()
            self.thread.join()

    return Held()


@pytest.mark.parametrize("call", [
    lambda s: s.logits, lambda s: s.feed([1]), lambda s: s.generate(max_new_tokens=1), lambda s: s.rewind(1),
    lambda s: s.rewind_to(1), lambda s: s.fork(), lambda s: s.save("nowhere"), lambda s: s.stream(max_new_tokens=1),
])  # fmt: skip
def test_a_session_in_use_refuses_another_thread_and_stays_as_it_is(call):
    session = of_a_new_model().session([1, 2, 3])
    expected = session.logits
    with held_by_another_thread(session.guard), pytest.raises(RuntimeError, match="session: it is in use by another"):
        call(session)
    assert session.tokens == [1, 2, 3]
    np.testing.assert_array_equal(session.logits, expected)


@pytest.mark.parametrize("make", [lambda lm: lm.stream([1, 2], max_new_tokens=4),
                                  lambda lm: lm.session([1, 2]).stream(max_new_tokens=4)], ids=["stream", "session"])
def test_a_stream_does_not_go_on_under_other_replacements_than_it_began_with(make):
    lm = of_a_new_model()
    silenced = {"h.0.attn.out": lambda x: 0 * x}
    inside, outside = make(lm), make(lm)
    next(iter(outside))
    with nextword.trace(lm, names=[], replace=silenced):
        next(iter(inside))
        with pytest.raises(RuntimeError, match="stream: it cannot go on, as activations are replaced now"):
            next(iter(outside))
    with pytest.raises(RuntimeError, match="make a stream for each"):
        next(iter(inside))
    with nextword.trace(lm, names=[]):  # looking is not replacing
        assert list(make(lm)) == list(make(lm))


def test_a_stream_in_use_refuses_another_thread_and_goes_on():
    lm = of_a_new_model()
    stream = lm.stream([1, 2], max_new_tokens=4, seed=1)
    with held_by_another_thread(stream.guard), pytest.raises(RuntimeError, match="stream: it is in use by another"):
        next(iter(stream))
    assert list(stream) == lm.generate([1, 2], max_new_tokens=4, seed=1).tokens


def test_a_cache_in_use_refuses_another_thread():
    model = of_a_new_model().model
    cache = model.cache(2, 8)
    with held_by_another_thread(cache.guard), pytest.raises(RuntimeError, match="model: the cache is in use by"):
        model([np.array([1])], cache)
    assert cache.lengths.tolist() == [0, 0]


def test_pieces_of_one_stream_taken_by_threads_are_each_given_once():
    lm = of_a_new_model()
    stream = lm.stream([1, 2], max_new_tokens=30, seed=1, eos=None)
    taken = []

    def take():
        pieces = iter(stream)
        while True:
            try:
                piece = next(pieces, None)
            except RuntimeError:  # the other's turn
                pieces = iter(stream)
                continue
            if piece is None:
                return
            taken.append(piece)

    at_once(take, take, take)
    assert sorted(taken) == sorted(lm.generate([1, 2], max_new_tokens=30, seed=1, eos=None).tokens)


def test_a_copied_guard_is_free():
    guard = Guard("text: in use")
    with held_by_another_thread(guard):
        for free in (copy.copy(guard), copy.deepcopy(guard), pickle.loads(pickle.dumps(guard))):
            with free:
                pass


# Sessions under replaced activations


REPLACE = {"h.0.attn.out": lambda x: 0.5 * x}


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("use", [
    lambda s: s.generate(max_new_tokens=3), lambda s: s.feed([4, 5]), lambda s: s.logits, lambda s: s.fork().logits,
    lambda s: next(iter(s.stream(max_new_tokens=3))), lambda s: (s.feed([4]), s.rewind(1)),
])  # fmt: skip
def test_a_session_keeps_nothing_that_was_computed_under_replaced_activations(use, prefix, tmp_path):
    lm = of_a_new_model()
    store = PrefixCache(lm.model, tokens=64) if prefix else None
    session = lm.session(list(range(34)), prefix=store)
    with nextword.trace(lm, names=[], replace=REPLACE):
        use(session)
        inside = session.fork()
        session.save(tmp_path / "saved")
        within = session.logits
        np.testing.assert_array_equal(within, lm.session(session.tokens).logits)
    expected = lm.logits(session.tokens, last_only=True)
    assert (within != expected).any()
    for one in (inside, lm.resume(tmp_path / "saved"), session.fork(), session):
        np.testing.assert_array_equal(one.logits, expected)
        again = lm.generate(one.tokens, max_new_tokens=5).tokens
        assert one.generate(max_new_tokens=5).tokens == again
    session.feed([7])
    np.testing.assert_array_equal(lm.session(session.tokens, prefix=store).logits,
                                  lm.logits(session.tokens, last_only=True))  # fmt: skip


def test_a_session_within_a_replacing_trace_equals_the_whole_text_anew_in_it():
    lm = of_a_new_model()
    session = lm.session([1, 2, 3, 4])
    session.generate(max_new_tokens=2)
    with nextword.trace(lm, names=[], replace=REPLACE):
        expected = lm.generate(session.tokens, max_new_tokens=6)
        assert session.generate(max_new_tokens=6).tokens == expected.tokens


def test_a_stream_half_in_a_replacing_trace_leaves_a_session_without_a_trace_of_it():
    lm = of_a_new_model()
    session = lm.session([1, 2, 3])
    stream = session.stream(max_new_tokens=6, eos=None)
    next(iter(stream))
    with nextword.trace(lm, names=[], replace=REPLACE), pytest.raises(RuntimeError, match="it cannot go on"):
        next(iter(stream))
    assert len(list(stream)) == 5
    np.testing.assert_array_equal(session.logits, lm.logits(session.tokens, last_only=True))


def test_a_store_takes_nothing_of_a_run_that_was_partly_replaced():
    lm = of_a_new_model()
    store, ids = PrefixCache(lm.model, tokens=64), list(range(36))
    cache = lm.model.cache(2, 64)
    with nextword.trace(lm, names=[], replace=REPLACE):
        lm.model([np.array(ids[:20])], cache)
    lm.model([np.array(ids[20:])], cache)
    cache.copy(0, 1, 36)
    for slot in (0, 1):
        store.remember(ids, cache, slot)
        assert store.lookup(ids) == 0
        cache.forget(slot)
        assert not cache.patched[slot]
    lm.model([np.array(ids)], cache)
    store.remember(ids, cache)
    assert store.lookup(ids) == 36


def test_what_begins_with_a_patched_prefix_is_patched():
    model = of_a_new_model().model
    with nextword.trace(model, names=[], replace=REPLACE):
        before = model.encoded(list(range(32)))
    assert model.cache(2, 64, before).patched.tolist() == [True, True]
    assert KVCache(model.ops, 2, 2, 3, 5, 64).patched.tolist() == [False, False]
    assert isinstance(model, GPT2)
