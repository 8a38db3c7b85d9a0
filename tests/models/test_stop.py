"""Stop: another thread ends a pass; what is held stays; whoever sets none notices nothing."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import nextword
from nextword import reference
from nextword.machine.stop import Stop, StoppedError, stopped_by
from strategies import random_model, tiny_config

IDS = [np.arange(30)]


@pytest.mark.parametrize("arithmetic", [nextword.ops, reference])
def test_a_stop_that_is_set_ends_passes_and_what_is_held_stays(arithmetic):
    model = random_model(tiny_config(n_positions=64), seed=1, ops=arithmetic)
    cache = model.cache(2, 64)
    model(IDS, cache, [1])
    expected = model(IDS, model.cache(1, 64))
    with stopped_by(Stop()) as stop:
        assert np.array_equal(model(IDS, model.cache(1, 64)), expected)
        stop.set()
        assert stop.is_set()
        for _ in range(2):
            with pytest.raises(StoppedError, match="model: the pass was stopped; what is held of each sequence is"):
                model(IDS, cache, [0])
        with stopped_by(Stop()):
            model([np.array([1])], model.cache(1, 64))  # the innermost counts
        assert cache.lengths.tolist() == [0, 30]
        stop.clear()
        assert np.array_equal(model(IDS, cache, [0]), expected)
        stop.set()
    model([np.array([1])], cache, [0])


def test_a_pass_that_runs_ends_soon_after_another_thread_has_said_so():
    model = random_model(tiny_config(n_positions=512, n_embd=512, n_layer=12, n_head=8), seed=1)
    ids, stop, took = [np.arange(500) % 37], Stop(), []
    start = time.perf_counter()
    whole = model(ids, model.cache(1, 512))
    takes = time.perf_counter() - start
    cache = model.cache(1, 512)

    def run():
        with stopped_by(stop):
            try:
                model(ids, cache)
            except StoppedError:
                took.append(time.perf_counter())

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(takes / 10)
    said = time.perf_counter()
    stop.set()
    thread.join()
    assert took
    assert cache.lengths.tolist() == [0]
    assert took[0] - said < takes  # it did not run to its end: a tenth of it had passed
    assert np.array_equal(model(ids, cache), whole)


def test_other_values_are_refused():
    program = random_model(tiny_config(n_positions=64), seed=1).program()
    none = np.empty(0, np.int64)
    with pytest.raises(TypeError, match="program: stop must be a Stop or None, got int"):
        program.run(none, none, none, none, [], None, 3)
