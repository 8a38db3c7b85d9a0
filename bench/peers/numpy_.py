"""Plain NumPy with a key-value cache: the floor of the comparison, and the reference for the others' greedy ids."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import weights
from shape import BASE, EPSILON, HEAD_WIDTH, HEADS, KV_HEADS, LAYERS, SHAPE, VOCABULARY, WIDTH

Attend = Callable[[int, Any, Any, Any], Any]  # of a layer's q, k and v [rows, tokens, heads, head width]


def softmax(x: Any) -> Any:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))


class GPT2:
    def __init__(self, w: dict[str, Any]) -> None:
        self.w, self.head = w, w["wte.weight"].T

    def norm(self, x: Any, name: str) -> Any:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON)
        return x * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, x: Any, name: str) -> Any:
        return x @ self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def begin(self, ids: Any, past: int) -> Any:
        return self.w["wte.weight"][ids] + self.w["wpe.weight"][past : past + ids.shape[1]]

    def block(self, layer: int, x: Any, past: int, attend: Attend) -> Any:
        h = f"h.{layer}"
        qkv = self.linear(self.norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn").reshape(*x.shape[:2], 3, HEADS, HEAD_WIDTH)
        x = x + self.linear(attend(layer, *np.moveaxis(qkv, 2, 0)), f"{h}.attn.c_proj")
        return x + self.linear(gelu(self.linear(self.norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc")), f"{h}.mlp.c_proj")

    def end(self, x: Any) -> Any:
        return self.norm(x, "ln_f") @ self.head


class Llama:
    def __init__(self, w: dict[str, Any]) -> None:
        self.w, self.head = w, w["embed_tokens.weight"].T
        self.turns = BASE ** (-np.arange(0, HEAD_WIDTH, 2) / HEAD_WIDTH)

    def norm(self, x: Any, name: str) -> Any:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(EPSILON)) * self.w[f"{name}.weight"]

    def linear(self, x: Any, name: str) -> Any:
        return x @ self.w[f"{name}.weight"].T

    def begin(self, ids: Any, past: int) -> Any:
        return self.w["embed_tokens.weight"][ids]

    def rotated(self, x: Any, past: int) -> Any:
        """x [rows, tokens, heads, head width], halves of a head turned against each other."""
        angles = (past + np.arange(x.shape[1]))[:, None, None] * self.turns
        cos, sin = np.cos(angles).astype("f"), np.sin(angles).astype("f")
        a, b = np.split(x, 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def block(self, layer: int, x: Any, past: int, attend: Attend) -> Any:
        h = f"layers.{layer}"
        y = self.norm(x, f"{h}.input_layernorm")
        q, k, v = (self.linear(y, f"{h}.self_attn.{one}_proj").reshape(*x.shape[:2], -1, HEAD_WIDTH) for one in "qkv")
        x = x + self.linear(attend(layer, self.rotated(q, past), self.rotated(k, past), v), f"{h}.self_attn.o_proj")
        y = self.norm(x, f"{h}.post_attention_layernorm")
        gate = self.linear(y, f"{h}.mlp.gate_proj")
        return x + self.linear(gate / (1 + np.exp(-gate)) * self.linear(y, f"{h}.mlp.up_proj"), f"{h}.mlp.down_proj")

    def end(self, x: Any) -> Any:
        return self.norm(x, "norm") @ self.head


def load(data: Path, precision: str, threads: int) -> Any:
    model = {"gpt2": GPT2, "llama": Llama}[SHAPE.kind](weights.read(data))

    def forward(ids: Any, keys: Any, values: Any, past: int) -> Any:
        """ids [rows, tokens] -> logits of the last position [rows, vocabulary]"""
        rows, tokens = ids.shape

        def attend(layer: int, q: Any, k: Any, v: Any) -> Any:
            keys[layer][:, :, past : past + tokens] = k.transpose(0, 2, 1, 3)
            values[layer][:, :, past : past + tokens] = v.transpose(0, 2, 1, 3)
            k, v = (np.repeat(one[layer][:, :, : past + tokens], HEADS // KV_HEADS, 1) for one in (keys, values))
            scores = q.transpose(0, 2, 1, 3) @ k.transpose(0, 1, 3, 2) * np.float32(HEAD_WIDTH**-0.5)
            if tokens > 1:  # [rows, heads, tokens, past + tokens]
                scores += np.triu(np.full((tokens, past + tokens), -np.inf, np.float32), past + 1)
            return (softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(rows, tokens, WIDTH)

        x = model.begin(ids, past)
        for layer in range(LAYERS):
            x = model.block(layer, x, past, attend)
        return model.end(x[:, -1])

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        ids = np.array(prompts)
        rows, tokens = ids.shape
        start = time.perf_counter()
        keys, values = np.empty((2, LAYERS, rows, KV_HEADS, tokens + new, HEAD_WIDTH), np.float32)
        chosen = [forward(ids, keys, values, 0).argmax(-1)]
        first = time.perf_counter()
        for step in range(new - 1):
            chosen.append(forward(chosen[-1][:, None], keys, values, tokens + step).argmax(-1))
        return np.array(chosen).T.tolist(), first - start, time.perf_counter() - first

    assert model.head.shape == (WIDTH, VOCABULARY)
    return generate


if __name__ == "__main__":  # DATA: prompts on stdin -> their greedy ids on stdout, [[prompts, new], ...] as JSON
    generate = load(Path(sys.argv[1]), "float32", 0)
    print(json.dumps([generate(prompts, new)[0] for prompts, new in json.load(sys.stdin)]))
