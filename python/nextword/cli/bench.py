"""`nextword bench`: how fast a model runs here, beside what the machine allows, for each dtype and thread count."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

import nextword
from nextword.arithmetic.arrays import Ints
from nextword.arithmetic.formats import DTYPES
from nextword.cli import operations
from nextword.cli.arguments import positive
from nextword.cli.terminal import print_json, progress, style
from nextword.machine import cpu, speed
from nextword.models import SHAPES, random_model
from nextword.models.model import Model
from nextword.tasks.language_model import LanguageModel

HELP = "measure how fast a model runs here, and say which dtype and thread count to take"
EXAMPLES = """examples:
  nextword bench
  nextword bench --threads 1,2,4 --json
  nextword bench --operations --dtypes int8
  nextword bench --shape smollm2-135m --dtypes int8,int4
  nextword bench --model openai-community/gpt2-medium"""

PROMPT = 512  # tokens of the prompt whose reading is timed, or as many as the context holds
START = 8  # tokens that decoding begins with: so few that the weights are nearly all that it reads
ROUNDS = 5  # repetitions, of which the median counts
SECONDS = 40.0  # for all measurements together; a slower machine repeats less
LOOK = 0.05  # seconds for each look at what the machine allows
ENOUGH = 0.95  # of the best speed: fewer threads that reach it leave the others to other programs


@dataclass(frozen=True)
class Measured:
    """One dtype on one thread count.

    prompt: its tokens. multiply_adds: what each of them costs. weight_bytes: what each new token reads. Tokens a second
    are medians. What the machine allows is the best of all looks at it: read_bytes_per_second of a buffer that is as
    large as the weights or that no cache holds; multiply_adds_per_second with the instructions for such weights.
    """

    dtype: str
    threads: int
    prompt: int
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    weight_bytes: int
    multiply_adds: float
    read_bytes_per_second: float
    multiply_adds_per_second: float

    @property
    def prefill_share(self) -> float:
        """Of the multiply-adds that the machine allows."""
        return self.multiply_adds * self.prefill_tokens_per_second / self.multiply_adds_per_second

    @property
    def decode_share(self) -> float:
        """Of the reading of weights that the machine allows."""
        return self.weight_bytes * self.decode_tokens_per_second / self.read_bytes_per_second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword bench` takes."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", metavar="PATH_OR_ID",
                      help="a model folder, a GGUF file, or a hub id such as gpt2 "
                           "(random weights in the shape of GPT-2 124M)")
    what.add_argument("--shape", choices=SHAPES, default="gpt2-124m", metavar="SHAPE",
                      help=f"without a model: random weights in this shape: {', '.join(SHAPES)} (gpt2-124m)")
    parser.add_argument("--dtypes", type=_dtypes, default=DTYPES, metavar="NAMES",
                        help=f"how weights are held, separated by commas ({','.join(DTYPES)})")
    parser.add_argument("--threads", type=_threads, metavar="N,...", help="thread counts (one, half of them, all)")
    parser.add_argument("--tokens", type=positive, default=24, metavar="N", help="new tokens of a repetition (24)")
    parser.add_argument("--operations", action="store_true",
                        help="show where the time of a step and of reading a prompt goes, operation by operation "
                             "(on all threads)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _dtypes(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if not set(names) <= set(DTYPES):
        raise argparse.ArgumentTypeError(f"expected names of {', '.join(DTYPES)}, separated by commas, got {text!r}")
    return names


def _threads(text: str) -> list[int]:
    counts = sorted({positive(part) for part in text.split(",")})
    if counts[-1] > 1 and not cpu.openmp():
        raise argparse.ArgumentTypeError(f"expected 1, as this nextword was built without OpenMP, got {text!r}")
    return counts


def run(args: argparse.Namespace) -> int:
    """Measure, print, and set the thread count back; returns the exit code. Raises ValueError for the user to read."""
    before = cpu.threads()
    threads = args.threads or ([before] if args.operations else sorted({1, max(1, before // 2), before}))
    total = len(args.dtypes) * len(threads)
    rows: list[Measured] = []
    parts: list[tuple[str, int, list[operations.Pass]]] = []
    try:
        with progress("measuring") as tell:
            for dtype in args.dtypes:
                lm = opened(args.model, dtype, args.shape)
                for count in threads:
                    tell(len(rows) + len(parts), total)
                    cpu.set_threads(count)
                    if args.operations:
                        parts.append((dtype, count, by_operation(lm.model, dtype, args.tokens)))
                    else:
                        rows.append(measure(lm, dtype, args.tokens, SECONDS / total))
                shown = f"{args.model or 'random weights'}, {lm!r}"
                del lm  # before the next one is made
    finally:
        cpu.set_threads(before)
    if args.operations:
        tell_operations(shown, parts, args.json)
        return 0
    best = recommended(rows)
    if args.json:
        found = [{**asdict(row), "prefill_share": row.prefill_share, "decode_share": row.decode_share} for row in rows]
        print_json(model=shown, isa=cpu.isa(), rows=found, recommended={"dtype": best.dtype, "threads": best.threads})
        return 0
    print(f"{shown}, {cpu.isa()}, prompt of {best.prompt} tokens, medians")
    print(*table(rows), sep="\n")
    print(f"\n{advice(rows, best)}")
    return 0


def opened(model: str | None, dtype: str, shape: str = "gpt2-124m") -> LanguageModel:
    """The model to measure, or random weights in a shape, with its weights held as dtype."""
    if model is not None:
        return nextword.load(model, dtype=dtype, task="generate")
    return LanguageModel(random_model(shape, dtype=dtype))


def by_operation(model: Model, dtype: str, tokens: int) -> list[operations.Pass]:
    """Where the time of the passes goes on `cpu.threads()` threads, beside what the machine allows."""
    ids, start, buffer = prepared(model, tokens)
    looks = range(ROUNDS)
    read = max(speed.read_bandwidth(buffer, LOOK) for _ in looks)
    peak = max(speed.multiply_add_rate(LOOK, dtype) for _ in looks)
    return list(operations.passes(model, ids, len(start), tokens, read, peak))


def tell_operations(shown: str, parts: Sequence[tuple[str, int, list[operations.Pass]]], as_json: bool) -> None:
    """Print what took how long."""
    if as_json:
        print_json(model=shown, isa=cpu.isa(), rows=[
            {"dtype": dtype, "threads": count, "passes": [one.asdict() for one in found]}
            for dtype, count, found in parts])
        return
    print(f"{shown}, {cpu.isa()}, the median of {operations.ROUNDS} rounds")
    for dtype, count, found in parts:
        print(f"\n{dtype}, {count} thread{'s' * (count > 1)}\n\n{operations.tables(found)}")


def prepared(model: Model, tokens: int) -> tuple[Ints, Ints, int]:
    """A prompt to read, what decoding of so many tokens starts from, and the bytes of memory to look at."""
    context = model.limit
    if tokens >= context:
        raise ValueError(f"bench: --tokens must be below the model's context of {context}, got {tokens}")
    ids = np.random.default_rng(1).integers(0, model.vocabulary, min(PROMPT, context))
    return ids, ids[: min(START, context - tokens)], min(max(read_by_a_step(model), speed.LEAST), speed.beyond_caches())


def read_by_a_step(model: Model) -> int:
    """Bytes of the weights that each new token reads."""
    return sum(layer.weight.nbytes for layer in [*model.linears(), model.head])


def measure(lm: LanguageModel, dtype: str, tokens: int, seconds: float) -> Measured:
    """The speed on `cpu.threads()` threads: model and machine in turns, once at least and no more once time is up."""
    model = lm.model
    ids, start, buffer = prepared(model, tokens)  # what the caches hold is read faster
    prefill: list[float] = []
    decode: list[float] = []
    read: list[float] = []
    peak: list[float] = []
    lm.generate(start, max_new_tokens=1, eos=None)  # threads are started and memory is taken before anything counts
    end = time.perf_counter() + seconds
    while not decode or (len(decode) < ROUNDS and time.perf_counter() < end):
        read.append(speed.read_bandwidth(buffer, LOOK))
        peak.append(speed.multiply_add_rate(LOOK, dtype))
        prefill.append(lm.generate(ids, max_new_tokens=1, eos=None).timings.prefill_tokens_per_second)
        decode.append(lm.generate(start, max_new_tokens=1 + tokens, eos=None).timings.decode_tokens_per_second)
    return Measured(dtype, cpu.threads(), len(ids), statistics.median(prefill), statistics.median(decode),
                    read_by_a_step(model), multiply_adds(model, len(ids)), max(read), max(peak))


def multiply_adds(model: Model, prompt: int) -> float:
    """What each of the tokens of a prompt costs on average, if the last one alone is asked for logits."""
    linears = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in model.linears())
    # Scores and weighted sum, each over half of the prompt on average.
    attention = model.layers * model.heads * model.head_width * prompt
    return float(linears + attention + model.width * model.vocabulary / prompt)


def recommended(rows: Sequence[Measured]) -> Measured:
    """The fastest decoding; of its dtype the fewest threads that are hardly slower."""
    best = max(rows, key=lambda row: row.decode_tokens_per_second)
    enough = ENOUGH * best.decode_tokens_per_second
    near = [row for row in rows if row.dtype == best.dtype and row.decode_tokens_per_second >= enough]
    return min(near, key=lambda row: row.threads)


def table(rows: Sequence[Measured]) -> Iterator[str]:
    """A line for each row, below a head."""
    head = ("dtype", "threads", "prompt tok/s", "of peak", "new tok/s", "MB a token", " GB/s", "limit", "of limit")
    wide = max(len(head[0]), *(len(row.dtype) for row in rows))
    yield style(f"{head[0]:<{wide}}  " + "  ".join(head[1:]), "2", sys.stdout)
    for row in rows:
        read, limit = row.weight_bytes * row.decode_tokens_per_second / 1e9, row.read_bytes_per_second / 1e9
        shown = (f"{row.threads}", f"{row.prefill_tokens_per_second:,.0f}", f"{row.prefill_share:.0%}",
                 f"{row.decode_tokens_per_second:,.1f}", f"{row.weight_bytes / 1e6:,.1f}", f"{read:.1f}",
                 f"{limit:.1f}", f"{row.decode_share:.0%}")  # fmt: skip
        yield f"{row.dtype:<{wide}}" + "".join(
            f"  {text:>{len(name)}}" for text, name in zip(shown, head[1:], strict=True))


def advice(rows: Sequence[Measured], best: Measured) -> str:
    """What to take, and what it costs."""
    text = (f"Take {best.dtype} on {best.threads} thread{'s' * (best.threads > 1)}, nextword.load(..., "
            f'dtype="{best.dtype}", threads={best.threads}): {best.decode_tokens_per_second:,.1f} new tokens a second')
    exact = max((row.decode_tokens_per_second for row in rows if row.dtype == "float32"), default=0.0)
    if best.dtype == "float32" or not exact:
        return f"{text}."
    return (f"{text}, {best.decode_tokens_per_second / exact:.1f} times as many as float32. The fewer bits a weight "
            "has, the more the model's numbers change: docs/quantisation.md says by how much.")
