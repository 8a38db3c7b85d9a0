"""Golden values: digests of what models compute, by instruction set, weight format and cache format.

The numeric promise makes them the same on every machine that runs the instruction set. `python golden.py` computes them
anew and writes golden.json; that is due when the numbers are meant to change, never to make a test pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import nextword
from nextword.arithmetic.formats import DTYPES
from nextword.models.gpt2 import GPT2

FILE = Path(__file__).with_name("golden.json")
KV_DTYPES = ("float32", "bfloat16", "int8")
SMALL = {"model_type": "gpt2", "n_layer": 3, "n_head": 3, "n_embd": 51, "n_inner": 70, "n_positions": 150,
         "vocab_size": 131, "eos_token_id": None}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "untied": {**SMALL, "tie_word_embeddings": False, "activation_function": "gelu"},
    "tied": {**SMALL, "scale_attn_by_inverse_layer_idx": True},
}
PROMPT = "Once upon a time there was a king. Once upon a time there was a"


def integers(seed: int, count: int, below: int) -> np.ndarray:
    """0 .. below - 1, of the raw stream of bits that NumPy keeps from version to version."""
    return (np.random.default_rng(seed).bit_generator.random_raw(count) >> np.uint64(11)).astype(np.int64) % below


def tensors(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weights whose numbers are multiples of 2^-12."""
    embd, inner, vocabulary = config["n_embd"], config["n_inner"], config["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (vocabulary, embd), "wpe.weight": (config["n_positions"], embd)}
    for layer in range(config["n_layer"]):
        name = f"h.{layer}"
        for part, depth, cols in (("attn.c_attn", embd, 3 * embd), ("attn.c_proj", embd, embd),
                                  ("mlp.c_fc", embd, inner), ("mlp.c_proj", inner, embd)):  # fmt: skip
            shapes |= {f"{name}.{part}.weight": (depth, cols), f"{name}.{part}.bias": (cols,)}
        for norm in (f"{name}.ln_1", f"{name}.ln_2"):
            shapes |= {f"{norm}.weight": (embd,), f"{norm}.bias": (embd,)}
    shapes |= {"ln_f.weight": (embd,), "ln_f.bias": (embd,)}
    if not config.get("tie_word_embeddings", True):
        shapes |= {"lm_head.weight": (vocabulary, embd), "lm_head.bias": (vocabulary,)}
    found = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        numbers = (integers(seed, int(np.prod(shape)), 1025) - 512).astype(np.float32) / 1024  # -1/2 .. 1/2
        is_matrix_of_a_block = len(shape) == 2 and name.startswith("h.")
        found[name] = numbers.reshape(shape) * np.float32(0.5 if is_matrix_of_a_block else 1)
        if "ln_" in name and name.endswith(".weight"):
            found[name] += np.float32(1)
    return found


@cache
def language_model(name: str, dtype: str, kv_dtype: str) -> nextword.LanguageModel:
    """The model of the package, "demo", or one of CONFIGS."""
    if name == "demo":
        return nextword.load(dtype=dtype, kv_dtype=kv_dtype)
    return nextword.LanguageModel(GPT2(tensors(CONFIGS[name]), CONFIGS[name], dtype=dtype, kv_dtype=kv_dtype))


def digest(arrays: list[np.ndarray]) -> str:
    """Of the arrays' bytes, one after the other."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)).hexdigest()[:24]


def passes(model: Any, held: Any, vocabulary: int) -> Iterator[np.ndarray]:
    """Logits of ragged batches, one after the other, over 4 slots: prompts, pieces, single tokens, tokens that were
    forgotten, rows that are wanted twice or not at all."""
    seed = 100

    def run(lengths: list[int], slots: list[int], rows: list[int] | None = None) -> np.ndarray:
        nonlocal seed
        seed += len(lengths)
        return model([integers(seed - i, n, vocabulary) for i, n in enumerate(lengths)], held, slots, rows)

    yield run([40, 1, 0, 7], [0, 1, 2, 3])
    yield run([1, 1, 1], [3, 0, 2])
    yield run([33, 2], [1, 3], [0, 34, 34])
    held.lengths[0] -= 9
    yield run([1, 1, 1, 1], [2, 0, 1, 3], [3, 0])
    yield run([2, 60], [0, 2], [])
    yield run([1], [2])
    yield run([1, 5, 1], [0, 3, 2])
    yield held.lengths


def values(name: str, dtype: str, kv_dtype: str) -> dict[str, str]:
    """What is computed by one model, on the instruction set in use."""
    lm = language_model(name, dtype, kv_dtype)
    model = lm.model
    vocabulary = 4096 if name == "demo" else SMALL["vocab_size"]
    found = {"passes": digest([*passes(model, model.cache(4, 120), vocabulary)])}
    before = model.encoded(integers(1, 32, vocabulary))
    found["prefix"] = digest([*passes(model, model.cache(4, 150, before), vocabulary)])
    prompt: Any = lm.tokenizer.encode(PROMPT) if lm.tokenizer else integers(2, 20, vocabulary).tolist() * 2
    settings: dict[str, Any] = {"max_new_tokens": 24}
    for draft in (None, "lookup", "int8"):
        texts = [lm.generate([prompt, prompt[:5]], seed=7, temperature=t, draft=draft, **settings) for t in (0, 0.9)]
        found[f"draft {draft}"] = digest([np.array(one.tokens, np.int64) for text in texts for one in text])
    return found


def main() -> None:
    """Write golden.json: what this machine's instruction sets compute, beside what is there of others'."""
    known: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    for isa in nextword.cpu.variants():
        nextword.cpu.set_isa(isa)
        known[isa] = {f"{name} {dtype} {kv_dtype}": values(name, dtype, kv_dtype)
                      for name in ("untied", "tied", "demo") for dtype in DTYPES for kv_dtype in KV_DTYPES}
    FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
