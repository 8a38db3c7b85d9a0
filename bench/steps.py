"""What a step of the bundled model takes, in microseconds: so short that all around the arithmetic counts.

Beside the step of `generate` stands the model's call alone: the difference is the loop that decodes, rules and draws.
Run it in turns with another checkout to compare: python bench/steps.py [--json]
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

import nextword
from nextword import cpu
from nextword.arithmetic.formats import DTYPES

STEPS, ROUNDS = 100, 15
PROMPT = "Once upon a time there was a little"


def best(run: Callable[[], float]) -> float:
    """The shortest of several rounds, microseconds a step: what disturbs only adds."""
    run()
    return min(run() for _ in range(ROUNDS))


def prompts(lm: nextword.LanguageModel, texts: int) -> list[np.ndarray]:
    """So many beginnings of a text, of 4 to 8 tokens."""
    ids = np.array(lm.tokenizer.encode(PROMPT))
    return [ids[: 4 + i % 5] for i in range(texts)]


def generated(lm: nextword.LanguageModel, texts: int) -> float:
    """Microseconds of a step of `generate`."""
    out = lm.generate(prompts(lm, texts), max_new_tokens=STEPS + 1, eos=None)
    return 1e6 * out[0].timings.decode_seconds / STEPS


def called(lm: nextword.LanguageModel, texts: int) -> float:
    """Microseconds of the model's call alone."""
    begun = prompts(lm, texts)
    cache = lm.model.cache(texts, 8 + STEPS)
    lm.model(begun, cache, rows=[])
    batch = [begun[0][:1]] * texts
    begin = time.perf_counter()
    for _ in range(STEPS):
        lm.model(batch, cache)
    return 1e6 * (time.perf_counter() - begin) / STEPS


def rows() -> Iterator[dict[str, object]]:
    """A row for each dtype, thread count and number of texts; a text of a batch is checked to be that text alone."""
    before = cpu.threads()
    for dtype in DTYPES:
        lm = nextword.load(dtype=dtype)
        together = lm.generate(prompts(lm, 8), max_new_tokens=9, eos=None)
        assert together[7].tokens == lm.generate(prompts(lm, 8)[7], max_new_tokens=9, eos=None).tokens
        for threads in sorted({1, before}):
            cpu.set_threads(threads)
            for texts in (1, 8):
                step, model = (best(partial(run, lm, texts)) for run in (generated, called))
                yield {"dtype": dtype, "threads": threads, "texts": texts, "step_us": round(step, 1),
                       "model_us": round(model, 1)}
    cpu.set_threads(before)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    if not as_json:
        print("dtype     threads texts  step us  of it the model's call")
    found = []
    for row in rows():
        found.append(row)
        if not as_json:
            print(f"{row['dtype']:<9} {row['threads']:>7} {row['texts']:>5} {row['step_us']:>8} {row['model_us']:>8}")
    if as_json:
        print(json.dumps({"isa": cpu.isa(), "rows": found}))


if __name__ == "__main__":
    main()
