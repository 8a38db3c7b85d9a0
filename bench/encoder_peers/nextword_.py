"""nextword through its public interface; a precision is the weights' dtype. `batch` is unused: it pads nothing."""

from pathlib import Path
from typing import Any

import nextword


def convert(data: Path, precision: str) -> None:
    import shutil

    from nextword.cli import main as cli

    target = data / f"nextword-{precision}"
    shutil.rmtree(target, ignore_errors=True)
    if precision == "float32":
        return
    if cli.main(["quantize", str(data / "hf"), "--dtype", precision, "--out", str(target)]):
        raise RuntimeError(f"nextword could not quantise to {precision}")


def load(data: Path, precision: str, threads: int) -> Any:
    quantised = data / f"nextword-{precision}"
    encoder = nextword.load(quantised if quantised.exists() else data / "hf", dtype=precision, threads=threads)
    return lambda texts, batch: encoder.embed(texts)
