"""Decoding with drafts beside decoding without, in float32: texts checked to be the same, then timed in turns.

python bench/speculation.py [--drafts int4,int8,lookup] [--prompts TEXT ...] [--temperature 0] [--new 128] [--rounds 5]

Drafts pay where a pass is bound by reading the weights, which the demo model's are too small for. So it is enlarged to
the shape of GPT-2 124M without a change of what it computes: each activation stands there three times, and the layers
past its own add nothing. The vocabulary stays 4,096. How often a draft is right is therefore the demo model's figure.

Prompts are told one at a time. A round is all prompts with each draft; figures are medians over rounds, `ratio` that of
the ratios within a round. A pass gives the drafted tokens that were right and one more.
"""

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nextword
from generate import weight_bytes
from nextword import Generation, LanguageModel, cpu
from nextword.files.weights import open_model
from nextword.machine import speed
from nextword.models.gpt2 import GPT2, GPT2Config
from peers import shape

Array = NDArray[np.float32]

PROMPTS = ("Once upon a time there was a little", "The king said to his daughter", "In the middle of the forest",
           "The old man looked at the sea and", "Es war einmal ein König, der", "Die Mutter sagte zu dem Kinde",
           "Mitten im Wald stand ein Haus", "Als der Morgen kam,")  # fmt: skip


def enlarged(small: Mapping[str, NDArray[Any]], config: GPT2Config) -> tuple[dict[str, Array], GPT2Config]:
    """Weights in GPT-2 124M's width and depth, with the small model's logits, and their configuration."""
    copies = shape.WIDTH // config.n_embd

    def wide(x: NDArray[Any], parts: int = 1) -> Array:
        """Each of so many parts of the last axis, `copies` times."""
        split = np.asarray(x, np.float32).reshape(*x.shape[:-1], parts, -1)
        return np.tile(split, copies).reshape(*x.shape[:-1], -1)

    found = {name: wide(small[name]) for name in ("wte.weight", "wpe.weight")}
    for name in ("ln_f.weight", "ln_f.bias"):
        found[name] = wide(small[name]) / np.float32(copies)  # the tied head sums over all copies
    for layer in range(shape.LAYERS):
        source, target = f"h.{layer % config.n_layer}.", f"h.{layer}."
        for name in ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"):
            found[target + name] = wide(small[source + name])
        for name, parts in (("attn.c_attn", 3), ("attn.c_proj", 1), ("mlp.c_fc", 1), ("mlp.c_proj", 1)):
            adds_nothing = layer >= config.n_layer and name.endswith("c_proj")
            weight, bias = small[f"{source}{name}.weight"], small[f"{source}{name}.bias"]
            scale = np.float32(0 if adds_nothing else 1)
            found[f"{target}{name}.weight"] = wide(np.tile(weight, (copies, 1)), parts) * (scale / np.float32(copies))
            found[f"{target}{name}.bias"] = wide(bias, parts) * scale
    return found, GPT2Config(n_layer=shape.LAYERS, n_head=copies * config.n_head, n_embd=shape.WIDTH,
                             n_positions=config.n_positions, vocab_size=config.vocab_size,
                             activation_function=config.activation_function, eos_token_id=config.eos_token_id)


def check_logits(large: LanguageModel, small: LanguageModel, text: str) -> float:
    """The largest difference; the bound is that of a chain of n roundings, n the length of the longest sum."""
    expected = small.logits(text)
    worst, bound = np.abs(large.logits(text) - expected).max(), shape.HIDDEN * 2.0**-24 * np.abs(expected).max()
    if not worst <= bound:
        raise SystemExit(f"enlarged model: logits differ from the demo model's by {worst:.3g}, above {bound:.3g}")
    return float(worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drafts", default="int4,int8,lookup", help="beside none; default: int4,int8,lookup")
    parser.add_argument("--prompts", nargs="+", default=PROMPTS, metavar="TEXT")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--new", type=int, default=128, help="tokens of each text, at least 2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cpu.threads())
    options = parser.parse_args()
    cpu.set_threads(options.threads)
    demo = nextword.load()
    lm = LanguageModel(GPT2(*enlarged(open_model(nextword.DEMO).renamed(GPT2.own_name), demo.config)), demo.tokenizer)
    worst = max(check_logits(lm, demo, text) for text in options.prompts)

    def told(draft: str | None) -> list[Generation]:
        return [lm.generate(text, max_new_tokens=options.new, temperature=options.temperature, seed=1, eos=None,
                            draft=draft) for text in options.prompts]

    drafts = [None, *options.drafts.split(",")]
    results = {draft: told(draft) for draft in drafts}  # which also warms up and makes the quantised copies
    for draft in drafts[1:]:
        for text, one, other in zip(options.prompts, results[None], results[draft], strict=True):
            if one.tokens != other.tokens:
                raise SystemExit(f"{draft}: another text after {text!r} than without a draft; not timed")

    size = weight_bytes(lm.model)
    rates: dict[str | None, list[float]] = {draft: [] for draft in drafts}
    limits = []
    for index in range(options.rounds):
        limits.append(speed.read_bandwidth(size))
        for draft in drafts if index % 2 == 0 else drafts[::-1]:
            timings = [one.timings for one in told(draft)]
            rates[draft].append(sum(t.decode_tokens for t in timings) / sum(t.decode_seconds for t in timings))

    print(f"The demo model enlarged to {lm!r}: every activation {shape.WIDTH // demo.config.n_embd} times, "
          f"{shape.LAYERS - demo.config.n_layer} layers that add nothing; {size / 1e6:.0f} MB of float32 weights read "
          f"a pass; logits differ from the demo model's by at most {worst:.1e}")
    print(f"{cpu.isa()}, {options.threads} threads, {len(options.prompts)} prompts, {options.new} new tokens, "
          f"temperature {options.temperature:g}, {options.rounds} rounds; all texts the same with each draft")
    plain, limit = statistics.median(rates[None]) * size / 1e9, statistics.median(limits) / 1e9
    print(f"without a draft {plain:.1f} GB/s of weights, read limit {limit:.1f} GB/s")
    print(f"\n{'draft':10} {'right':>6} {'tokens a pass':>14} {'tok/s':>8} {'ratio':>6}")
    for draft in drafts:
        tokens = sum(one.timings.decode_tokens for one in results[draft])
        drafted, accepted = (sum(getattr(one, name) or 0 for one in results[draft]) for name in ("drafted", "accepted"))
        ratio = statistics.median(a / b for a, b in zip(rates[draft], rates[None], strict=True))
        right = f"{accepted / drafted:.0%}" if drafted else "-"
        print(f"{draft or 'none':10} {right:>6} {tokens / (tokens - accepted):14.2f} "
              f"{statistics.median(rates[draft]):8.1f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
