"""Prefill and decode of a model on each instruction set and thread count: checked, then timed.

python bench/generate.py [--model FOLDER] [--dtype float32] [--kv-dtype float32] [--prompt 64] [--new 64] [--rounds 5]
                         [--threads 1,2] [--isa avx512,avx2]

The ceiling of decoding is the weights read a second: bytes of all packed weights times tokens a second, beside the read
bandwidth of a buffer of that size. Settings take turns within a round; figures are medians.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

import nextword
from nextword import cpu
from nextword.arithmetic.formats import DTYPES
from nextword.models.cache import ELEMENTS
from nextword.models.model import Model
from peers import limits


def weight_bytes(model: Model) -> int:
    return sum(layer.weight.nbytes for layer in [*model.linears(), model.head])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights")
    parser.add_argument("--kv-dtype", default="float32", choices=ELEMENTS, help="of keys and values")
    parser.add_argument("--prompt", type=int, default=64, help="tokens in the prompt")
    parser.add_argument("--new", type=int, default=64, help="tokens to generate, at least 2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default=f"1,{cpu.threads()}" if cpu.threads() > 1 else "1")
    parser.add_argument("--isa", default=",".join(cpu.variants()))
    parser.add_argument("--build", type=Path, default=Path(tempfile.gettempdir()) / "nextword-bench")
    options = parser.parse_args()
    lm = nextword.load(options.model, dtype=options.dtype, kv_dtype=options.kv_dtype)
    prompt = np.random.default_rng(1).integers(0, lm.config.vocab_size, options.prompt)
    settings = [(isa, int(threads)) for threads in options.threads.split(",") for isa in options.isa.split(",")]

    def run(isa: str, threads: int) -> nextword.Generation:
        cpu.set_isa(isa)
        cpu.set_threads(threads)
        return lm.generate(prompt, max_new_tokens=options.new, eos=None)

    first: dict[str, list[int]] = {}
    for isa, threads in settings:  # the promise: on one instruction set, the same tokens for any thread count
        tokens = run(isa, threads).tokens
        if first.setdefault(isa, tokens) != tokens:
            raise SystemExit(f"{isa}: {threads} threads gave other tokens than before; not timed")

    rounds: dict[tuple[str, int], list[nextword.Generation]] = {s: [] for s in settings}
    for _ in range(options.rounds):
        for s in settings:
            rounds[s].append(run(*s))
    size = weight_bytes(lm.model)
    print(f"{lm!r}, {options.dtype}, cache {options.kv_dtype}, {size / 1e6:.0f} MB of weights read a token, "
          f"prompt {options.prompt}, new {options.new}")
    print(
        f"{'variant':10} {'threads':>7} {'prefill tok/s':>14} {'decode tok/s':>13}"
        f" {'GB/s':>7} {'read limit':>11} {'share':>6}"
    )
    for threads in dict.fromkeys(t for _, t in settings):
        limit = limits.rates(limits.build(options.build), size / 1e6, threads)["read_gb_per_s"]
        for isa in options.isa.split(","):
            done = [g.timings for g in rounds[isa, threads]]
            prefill = statistics.median(t.prefill_tokens_per_second for t in done)
            decode = statistics.median(t.decode_tokens_per_second for t in done)
            rate = decode * size / 1e9
            print(f"{isa:10} {threads:7} {prefill:14.0f} {decode:13.1f} {rate:7.1f} {limit:11.1f} {rate / limit:6.0%}")


if __name__ == "__main__":
    main()
