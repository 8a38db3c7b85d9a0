"""cli/doctor.py: what it finds and how it words it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nextword.cli import doctor as doctor_cli
from nextword.cli import main as cli

FOUND = {
    "nextword": "1", "cpu": "C", "features": {"avx2": True, "avx512": False}, "variants": ["avx2", "baseline"],
    "compiled": ["avx512", "avx2", "baseline"], "variant": "avx2", "why_variant": "w", "threads": 2,
    "why_threads": "two cores", "openmp": True,
    "last_level_cache": 32 << 20,
    "streaming": {"used": False, "why": "a trial", "past": 5e9, "through": 29.4e9},
    "huge_pages": "always", "memory_gigabytes": 8.0, "system": "S",
    "python": "P", "numpy": "2", "safetensors": "0", "huggingface_hub": None,
}  # fmt: skip


def test_doctor_words_each_finding():
    text = doctor_cli.as_text(FOUND)
    assert "features      avx2 (absent: avx512)" in text
    assert "others        baseline; NEXTWORD_ISA=name forces one" in text
    assert "threads       2: two cores; " in text
    assert "not run here  avx512" in text
    assert 'pip install "nextword[hub]"' in text
    assert "8.0 GB" in text
    assert "cache         32 MiB on the last level" in text
    assert "large weights read through the cache: a trial, 5 GB/s past it, 29 through, one thread; NEXTWORD_ST" in text
    forced = {"used": True, "why": "NEXTWORD_STREAMING", "past": 0.0, "through": 0.0}
    assert "read past the cache: NEXTWORD_STREAMING; " in doctor_cli.as_text({**FOUND, "streaming": forced})
    less = {"openmp": False, "memory_gigabytes": None, "features": {}, "variants": ["avx2"]}
    single = doctor_cli.as_text({**FOUND, **less})
    assert "single-threaded: built without OpenMP" in single
    assert "memory        unknown" in single
    assert "features      none" in single
    assert "others        none" in single


def test_doctor_reports_this_machine(capsys):
    pytest.importorskip("nextword._core", reason="the compiled core is not built")
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(FOUND)
    assert found["variant"] in found["variants"]
    assert found["numpy"] == np.__version__
    assert cli.main(["doctor"]) == 0
    assert found["cpu"] in capsys.readouterr().out


def test_doctor_reads_what_the_system_says(monkeypatch):
    files = {
        "/proc/cpuinfo": "model name\t: Fast CPU\n",
        "/proc/meminfo": "MemTotal:  1000000 kB\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    }
    monkeypatch.setattr(doctor_cli, "read", lambda path: files.get(path, ""))
    assert doctor_cli.cpu_name().startswith("Fast CPU, ")
    assert doctor_cli.huge_pages() == "madvise: weights ask for them"
    assert doctor_cli.memory_gigabytes() == 1.024
    files.clear()
    assert doctor_cli.memory_gigabytes() is None
    assert doctor_cli.huge_pages() == "unknown to this system"
    assert "usable" in doctor_cli.cpu_name()
    monkeypatch.undo()
    assert doctor_cli.read("/no/such/file") == ""
    assert doctor_cli.installed("no-such-package-anywhere") is None
