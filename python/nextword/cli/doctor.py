"""What `nextword doctor` says: the machine, what the library uses of it and why."""

from __future__ import annotations

import argparse
import os
import platform
import re
from pathlib import Path
from typing import Any

from nextword.cli.terminal import print_json

HELP = "say what the machine offers, what is used and why"
EXAMPLES = ""

PACKAGES = ("numpy", "safetensors", "huggingface_hub")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword doctor` takes."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report; returns the exit code."""
    found = report()
    if args.json:
        print_json(**found)
    else:
        print(as_text(found))
    return 0


def report() -> dict[str, Any]:
    """The findings by name, ready for JSON."""
    from importlib.metadata import version

    from nextword.machine import cpu

    return {
        "nextword": version("nextword"),
        "cpu": cpu_name(),
        "features": {name: bool(has) for name, has in cpu.features().items()},
        "variants": list(cpu.variants()),
        "compiled": list(cpu.compiled()),
        "variant": cpu.isa(),
        "why_variant": cpu.why_isa(),
        "threads": cpu.threads(),
        "why_threads": cpu.why_threads(),
        "openmp": cpu.openmp(),
        "last_level_cache": cpu.last_level_cache(),
        "streaming": cpu.streaming()._asdict(),
        "huge_pages": huge_pages(),
        "memory_gigabytes": memory_gigabytes(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: installed(name) for name in PACKAGES},
    }


def as_text(found: dict[str, Any]) -> str:
    """The report for the eye, one finding a line."""
    features = [name for name, has in found["features"].items() if has]
    missing = [name for name, has in found["features"].items() if not has]
    others = [name for name in found["variants"] if name != found["variant"]]
    hub = found["huggingface_hub"] or 'not installed; hub ids need pip install "nextword[hub]"'
    rows = [
        ("nextword", found["nextword"]),
        ("CPU", found["cpu"]),
        ("features", (", ".join(features) or "none") + (f" (absent: {', '.join(missing)})" if missing else "")),
        ("variant", f"{found['variant']}: {found['why_variant']}"),
        ("others", (", ".join(others) or "none") + "; NEXTWORD_ISA=name forces one"),
        ("not run here", ", ".join(name for name in found["compiled"] if name not in found["variants"]) or "none"),
        ("threads", f"{found['threads']}: {found['why_threads']}; NEXTWORD_THREADS=n sets another number"),
        ("OpenMP", "yes" if found["openmp"] else "no, single-threaded: built without OpenMP"),
        ("cache", f"{found['last_level_cache'] / 2**20:,.0f} MiB on the last level"),
        ("large weights", streaming(**found["streaming"])),
        ("huge pages", found["huge_pages"]),
        ("memory", f"{found['memory_gigabytes']:.1f} GB" if found["memory_gigabytes"] else "unknown"),
        ("system", found["system"]),
        ("Python", found["python"]),
        ("numpy", found["numpy"]),
        ("safetensors", found["safetensors"]),
        ("hub library", hub),
    ]
    return "\n".join(f"{name:<14}{value}" for name, value in rows)


def streaming(used: bool, why: str, past: float, through: float) -> str:
    """How weights beyond the cache are read, in words."""
    rates = f", {past / 1e9:.0f} GB/s past it, {through / 1e9:.0f} through, one thread" if through else ""
    return f"read {'past' if used else 'through'} the cache: {why}{rates}; NEXTWORD_STREAMING=on or off forces one"


def installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def read(path: str) -> str:
    """A file of the system's own, or nothing where it has no such file."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def cpu_name() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE)
    name = found[1].strip() if found else platform.processor() or platform.machine()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {usable} usable logical core{'s' if usable > 1 else ''}"


def huge_pages() -> str:
    """The system's policy for transparent huge pages, in words."""
    found = re.search(r"\[(\w+)\]", read("/sys/kernel/mm/transparent_hugepage/enabled"))
    return {
        "always": "always: weights lie on huge pages",
        "madvise": "madvise: weights ask for them",
        "never": "never: the system grants none, which costs some speed",
    }.get(found[1] if found else "", "unknown to this system")


def memory_gigabytes() -> float | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 / 1e9 if found else None
