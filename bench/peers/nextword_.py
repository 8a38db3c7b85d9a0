"""nextword itself, through its public interface. A precision is the weights' dtype; keys and values are kept in float32
beside float32, else in bfloat16, or with `+kv8` after the dtype in int8."""

import time
from pathlib import Path
from typing import Any

import nextword


def dtypes(precision: str) -> tuple[str, str]:
    """Of the weights, of the cache."""
    weights, _, cache = precision.partition("+")
    return weights, "int8" if cache == "kv8" else "float32" if weights == "float32" else "bfloat16"


def folder(data: Path, precision: str) -> Path:
    """The weights as `nextword quantize` wrote them; the Hugging Face folder where it did not."""
    quantised = data / f"nextword-{dtypes(precision)[0]}"
    return quantised if quantised.exists() else data / "hf"


def convert(data: Path, precision: str) -> None:
    import shutil

    from nextword.cli import main as cli

    dtype, _ = dtypes(precision)
    target = data / f"nextword-{dtype}"
    shutil.rmtree(target, ignore_errors=True)
    if dtype == "float32":
        return
    if cli.main(["quantize", str(data / "hf"), "--dtype", dtype, "--out", str(target)]):
        raise RuntimeError(f"nextword could not quantise to {dtype}")


def load(data: Path, precision: str, threads: int) -> Any:
    dtype, kv_dtype = dtypes(precision)
    lm = nextword.load(str(folder(data, precision)), dtype=dtype, kv_dtype=kv_dtype, threads=threads)

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        start = time.perf_counter()
        results = lm.generate(prompts, max_new_tokens=new, temperature=0.0, eos=None)
        wall = time.perf_counter() - start
        # all that is not the prompt's time counts as decoding, whatever the engine says of it
        prefill = wall if new == 1 else results[0].timings.prefill_seconds
        return [list(result.tokens) for result in results], prefill, wall - prefill

    return generate
