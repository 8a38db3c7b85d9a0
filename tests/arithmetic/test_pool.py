"""pool.h: memory of one call serves the next, no more is kept than is said, and what is kept is given back."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from nextword import ops
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, tiny_config

HUGE_PAGE = 2 << 20  # bytes: the largest that one fault can map


def fewest_faults(call, calls=4):
    """Of the calls after the first; other programs and Python's own memory add some to one or the other."""
    call()
    found = []
    for _ in range(calls):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        call()
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(found)


@pytest.mark.parametrize("call", ["logits", "prefill", "generate", "score", "session"])
def test_a_later_call_maps_no_new_memory(call):
    lm = LanguageModel(random_model(tiny_config(n_positions=500, vocab_size=50257)))
    ids = np.arange(500)
    calls = {
        "logits": lambda: lm.logits(ids),  # 101 MB
        "prefill": lambda: lm.model([ids], lm.model.cache(1, 500), rows=[499]),
        "generate": lambda: lm.generate(ids, max_new_tokens=1, on_overflow="stop"),
        "score": lambda: lm.score(ids),
        "session": lambda: lm.session(ids),
    }
    if call == "logits":
        fresh = 4 * 500 * 50257 // HUGE_PAGE
        assert fewest_faults(calls[call]) < fresh / 4
    else:
        assert fewest_faults(calls[call]) < 8


def test_what_is_kept_is_bounded_by_128_mb_or_by_the_weights():
    large = 36_000_000  # floats, 144 MB
    assert fewest_faults(lambda: ops.empty((large,)).fill(0)) >= 4 * large // HUGE_PAGE  # more than is kept
    weight = ops.pack(np.zeros((5120, 8192), "f"))  # 168 MB
    assert fewest_faults(lambda: ops.empty((large,)).fill(0)) < 8
    held = resident()
    del weight
    ops.empty((1 << 16,))  # goes at once, and with it what is too much by now
    assert held - resident() > 300_000_000 * 0.95  # the weights and the 144 MB


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
