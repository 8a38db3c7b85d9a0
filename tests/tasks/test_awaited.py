"""awaited.py: tasks of event loops share the model's engine; each gets what generate and stream give."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest

import nextword
from nextword import Sampling

TEXTS = ["Once upon a time", "The king", "A small dog ran", "She took"]
SOON = 60  # seconds that nothing here takes


def told(one):
    return one.text, one.tokens, one.finish_reason, one.logprobs, one.row


@pytest.fixture
def lm():
    lm = nextword.load()
    yield lm
    if lm._engine is not None:
        lm._engine.close(0)


async def until(true):
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def settled(lm):
    worker = lm._engine._worker
    return not worker.going and worker.scheduler.slots.free == lm._engine.slots


def test_tasks_at_once_get_what_generate_gives_alone_and_share_passes(lm):
    settings = {"max_new_tokens": 20, "temperature": 0.9, "seed": 5, "logprobs": 2, "stop": "."}

    async def all_of():
        return await asyncio.gather(*(lm.agenerate(text, **settings) for text in TEXTS * 2))

    found = asyncio.run(all_of())
    assert list(map(told, found)) == [told(lm.generate(text, **settings)) for text in TEXTS * 2]
    assert lm._engine.stats().passes < sum(len(one.tokens) for one in found)


def test_a_list_n_best_of_and_searches_give_what_generate_gives(lm):
    for prompt, settings in ((TEXTS, {"seed": [1, 2, 3, 4], "temperature": 1}),
                             ("The king", {"n": 2, "best_of": 3, "seed": 1, "temperature": 1}),
                             ("The king", {"num_beams": 2}), ("The king", {"max_new_tokens": 0}),
                             (TEXTS[:2], {"sampling": [Sampling(), Sampling(temperature=1, seed=3)]})):
        settings = {"max_new_tokens": 6, **settings}
        found, expected = asyncio.run(lm.agenerate(prompt, **settings)), lm.generate(prompt, **settings)
        many = isinstance(expected, list)
        assert list(map(told, found if many else [found])) == list(map(told, expected if many else [expected]))


def test_streams_tell_what_stream_tells(lm):
    async def read(text, **settings):
        stream = lm.astream(text, **settings)
        with pytest.raises(RuntimeError, match="astream: result is there once"):
            stream.result  # noqa: B018
        pieces = [piece async for piece in stream]
        assert all(pieces)
        return pieces, stream.result

    async def both():
        return await asyncio.gather(*(read(text, max_new_tokens=15, stop="the") for text in TEXTS))

    for text, (pieces, result) in zip(TEXTS, asyncio.run(both()), strict=True):
        assert told(result) == told(lm.generate(text, max_new_tokens=15, stop="the"))
        assert "".join(pieces) == result.text
        assert pieces == list(lm.stream(text, max_new_tokens=15, stop="the"))


def test_without_a_vocabulary_a_stream_tells_tokens(lm):
    bare = nextword.LanguageModel(lm.model)

    async def read():
        return [token async for token in bare.astream([281, 290, 300], max_new_tokens=5, logprobs=1)]

    assert asyncio.run(read()) == bare.generate([281, 290, 300], max_new_tokens=5).tokens


def test_a_task_that_is_cancelled_ends_its_rows(lm):
    async def cancelled():
        task = asyncio.create_task(lm.agenerate("Once", max_new_tokens=500, eos=None))
        await until(lambda: lm._engine is not None and lm._engine.stats().generated_tokens > 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: settled(lm))
        assert lm._engine.stats().cancelled == 1

        async def read():
            async for _ in lm.astream("Once", max_new_tokens=500, eos=None):
                pass

        task = asyncio.create_task(read())
        await until(lambda: not settled(lm))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: settled(lm))

    asyncio.run(cancelled())
    assert lm._engine.stats().cancelled == 2


def test_who_leaves_a_stream_early_ends_its_text(lm):
    async def early():
        async for _ in lm.astream("Once", max_new_tokens=500, eos=None):
            break
        gc.collect()
        await until(lambda: settled(lm))
        stream = lm.astream("Once", max_new_tokens=500, eos=None)
        await anext(stream)
        await stream.aclose()
        assert [piece async for piece in stream] == []
        await until(lambda: settled(lm))

    asyncio.run(early())
    assert lm._engine.stats().cancelled == 2


def test_two_tasks_do_not_mix_one_stream(lm):
    async def two():
        stream = lm.astream("Once", max_new_tokens=50, eos=None)
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task reads it"):
            await anext(stream)
        await first
        await stream.aclose()

    asyncio.run(two())


def test_loops_of_several_threads_share_the_engine(lm):
    found = {}

    def of_thread(number):
        async def all_of():
            return await asyncio.gather(*(lm.agenerate(text, max_new_tokens=12) for text in TEXTS))

        found[number] = asyncio.run(all_of())

    threads = [threading.Thread(target=of_thread, args=[i]) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    expected = [told(lm.generate(text, max_new_tokens=12)) for text in TEXTS]
    assert [list(map(told, found[i])) for i in range(3)] == [expected] * 3
    assert len([one for one in threading.enumerate() if one is lm._engine._thread]) == 1


def test_a_pass_wakes_the_loop_once_for_all_its_texts(lm):
    async def counted():
        loop, woken = asyncio.get_running_loop(), []
        plain = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *given, **more: (woken.append(1), plain(*given, **more))[1]

        async def read(text):
            return [piece async for piece in lm.astream(text, max_new_tokens=30, eos=None)]

        await asyncio.gather(*(read(text) for text in TEXTS * 4))
        return len(woken)

    woken = asyncio.run(counted())
    assert woken <= lm._engine.stats().passes + 1  # and once by asyncio.run


def test_errors_are_those_of_generate_and_leave_the_loop_as_it_was(lm):
    def raises(logits):
        raise ZeroDivisionError

    async def refused():
        with pytest.raises(ValueError, match="agenerate: prompt of"):
            await lm.agenerate([281] * 5000)
        with pytest.raises(ValueError, match="temperature"):
            await lm.agenerate("x", temperature=-1)
        with pytest.raises(ValueError, match="astream: one text is told as it comes"):
            lm.astream("x", n=2, temperature=1)
        with pytest.raises(ValueError, match="astream: num_beams must be 1"):
            lm.astream("x", num_beams=2)
        for name in ("draft", "prefix"):
            with pytest.raises(ValueError, match=f"agenerate: {name} must be None, as all tasks share one engine"):
                await lm.agenerate("x", **{name: "lookup"})
        with nextword.trace(lm.model), pytest.raises(RuntimeError, match="agenerate: activations are looked at"):
            await lm.agenerate("x")
        with pytest.raises(ZeroDivisionError):
            await lm.agenerate("x", processors=[raises])
        with pytest.raises(ZeroDivisionError):
            await anext(lm.astream("x", processors=[raises]))
        return await lm.agenerate("The king", max_new_tokens=3)

    assert told(asyncio.run(refused())) == told(lm.generate("The king", max_new_tokens=3))


def test_a_closed_engine_is_made_anew_and_goes_with_its_model(lm):
    asyncio.run(lm.agenerate("x", max_new_tokens=1))
    first = lm._engine
    first.close()
    asyncio.run(lm.agenerate("x", max_new_tokens=1))
    assert lm._engine is not first
    other = nextword.LanguageModel(lm.model, lm.tokenizer)
    asyncio.run(other.agenerate("x", max_new_tokens=1))
    thread, gone = other._engine._thread, weakref.ref(other._engine)
    del other
    gc.collect()
    thread.join(SOON)
    assert gone() is None
    assert not thread.is_alive()


def test_who_generates_for_one_imports_nothing_of_event_loops():
    code = ("import sys, nextword; nextword.load().generate('x', max_new_tokens=1); "
            "print({'asyncio', 'concurrent.futures', 'nextword.decoding.engine'} & set(sys.modules))")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
