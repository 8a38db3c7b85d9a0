"""How fast this machine is, measured with the threads and the instruction set in use. What it offers is in cpu."""

from nextword import _core
from nextword.machine import cpu

__all__ = ["beyond_caches", "multiply_add_rate", "read_bandwidth"]

LEAST = 1 << 20  # bytes whose reading takes long enough to be timed; see csrc/machine/speed.cpp


def beyond_caches() -> int:
    """Bytes of a buffer that no cache holds: twice the last-level cache, at least 256 MiB."""
    return max(256 << 20, 2 * cpu.last_level_cache())


def read_bandwidth(size: int | None = None, seconds: float = 0.2) -> float:
    """Bytes a second at which `cpu.threads()` threads read memory: the limit of decoding, which reads all weights.

    It reads a buffer of `size` bytes front to back, as often as `seconds` allow and three times at least; the fastest
    pass counts. size: 2**20 .. 2**36; None takes `beyond_caches()`: a buffer that fits into the caches is read faster.
    seconds: above 0, at most 60; filling the buffer comes on top.
    Raises ValueError outside of these ranges, MemoryError without memory for the buffer.

    >>> read_bandwidth(2**20, 0.001) > 0
    True
    """
    return _core.read_bandwidth(beyond_caches() if size is None else size, seconds)


def multiply_add_rate(seconds: float = 0.1, dtype: str = "float32") -> float:
    """Multiply-adds a second on `cpu.threads()` threads: the limit of reading a long prompt.

    They are done with the instructions for weights of `dtype` ("float32", "bfloat16", "int8" or "int4"), on vectors as
    wide as the instruction set in use has them, which come from registers; the fastest of three or more passes counts.
    seconds: above 0, at most 60. Raises ValueError outside of that range, or for another dtype.

    >>> multiply_add_rate(0.001) > 0
    True
    """
    return _core.multiply_add_rate(seconds, dtype)
