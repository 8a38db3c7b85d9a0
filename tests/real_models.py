"""Real models that `python tools/real_models.py` has put into a cache; a test that needs one skips where it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "tools" / "real_models.py"


def real_model(name: str) -> Path:
    """The model's file or folder."""
    spec = importlib.util.spec_from_file_location("tools_real_models", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path: Path = module.place(name)
    if not path.exists():
        pytest.skip(f"needs {path.name}: run `python tools/real_models.py {name}`")
    return path
