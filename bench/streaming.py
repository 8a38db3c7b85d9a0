"""Decoding with weights that exceed the last-level cache, beside the same told of a larger cache: checked, then timed.

python bench/streaming.py [--model FOLDER] [--dtypes float32,bfloat16,int8,int4] [--threads 1,2] [--new 32]
                          [--rounds 15]

Told of a cache of 1 MiB, every model exceeds it, and whether its weights are read past the caches is up to a trial
(nextword.cpu.streaming). Told of a large one they are read through the caches. The two take turns, in the other order
every second round; figures are medians, the ratio is that of the rounds. Ends with 1 where a ratio is below 0.95: a
machine on which non-temporal reads are slow must be found out by the trial.
"""

import argparse
import statistics

import numpy as np

import nextword
from nextword import cpu
from nextword.arithmetic.formats import DTYPES
from nextword.models import random_model
from nextword.tasks.language_model import LanguageModel

SMALL, LARGE = 1 << 20, 1 << 40
LEAST = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder (random weights in the shape of GPT-2 124M)")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--threads", default=f"1,{cpu.threads()}" if cpu.threads() > 1 else "1")
    parser.add_argument("--new", type=int, default=32, help="tokens to generate, at least 2")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"{'dtype':10}{'threads':>8}{'told small, tok/s':>19}{'told large, tok/s':>19}{'ratio':>7}")
    slow = False
    for dtype in options.dtypes.split(","):
        lm = opened(options.model, dtype)
        for threads in map(int, options.threads.split(",")):
            cpu.set_threads(threads)
            small, large = rounds(lm, options.new, options.rounds)
            ratio = statistics.median(s / g for s, g in zip(small, large, strict=True))
            slow |= ratio < LEAST
            print(f"{dtype:10}{threads:8}{statistics.median(small):19.1f}{statistics.median(large):19.1f}{ratio:7.3f}",
                  flush=True)
    found = cpu.streaming()
    print(f"weights beyond the caches are read {'past' if found.used else 'through'} them ({found.why}: "
          f"{found.past / 1e9:.1f} GB/s past, {found.through / 1e9:.1f} through, one thread)")
    raise SystemExit(f"below {LEAST}" if slow else 0)


def opened(model: str | None, dtype: str) -> LanguageModel:
    if model:
        return nextword.load(model, dtype=dtype)
    return LanguageModel(random_model(dtype=dtype))


def rounds(lm: LanguageModel, new: int, count: int) -> tuple[list[float], list[float]]:
    """Tokens a second of each round, told of a small cache and of a large one."""
    prompt = np.arange(8)
    speeds: dict[int, list[float]] = {SMALL: [], LARGE: []}

    def run(size: int) -> nextword.Generation:
        cpu.set_last_level_cache(size)
        return lm.generate(prompt, max_new_tokens=new, eos=None)

    if run(SMALL).tokens != run(LARGE).tokens:
        raise SystemExit("another size of the cache gave other tokens; not timed")
    for i in range(count):
        for size in (SMALL, LARGE) if i % 2 else (LARGE, SMALL):
            speeds[size].append(run(size).timings.decode_tokens_per_second)
    cpu.set_last_level_cache(0)
    return speeds[SMALL], speeds[LARGE]


if __name__ == "__main__":
    main()
