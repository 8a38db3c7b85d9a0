"""The machine under measurement: what it is, how busy others keep it, and the lock that gives one measurer its turn."""

import contextlib
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
QUIET = 0.10  # share of one core that other processes may take while the machine counts as idle


def cpus(threads: int) -> list[int]:
    """The CPUs that a run with so many threads is pinned to: the last ones, since interrupts favour the first."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise ValueError(f"{threads} threads asked for, {len(allowed)} CPUs allowed")
    return allowed[-threads:]


def describe() -> dict[str, str]:
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd")
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    family = f"family {fields['cpu family']} model {fields['model']}" if "cpu family" in fields else ""
    return {
        "cpu": f"{fields.get('model name', platform.machine())} {family}".strip(),
        "instruction sets": " ".join(flag for flag in wanted if flag in flags),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1e9:.0f} GB",
        "last-level cache": last_level_cache(),
        "system": f"{platform.system()} {platform.release()}",
    }


def last_level_cache() -> str:
    sizes = [path.read_text().strip() for path in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("*/size"))]
    return sizes[-1] if sizes else "unknown"


@dataclass(frozen=True)
class Usage:
    """Seconds since boot, over all CPUs: `busy` in processes and the kernel, `stolen` by the hypervisor for others."""

    busy: float
    stolen: float
    at: float

    @staticmethod
    def now() -> "Usage":
        user, nice, system, _, _, irq, softirq, stolen = (
            int(ticks) / TICKS for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        return Usage(user + nice + system + irq + softirq, stolen, time.perf_counter())

    def foreign(self, later: "Usage", own: float) -> float:
        """Cores that others kept busy, or that the hypervisor withheld, until `later`; `own` seconds were ours."""
        others = max(0.0, later.busy - self.busy - own) + later.stolen - self.stolen
        return others / max(later.at - self.at, 1e-9)


def wait_until_quiet(patience: float) -> float:
    """Waits for half a second without other work, `patience` seconds at most; the last half second's foreign load."""
    end = time.perf_counter() + patience
    while True:
        before = Usage.now()
        time.sleep(0.5)
        load = before.foreign(Usage.now(), 0)
        if load < QUIET or time.perf_counter() > end:
            return load


@contextlib.contextmanager
def turn(lock: Path | None, patience: float) -> Iterator[None]:
    """Holds `lock` against other measurers (as flock(1) does) and waits for the machine to be idle."""
    with contextlib.ExitStack() as stack:
        if lock:
            file = stack.enter_context(lock.open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        wait_until_quiet(patience)
        yield
