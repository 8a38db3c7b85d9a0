"""Counters, gauges and histograms, and the page of them in Prometheus' text format. Names are vLLM's where they fit."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
Labels = tuple[tuple[str, str], ...]
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """How often a number of seconds was at most each bound."""

    def __init__(self) -> None:
        self.counts, self.sum = [0] * (len(SECONDS) + 1), 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """What a server counts. Safe to use from several threads.

    >>> metrics = Metrics()
    >>> metrics.count("requests_total", "requests", (("code", "200"),))
    >>> print(metrics.text([]), end="")
    # HELP nextword_requests_total requests
    # TYPE nextword_requests_total counter
    nextword_requests_total{code="200"} 1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._helps: dict[str, str] = {}
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, Histogram]] = {}

    def count(self, name: str, help: str, labels: Labels = (), by: float = 1) -> None:
        """Raise a counter."""
        with self._lock:
            self._helps.setdefault(name, help)
            known = self._counters.setdefault(name, {})
            known[labels] = known.get(labels, 0) + by

    def observe(self, name: str, help: str, seconds: float, labels: Labels = ()) -> None:
        """Add to a histogram."""
        with self._lock:
            self._helps.setdefault(name, help)
            self._histograms.setdefault(name, {}).setdefault(labels, Histogram()).add(seconds)

    def text(self, now: Iterable[tuple[str, str, str, Labels, Callable[[], float]]]) -> str:
        """The page. now: (name, kind, help, labels, value) of what is asked for when the page is."""
        lines: list[str] = []
        with self._lock:
            for name, values in sorted(self._counters.items()):
                lines += self._head(name, "counter", self._helps[name])
                lines += [f"nextword_{name}{shown(labels)} {number(value)}" for labels, value in sorted(values.items())]
            for name, found in sorted(self._histograms.items()):
                lines += self._head(name, "histogram", self._helps[name])
                for labels, one in sorted(found.items(), key=lambda item: item[0]):
                    total = 0
                    for bound, count in zip((*map(number, SECONDS), "+Inf"), one.counts, strict=True):
                        total += count
                        lines.append(f"nextword_{name}_bucket{shown((*labels, ('le', bound)))} {total}")
                    lines += [f"nextword_{name}_sum{shown(labels)} {number(one.sum)}",
                              f"nextword_{name}_count{shown(labels)} {total}"]
        before = ""
        for name, kind, help, labels, value in sorted(now, key=lambda item: (item[0], item[3])):
            lines += [] if name == before else self._head(name, kind, help)
            lines.append(f"nextword_{name}{shown(labels)} {number(value())}")
            before = name
        return "\n".join(lines) + "\n" if lines else ""

    @staticmethod
    def _head(name: str, kind: str, help: str) -> list[str]:
        return [f"# HELP nextword_{name} {help}", f"# TYPE nextword_{name} {kind}"]


def shown(labels: Labels) -> str:
    """Labels as they stand behind a name.

    >>> shown((("model", 'a"b'),)), shown(())
    ('{model="a\\\\"b"}', '')
    """
    told = [f'{name}="{_escaped(value)}"' for name, value in labels]
    return f"{{{','.join(told)}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """A number as short as it can be.

    >>> number(1.0), number(0.005)
    ('1', '0.005')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))
