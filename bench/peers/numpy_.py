"""Plain NumPy with a key-value cache: the floor of the comparison, and the reference for the others' greedy ids."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import weights
from shape import EPSILON, HEAD_WIDTH, HEADS, LAYERS, VOCABULARY, WIDTH


def softmax(x: Any) -> Any:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))


def load(data: Path, precision: str, threads: int) -> Any:
    w = weights.read(data)

    def norm(x: Any, name: str) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def forward(ids: Any, keys: Any, values: Any, past: int) -> Any:
        """ids [rows, tokens] -> logits of the last position [rows, vocabulary]"""
        rows, tokens = ids.shape
        x = (w["wte.weight"][ids] + w["wpe.weight"][past : past + tokens]).reshape(rows * tokens, WIDTH)
        for layer in range(LAYERS):
            h = f"h.{layer}"
            qkv = linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn")
            q, k, v = qkv.reshape(rows, tokens, 3, HEADS, HEAD_WIDTH).transpose(2, 0, 3, 1, 4)
            keys[layer][:, :, past : past + tokens], values[layer][:, :, past : past + tokens] = k, v
            k, v = keys[layer][:, :, : past + tokens], values[layer][:, :, : past + tokens]
            scores = q @ k.transpose(0, 1, 3, 2) * np.float32(HEAD_WIDTH**-0.5)  # [rows, heads, tokens, past + tokens]
            if tokens > 1:
                scores += np.triu(np.full((tokens, past + tokens), -np.inf, np.float32), past + 1)
            mixed = (softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(rows * tokens, WIDTH)
            x = x + linear(mixed, f"{h}.attn.c_proj")
            x = x + linear(gelu(linear(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc")), f"{h}.mlp.c_proj")
        return norm(x.reshape(rows, tokens, WIDTH)[:, -1], "ln_f") @ w["wte.weight"].T

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        ids = np.array(prompts)
        rows, tokens = ids.shape
        start = time.perf_counter()
        keys, values = np.empty((2, LAYERS, rows, HEADS, tokens + new, HEAD_WIDTH), np.float32)
        chosen = [forward(ids, keys, values, 0).argmax(-1)]
        first = time.perf_counter()
        for step in range(new - 1):
            chosen.append(forward(chosen[-1][:, None], keys, values, tokens + step).argmax(-1))
        return np.array(chosen).T.tolist(), first - start, time.perf_counter() - first

    assert w["wte.weight"].shape == (VOCABULARY, WIDTH)
    return generate


if __name__ == "__main__":  # DATA: prompts on stdin -> their greedy ids on stdout, [[prompts, new], ...] as JSON
    generate = load(Path(sys.argv[1]), "float32", 0)
    print(json.dumps([generate(prompts, new)[0] for prompts, new in json.load(sys.stdin)]))
