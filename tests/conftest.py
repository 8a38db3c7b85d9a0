"""What all tests share: every instruction set, thread counts, hypothesis profiles, and the data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import nextword

ROOT = Path(__file__).resolve().parents[1]

# A fixture such as `isa` holds for all examples of a test, which is what is wanted.
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("default", deadline=None, max_examples=20, suppress_health_check=CHECKS)
settings.register_profile("thorough", deadline=None, max_examples=500, suppress_health_check=CHECKS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(params=nextword.cpu.variants())
def isa(request):
    """Each instruction set that this machine runs, in use during the test."""
    before = nextword.cpu.isa()
    nextword.cpu.set_isa(request.param)
    yield request.param
    nextword.cpu.set_isa(before)


@pytest.fixture
def threads():
    """Sets the thread count; the count from before comes back after the test."""
    before = nextword.cpu.threads()
    yield nextword.cpu.set_threads
    nextword.cpu.set_threads(before)


@pytest.fixture
def shared():
    """Finds a file or folder of ../shared/data; skips the test where it is absent."""

    def find(path):
        found = ROOT.parent / "shared" / "data" / path
        if not found.exists():
            pytest.skip(f"needs {path} of ../shared/data, which is not beside this checkout")
        return found

    return find


@pytest.fixture(scope="session")
def demo():
    """The model that ships with the package."""
    return nextword.load()
