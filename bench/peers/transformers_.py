"""transformers on torch, eager, with its scaled-dot-product attention and its dynamic cache."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache


def load(data: Path, precision: str, threads: int) -> Any:
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(
        data / "hf", dtype=getattr(torch, precision), attn_implementation="sdpa"
    ).eval()

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        start = time.perf_counter()
        cache = DynamicCache(config=model.config)

        def step(ids: Any) -> Any:
            result = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            return result.logits[:, -1].argmax(-1, keepdim=True)

        chosen = [step(torch.tensor(prompts))]
        first = time.perf_counter()
        for _ in range(new - 1):
            chosen.append(step(chosen[-1]))
        return torch.cat(chosen, 1).tolist(), first - start, time.perf_counter() - first

    return generate
