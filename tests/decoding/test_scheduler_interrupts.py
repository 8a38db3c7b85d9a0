"""scheduler.py and slots.py: an interrupt at any line, as rows join, leave and slide, loses no slot, row or bit."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from interrupts import run_on
from nextword import Sampling
from nextword.decoding import scheduler as scheduler_module
from nextword.decoding import slots as slots_module
from nextword.decoding.scheduler import Scheduler
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, tiny_config

WINDOW = 80
STORY = np.random.default_rng(7).integers(0, 37, 2 * WINDOW).tolist()
FILES = {scheduler_module.__file__, slots_module.__file__}
# Where a row takes its token, an interrupt is the row's own.
APART = {"_take"}


class Interrupt:
    """Raises KeyboardInterrupt at the line number `at` of those that run in the files; counts them."""

    def __init__(self, at):
        self.at, self.count = at, 0

    def __enter__(self):
        self._before = sys.gettrace()  # that of coverage, which measures the rest of the process
        sys.settrace(self._called)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _called(self, frame, event, argument):
        inside = frame.f_code.co_filename in FILES and frame.f_code.co_name not in APART
        return self._line if inside else None

    def _line(self, frame, event, argument):
        if event == "line":
            self.count += 1
            if self.count == self.at:
                raise KeyboardInterrupt
        return self._line


@pytest.fixture(scope="module")
def lm():
    return LanguageModel(random_model(tiny_config(n_positions=WINDOW), seed=5))


PROMPTS = [STORY[:70], [*STORY[:66], 1, 2], [3], [*STORY[:66], 4], STORY[:78]]


def rows_of(lm):
    call = lm._call("generate", "slide", None, False, ())
    return [call.rows([ids], [Sampling(seed=0, logprobs=0, max_new_tokens=4)], [True])[0] for ids in PROMPTS]


def told(rows):
    return [(row.tokens, row.logprobs, row.finish) for row in rows]


@pytest.mark.parametrize("draft", [None, "lookup"])
def test_an_interrupt_at_any_line_loses_nothing(lm, draft):
    def run(at):
        """How many lines ran, up to the interrupt and after it."""
        rows = rows_of(lm)
        scheduler = Scheduler(lm.model, lm.model.cache(2, WINDOW), draft, budget=40)
        for row in rows:
            scheduler.submit(row, "slide")
        with Interrupt(at) as interrupt:
            run_on(scheduler, 200)
        assert scheduler.slots.free == 2
        return interrupt.count, told(rows)

    lines, expected = run(0)
    assert lines > 300
    for at in range(1, lines + 1):
        assert run(at)[1] == expected, at


def test_a_row_whose_submission_to_a_slot_is_interrupted_takes_none(lm):
    """Nobody has its seat: it either runs, and ends, or has never been there."""
    expected, reached = told(rows_of(lm)), False
    for at in range(1, 60):
        cache = lm.model.cache(2, WINDOW)
        lm.model([np.array(STORY[:60])], cache, [1])
        scheduler = Scheduler(lm.model, cache)
        row, other = rows_of(lm)[:2]
        try:
            with Interrupt(at):
                scheduler.submit(row, "slide", slot=1)
            reached = True
        except KeyboardInterrupt:
            pass
        scheduler.submit(other, "slide")
        for _ in scheduler.steps():
            pass
        assert scheduler.slots.free == 2
        assert len(other.tokens) == 4
        assert len(row.tokens) in (0, 4)
    assert reached
    assert len(expected) == len(PROMPTS)
