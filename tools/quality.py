#!/usr/bin/env python
"""Measures what fewer bits cost and writes the tables of docs/quantisation.md.

    python tools/quality.py

The tables stand in the page between two comments; the rest of it is written by hand. Needs ../shared/data.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

import nextword
from nextword import ops
from nextword.arithmetic.formats import DTYPES, panel_bytes, stored
from nextword.files import whole
from nextword.models.cache import ELEMENTS
from nextword.models.gpt2 import GPT2, GPT2Config

ROOT = Path(__file__).resolve().parents[1]
PAGE, DATA = ROOT / "docs" / "quantisation.md", ROOT.parent / "shared" / "data"
BEGIN, END = "<!-- begin: tools/quality.py -->", "<!-- end: tools/quality.py -->"

PART = 100_000  # characters of a book
ROWS = 512  # inputs of a layer whose error is measured
TRADE = ("What is a neural network?", "Why is the", "The prompt")  # what the small model knows how to go on from


def main() -> None:
    """Write the tables."""
    tables = [sizes(), demo_perplexity(), small_perplexity(), errors()]
    made = "\n\n".join(f"{textwrap.fill(title, 120)}\n\n" + "\n".join(rows(head, body)) for title, head, body in tables)
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    whole.write("quality", {PAGE: pattern.sub(lambda _: f"{BEGIN}\n\n{made}\n\n{END}", page)})
    print(made)


Table = tuple[str, list[str], list[list[str]]]


def rows(head: list[str], body: list[list[str]]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(row)} |" for row in body)


def sizes() -> Table:
    """Bits of a weight and bytes of GPT-2 124M's matrices."""
    c = GPT2Config()
    matrices = [(c.n_embd, c.vocab_size)] + c.n_layer * [(c.n_embd, 3 * c.n_embd), (c.n_embd, c.n_embd),
                                                         (c.n_embd, c.inner), (c.inner, c.n_embd)]  # fmt: skip
    weights = sum(depth * cols for depth, cols in matrices)
    body = []
    for dtype in DTYPES:
        size = sum(-(-cols // 32) * panel_bytes(dtype, depth) for depth, cols in matrices)
        body.append([dtype, f"{8 * size / weights:.2f}", f"{size / 1e6:,.1f}"])
    return "Bytes of the matrices of GPT-2 124M:", ["weights", "bits each", "MB"], body


def perplexity(lm: nextword.LanguageModel, texts: list[str] | list[list[int]]) -> float:
    """exp of the mean surprise of all tokens of all texts."""
    found = [lm.score(text) for text in texts]
    return math.exp(-sum(score.logprob for score in found) / sum(score.count for score in found))


def more(found: float, exact: float) -> str:
    """A perplexity beside that of float32."""
    return f"{100 * (found / exact - 1):+.2f} %"


def demo_perplexity() -> Table:
    """The demo model on three books that it has not been trained on, also with keys and values in fewer bits."""
    books = sorted((DATA / "stories" / "valid").glob("*.txt"))
    texts = [path.read_text(encoding="utf-8")[:PART] for path in books]
    exact, body = 0.0, []
    for dtype in DTYPES:
        found = [perplexity(nextword.load(dtype=dtype, kv_dtype=kv_dtype), texts) for kv_dtype in ELEMENTS]
        exact = exact or found[0]
        body.append([dtype, f"{found[0]:.3f}", *(more(x, exact) for x in found)])
    return (f"Perplexity of the demo model on the first {PART:,} characters of each of the {len(books)} books of "
            "`stories/valid`, English and German, which it has not seen; keys and values as `kv_dtype` says:",
            ["weights", "perplexity", *(f"change, kv {kv_dtype}" for kv_dtype in ELEMENTS)], body)  # fmt: skip


def small_perplexity() -> Table:
    """gpt2_basic_tiny on what its float32 model tells of its trade."""
    about = json.loads((DATA / "gpt2_basic_tiny" / "gold_v4.json").read_text())
    tensors = {name.removeprefix("transformer."): x
               for name, x in load_file(DATA / "gpt2_basic_tiny" / "gold_v4.safetensors").items()}  # fmt: skip
    longest = re.compile("|".join(re.escape(p) for p in sorted(filter(None, about["vocab_latin1"]), key=len)[::-1]))
    number = {piece: i for i, piece in reversed(list(enumerate(about["vocab_latin1"])))}
    model = nextword.LanguageModel(GPT2(tensors, about["config"]))
    room = model.config.n_positions
    starts = [[number[piece] for piece in longest.findall(text)] for text in TRADE]
    texts = [[*ids, *model.generate(ids, max_new_tokens=room - len(ids), eos=None, temperature=0).tokens]
             for ids in starts]  # fmt: skip
    exact, body = 0.0, []
    for dtype in DTYPES:
        found = perplexity(nextword.LanguageModel(GPT2(tensors, about["config"], dtype=dtype)), texts)
        exact = exact or found
        body.append([dtype, f"{found:.4f}", more(found, exact)])
    return (f"Perplexity of gpt2-basic (463,168 parameters) on {len(texts)} texts of {room} tokens that its float32 "
            "model writes, always taking the most probable token: it has learnt one small field, and guesses worse "
            "than chance on the books above, where a change would say nothing:",
            ["weights", "perplexity", "change"], body)  # fmt: skip


def errors() -> Table:
    """||y - exact|| / ||exact|| of two layers of GPT-2 124M."""
    folder = DATA / "gpt2_124m_partial"
    found = {**load_file(folder / "layer0_attention.safetensors"), **load_file(folder / "small_tensors.safetensors")}
    norm, attn = "transformer.h.0.ln_1", "transformer.h.0.attn"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 768)).astype(np.float32) * found[f"{norm}.weight"] + found[f"{norm}.bias"]
    qkv, out = found[f"{attn}.c_attn.weight"], found[f"{attn}.c_proj.weight"]
    values = x.astype(np.float64) @ qkv[:, 2 * 768 :] + found[f"{attn}.c_attn.bias"][2 * 768 :]
    layers = [(x, qkv), (values.astype(np.float32), out)]
    body = []
    for dtype in DTYPES:
        line = [dtype]
        for rows_in, weight in layers:
            exact = rows_in.astype(np.float64) @ weight
            alone = rows_in.astype(np.float64) @ stored(weight, dtype)
            both = ops.matmul(rows_in, ops.pack(weight, dtype))
            line += [percent(alone - exact, exact), percent(both - exact, exact)]
        body.append(line)
    return ("Relative error of a layer's output, `||y - exact|| / ||exact||`, on the real matrices of GPT-2 124M's "
            f"first attention. {ROWS} inputs of `c_attn` are a layer norm's: standard normal numbers times the real "
            "`ln_1` weight plus bias, outliers and all; those of `c_proj` are the values that `c_attn` makes of them:",
            ["weights", "c_attn, weights alone", "with inputs", "c_proj, weights alone", "with inputs"],
            body)  # fmt: skip


def percent(off: NDArray[np.float64], exact: NDArray[np.float64]) -> str:
    """The size of one beside the other."""
    share = 100 * float(np.linalg.norm(off) / np.linalg.norm(exact))
    return f"{share:.2f} %" if share >= 0.005 or not share else f"{share:.0e} %"


if __name__ == "__main__":
    main()
