"""What the machine allows, measured by bench/limits.cpp within the run, and the ceiling that it sets for each work."""

import json
import subprocess
from pathlib import Path

from peers import machine, shape
from peers.registry import Class, Work

SOURCE = Path(__file__).parent.parent / "limits.cpp"
Measured = dict[str, float]


def build(folder: Path) -> Path:
    program = folder / "limits"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        options = ["-O3", "-march=native", "-std=c++17", "-pthread"]
        subprocess.run(["c++", *options, str(SOURCE), "-o", str(program)], check=True)
    return program


def rates(program: Path, megabytes: float, threads: int) -> Measured:
    """Rates over a buffer of so many MB (10^6 bytes): what fits the last-level cache is read faster."""
    command = [str(program), str(max(1, round(megabytes))), *map(str, machine.cpus(threads))]
    result: Measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def measure(program: Path, threads: int, precision: Class) -> Measured:
    """Rates over a buffer of the size of the weights."""
    return rates(program, shape.PARAMETERS_READ * precision.weight_bits / 8e6, threads)


def middle(first: Measured, second: Measured) -> Measured:
    """Between a measurement before the engines and one after: the machine may have changed its state in between."""
    return {name: (rate + second[name]) / 2 for name, rate in first.items()}


def ceiling(name: str, work: Work, precision: Class, measured: Measured) -> float | None:
    """The best value of a work that the measured rates allow; None where this CPU lacks the instructions."""
    weights = shape.PARAMETERS_READ * precision.weight_bits / 8
    bandwidth, peak = measured["read_gb_per_s"] * 1e9, measured.get(precision.peak, 0) * 1e9
    if name == "memory":
        return weights / 1e6
    if name == "start":  # one copy of the weights into new memory; an engine that maps its file need not make it
        return weights / (measured["copy_gb_per_s"] * 1e9)
    if work.kind == "prefill":
        return peak / shape.prefill_operations(work.prompt) or None
    cache = shape.cache_bytes(work.prompt + work.new / 2, precision.cache_number_bytes)
    by_memory = work.sequences * bandwidth / (weights + work.sequences * cache)
    return min(by_memory, peak / (2 * shape.PARAMETERS_READ)) if peak else by_memory
