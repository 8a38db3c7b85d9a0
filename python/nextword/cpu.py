"""Instruction sets and threads: the only state that the library keeps. Results never depend on the thread count."""

import os

# OpenMP reads the environment once, when the core is loaded. By default its threads spin for about a millisecond before
# they sleep. Between two operations a step needs some ten microseconds of that; where other programs want the same
# processors the rest costs them, and then us, whole time slices. Whoever sets either variable keeps the choice.
_SPIN = None if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys() else "2000"
if _SPIN:
    os.environ["GOMP_SPINCOUNT"] = _SPIN
from nextword import _core  # noqa: E402

if _SPIN:
    del os.environ["GOMP_SPINCOUNT"]

__all__ = ["compiled", "features", "isa", "last_level_cache", "openmp", "processors", "set_isa", "set_threads",
           "threads", "variants", "why_isa", "why_threads"]

_threads_from = "all processors that this process may run on"
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


def openmp() -> bool:
    """Whether the library was built with OpenMP; without it everything runs on one thread."""
    return _core.openmp()


def processors() -> int:
    """Processors that this process may run on (its affinity mask where there is one)."""
    return _core.processors()


def threads() -> int:
    """Threads that an operation uses at most; fewer than asked for where the system has not started more."""
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


def _from_environment() -> None:
    global _threads_from, _isa_from
    name = os.environ.get("NEXTWORD_ISA")
    if name:
        try:
            _core.set_isa(name)
        except ValueError as error:
            raise ValueError(f"NEXTWORD_ISA: {error}") from None
        _isa_from = "NEXTWORD_ISA"
    count = os.environ.get("NEXTWORD_THREADS")
    if count:
        if not count.isdecimal() or not 1 <= int(count) <= 1024:
            raise ValueError(f"NEXTWORD_THREADS: expected a number 1 .. 1024, got {count!r}")
        _core.set_threads(int(count))
        _threads_from = "NEXTWORD_THREADS"


_from_environment()
