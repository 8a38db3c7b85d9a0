"""Instruction sets, threads, caches: the only state that the library keeps. Bits depend on the first alone."""

import os
from typing import NamedTuple

# OpenMP reads the environment once, when the core is loaded. By default its threads spin for about a millisecond before
# they sleep. Between two operations a step needs some ten microseconds of that; where other programs want the same
# processors the rest costs them, and then us, whole time slices. Whoever sets either variable keeps the choice.
_SPIN = None if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys() else "2000"
if _SPIN:
    os.environ["GOMP_SPINCOUNT"] = _SPIN
from nextword import _core  # noqa: E402
from nextword.machine import cgroups  # noqa: E402

if _SPIN:
    del os.environ["GOMP_SPINCOUNT"]

__all__ = ["Streaming", "compiled", "features", "isa", "last_level_cache", "openmp", "processors", "set_isa",
           "set_last_level_cache", "set_streaming", "set_threads", "streaming", "threads", "variants", "why_isa",
           "why_threads"]

MOST_THREADS = 1024

_threads_from = ""  # set as the module is loaded
_streaming_from = "a trial"
_isa_from = "the best that this CPU and operating system run"


def variants() -> list[str]:
    """Names of the instruction-set variants that this machine runs, best first; "baseline" is always there.

    >>> variants()[-1]
    'baseline'
    """
    return _core.variants()


def compiled() -> list[str]:
    """Names of the variants in this build, whether this machine runs them or not."""
    return _core.compiled()


def features() -> dict[str, bool]:
    """What the CPU offers and the operating system saves (CPUID and XCR0), by the CPU's own names."""
    return _core.features()


def isa() -> str:
    """The name of the variant in use."""
    return _core.isa()


def set_isa(name: str) -> None:
    """Use one variant from now on, in all threads; `NEXTWORD_ISA` does the same from outside.

    Raises ValueError, with the valid names, if the name is unknown or the machine does not run it.

    >>> before = isa()
    >>> set_isa("baseline"); isa()
    'baseline'
    >>> set_isa(before)
    """
    global _isa_from
    _core.set_isa(name)
    _isa_from = "set_isa"


def why_isa() -> str:
    """Where the variant in use comes from."""
    return _isa_from


def last_level_cache() -> int:
    """Bytes of the largest cache that a core has; a common size where the system does not tell."""
    return _core.last_level_cache()


def set_last_level_cache(size: int) -> None:
    """Take another size, in bytes, for that of the largest cache; 0: what the system tells.

    Virtual machines tell of caches that they share with others. Raises ValueError for a negative size.

    >>> set_last_level_cache(2**25); last_level_cache()
    33554432
    >>> set_last_level_cache(0)
    """
    _core.set_last_level_cache(size)


class Streaming(NamedTuple):
    """Whether weights of more bytes than `last_level_cache()` are read past the caches, and why.

    past, through: bytes a second of one thread that reads so, as a trial measured them; 0 where none was needed.
    """

    used: bool
    why: str
    past: float = 0.0
    through: float = 0.0


def streaming() -> Streaming:
    """Whether weights that exceed the caches are read past them, by a trial of some milliseconds that is made once.

    It leaves the caches to everything else, but some processors read several times slower so.

    >>> streaming().used in (True, False)
    True
    """
    chosen = _core.streaming()
    if chosen is not None:
        return Streaming(chosen, _streaming_from)
    past, through, allowed = _core.streaming_trial()
    return Streaming(allowed, "a trial", past, through)


def set_streaming(on: bool | None) -> None:
    """Read weights that exceed the caches past them (True), or through them (False), or as a trial finds (None).

    `NEXTWORD_STREAMING` with "on" or "off" does the same from outside. Only the speed depends on it.

    >>> set_streaming(False); streaming().used
    False
    >>> set_streaming(None)
    """
    global _streaming_from
    _core.set_streaming(on)
    _streaming_from = "set_streaming"


def openmp() -> bool:
    """Whether the library was built with OpenMP; without it everything runs on one thread."""
    return _core.openmp()


def processors() -> int:
    """Processors that this process may run on (its affinity mask where there is one)."""
    return _core.processors()


def threads() -> int:
    """Threads that an operation uses at most; fewer than asked for where the system has not started more.

    By default as many as there are processors, or as a container's quota grants whole ones; `OMP_NUM_THREADS` sets
    another default.
    """
    return _core.threads()


def set_threads(count: int) -> None:
    """Use at most `count` threads, 1 .. 1024, from now on; `NEXTWORD_THREADS` does the same from outside.

    Raises ValueError outside of that range. Without OpenMP the count stays 1.
    """
    global _threads_from
    _core.set_threads(count)
    _threads_from = "set_threads"


def why_threads() -> str:
    """Where the thread count comes from."""
    limit = _core.thread_limit()
    if limit:
        return f"the operating system started no more than {limit}; asked for: {_threads_from}"
    return _threads_from if openmp() else "built without OpenMP"


def _default_threads() -> tuple[int, str]:
    """How many threads to use where nobody has said it to this library, and where the number comes from."""
    words = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # one number for each level of nesting
    if words.isdecimal() and 1 <= int(words) <= MOST_THREADS:
        return int(words), "OMP_NUM_THREADS"
    every = _core.processors()
    quota = cgroups.cpus()
    if quota is not None and quota[0] < every:  # more threads would wait for each other's turns
        whole = max(1, int(quota[0]))
        return whole, f"a quota of {quota[0]:g} CPUs ({quota[1]}) for {every} processors"
    return min(every, MOST_THREADS), "all processors that this process may run on"


def _from_environment() -> None:
    global _threads_from, _isa_from, _streaming_from
    name = os.environ.get("NEXTWORD_ISA")
    if name:
        try:
            _core.set_isa(name)
        except ValueError as error:
            raise ValueError(f"NEXTWORD_ISA: {error}") from None
        _isa_from = "NEXTWORD_ISA"
    how = os.environ.get("NEXTWORD_STREAMING")
    if how:
        if how not in ("on", "off"):
            raise ValueError(f"NEXTWORD_STREAMING: expected on or off, got {how!r}")
        _core.set_streaming(how == "on")
        _streaming_from = "NEXTWORD_STREAMING"
    given = os.environ.get("NEXTWORD_THREADS")
    if given:
        if not given.isdecimal() or not 1 <= int(given) <= MOST_THREADS:
            raise ValueError(f"NEXTWORD_THREADS: expected a number 1 .. {MOST_THREADS}, got {given!r}")
        count, _threads_from = int(given), "NEXTWORD_THREADS"
    else:
        count, _threads_from = _default_threads()
    _core.set_threads(count)


_from_environment()
