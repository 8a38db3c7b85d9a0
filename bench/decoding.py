"""What choosing a token costs: the rules on GPT-2's vocabulary, and generation with and without reasons.

python bench/decoding.py [--rounds 7] [--new 48] [--skip-model] [--isa avx512]

First: microseconds from a row of logits (normal, four nats wide) to the next token, from Python, with 500 tokens of
prompt and 200 of text, beside one read of the row; medians over rounds. "all rules" are every field of `Sampling` that
changes logits or cuts tokens. Then: tokens a second of GPT-2 124M with random weights and of the demo model, plain and
with explain=True, in turns; the ratio is formed in each round. The tokens are checked to be the same first. Last: eight
texts of one prompt, whose keys and values are held once, beside eight copies of them.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import nextword
from nextword import Sampling, cpu
from nextword.decoding import batch
from nextword.decoding.explain import Step
from nextword.decoding.row import token_logprobs
from nextword.decoding.rules import Rules
from nextword.decoding.sampling import choose
from nextword.models.gpt2 import GPT2, GPT2Config
from nextword.models.random_weights import RandomWeights
from peers import shape

END = shape.VOCABULARY - 1
RULES: dict[str, Any] = {
    "logit_bias": {11: 2.0, 13: -1.0, (15, 16): 3.0}, "repetition_penalty": 1.2, "frequency_penalty": 0.5,
    "presence_penalty": 0.3, "no_repeat_ngram_size": 3, "bad_words": [[17], [18, 19]], "min_new_tokens": 300,
    "max_new_tokens": 300,
}  # fmt: skip
FILTERS: dict[str, Any] = {"temperature": 0.8, "top_k": 50, "top_p": 0.95, "min_p": 0.01, "typical_p": 0.95}
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "temperature 0.8": {"temperature": 0.8},
    "temperature 0.8, top_p 0.95": {"temperature": 0.8, "top_p": 0.95},
    "temperature 0.8, top_k 50": {"temperature": 0.8, "top_k": 50},
    "all filters": FILTERS,
    "all rules before the filters": RULES,
    "all rules": {**RULES, **FILTERS},
    "all rules, logprobs 5": {**RULES, **FILTERS, "logprobs": 5},
}


def step(settings: Sampling, explain: int = 0) -> Callable[[], int]:
    """One step as generation takes it."""
    rng = np.random.default_rng(1)
    logits = (4 * rng.standard_normal(shape.VOCABULARY) - 100).astype(np.float32)
    prompt, new = rng.integers(0, shape.VOCABULARY, 500), rng.integers(0, shape.VOCABULARY, 200)
    rules = Rules(settings, shape.VOCABULARY, end=(END,))

    def call() -> int:
        final, edits = rules(logits, prompt, new)
        choice = choose(final, settings, 0, len(new))
        if explain:
            Step(logits, final, edits, settings, choice, explain, 0.0, None)
        if settings.logprobs is not None:
            token_logprobs(logits[None], np.array([choice.token]), settings.logprobs)
        return choice.token

    return call


def microseconds(call: Callable[[], object]) -> float:
    """The best of some bursts of calls, each short enough to fit between two turns of other processes."""
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(20):
            call()
        best = min(best, (time.perf_counter() - start) / 20)
    return 1e6 * best


def choices(rounds: int) -> None:
    row = np.zeros(shape.VOCABULARY, np.float32)
    found: dict[str, list[float]] = {}
    calls: dict[str, Callable[[], object]] = {name: step(Sampling(seed=1, **s)) for name, s in SETTINGS.items()}
    calls["all rules, explained"] = step(Sampling(seed=1, **RULES, **FILTERS), 20)
    if calls["all rules"]() != calls["all rules, explained"]():
        raise SystemExit("explaining changed the token; not timed")
    calls["(one read of the row)"] = row.max
    for _ in range(rounds):
        for name, call in calls.items():
            found.setdefault(name, []).append(microseconds(call))
    print(f"us a step, {shape.VOCABULARY} logits, {cpu.isa()}")
    for name, times in found.items():
        print(f"  {name:32}{statistics.median(times):8.1f}")


def random_gpt2() -> nextword.LanguageModel:
    """GPT-2 124M with random weights."""
    return nextword.LanguageModel(GPT2(RandomWeights(), GPT2Config(eos_token_id=None)))


def explained(name: str, lm: nextword.LanguageModel, new: int, rounds: int) -> None:
    prompt = np.arange(32)
    sampled = {"temperature": 0.8, "top_p": 0.95}
    kinds: dict[str, dict[str, Any]] = {"greedy": {}, "temperature 0.8, top_p 0.95": sampled}
    for kind, settings in kinds.items():
        common = {**settings, "max_new_tokens": new, "seed": 1, "eos": None}
        if lm.generate(prompt, **common).tokens != lm.generate(prompt, explain=True, **common).tokens:
            raise SystemExit("explaining changed the text; not timed")
        ratios, speeds = [], []
        for turn in range(rounds):
            times: dict[bool, float] = {}
            for explain in (False, True) if turn % 2 else (True, False):
                times[explain] = lm.generate(prompt, explain=explain, **common).timings.decode_tokens_per_second
            ratios.append(times[True] / times[False])
            speeds.append(times[False])
        print(f"  {name}, {kind:30}{statistics.median(speeds):8.0f} tok/s, explained {statistics.median(ratios):6.1%}")


def shared(lm: nextword.LanguageModel, new: int, rounds: int) -> None:
    """Eight texts of one prompt: its keys and values held once, beside a copy for each text."""
    prompt = np.random.default_rng(2).integers(0, lm.config.vocab_size, 896)
    settings: dict[str, Any] = {"n": 8, "temperature": 1.0, "top_k": 50, "max_new_tokens": new, "seed": 1}
    together = batch.common_beginning
    found: dict[str, list[tuple[list[list[int]], float, float]]] = {"held once": [], "copied": []}
    for turn in range(rounds):
        for name in sorted(found, reverse=turn % 2 == 0):
            batch.common_beginning = together if name == "held once" else lambda prompts: 0
            out = lm.generate(prompt, **settings)
            t = out[0].timings
            found[name].append(([g.tokens for g in out], t.decode_tokens_per_second, t.prefill_seconds))
    batch.common_beginning = together
    if len({str(tokens) for rows in found.values() for tokens, *_ in rows}) > 1:
        raise SystemExit("sharing changed the texts")
    for name, rows in found.items():
        speed, prefill = (statistics.median(row[i] for row in rows) for i in (1, 2))
        print(f"  8 texts after 896 tokens, prompt {name:10}{speed:8.0f} tok/s, {prefill * 1000:6.0f} ms to the first")
    ratio = statistics.median(a[1] / b[1] for a, b in zip(found["held once"], found["copied"], strict=True))
    print(f"  held once / copied: {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--new", type=int, default=48, help="tokens to generate")
    parser.add_argument("--isa", help="an instruction set instead of the best")
    parser.add_argument("--skip-model", action="store_true", help="no generation, only the choice")
    options = parser.parse_args()
    if options.isa:
        cpu.set_isa(options.isa)
    choices(options.rounds)
    if not options.skip_model:
        print("generation with 20 candidates explained, of the speed without")
        gpt2 = random_gpt2()
        explained("GPT-2 124M", gpt2, options.new, options.rounds)
        explained("demo model", nextword.load(), options.new, options.rounds)
        print("a beginning in common, GPT-2 124M")
        shared(gpt2, options.new, options.rounds)


if __name__ == "__main__":
    main()
