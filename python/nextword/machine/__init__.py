"""The machine and the process: processor, speed, memory, threads, and the words of errors.

How fast the machine is, is here by name: `nextword.machine.read_bandwidth`, `.multiply_add_rate`, `.beyond_caches`.
"""

from nextword.machine import cpu  # noqa: F401 - before all that takes the core: it sets how threads wait
from nextword.machine.speed import beyond_caches, multiply_add_rate, read_bandwidth

__all__ = ["beyond_caches", "multiply_add_rate", "read_bandwidth"]
