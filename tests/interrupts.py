"""Interrupts in passes, as Ctrl-C gives them: a model that raises them, and a scheduler that goes on all the same."""

from __future__ import annotations

from itertools import count


def interrupted(model, numbers, after):
    """A copy of a model whose calls of these numbers are interrupted: before they run, or after, when nobody has seen
    their logits."""
    calls = count()

    class Interrupted(type(model)):
        def __call__(self, *arguments):
            now = next(calls) in numbers
            if now and not after:
                raise KeyboardInterrupt
            logits = super().__call__(*arguments)
            if now:
                raise KeyboardInterrupt
            return logits

    other = model.__copy__()
    other.__class__ = Interrupted
    return other


def run_on(scheduler, most=2000):
    """Step until all rows have ended, whatever interrupts a step."""
    for _ in range(most):
        if not (scheduler.running or scheduler.waiting):
            return
        try:
            for _ in scheduler.step():
                pass
        except KeyboardInterrupt:
            pass
    raise AssertionError(f"no end after {most} steps")
