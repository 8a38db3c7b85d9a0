"""nextword itself, through its public interface, on the Hugging Face folder."""

import time
from pathlib import Path
from typing import Any

import nextword


def load(data: Path, precision: str, threads: int) -> Any:
    lm = nextword.load(str(data / "hf"), dtype=precision, threads=threads)

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        start = time.perf_counter()
        results = lm.generate(prompts, max_new_tokens=new, temperature=0.0, eos=None)
        wall = time.perf_counter() - start
        # all that is not the prompt's time counts as decoding, whatever the engine says of it
        prefill = wall if new == 1 else results[0].timings.prefill_seconds
        return [list(result.tokens) for result in results], prefill, wall - prefill

    return generate
