"""sentence-transformers on torch, as its documentation calls it; a precision is torch's dtype."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer


def folder(data: Path, precision: str) -> Path:
    return data / ("hf" if precision == "float32" else f"sentence-transformers-{precision}")


def opened(path: Path, precision: str) -> Any:
    return SentenceTransformer(str(path), device="cpu", model_kwargs={"dtype": getattr(torch, precision)})


def convert(data: Path, precision: str) -> None:
    if precision != "float32":
        opened(data / "hf", precision).save_pretrained(str(folder(data, precision)))


def load(data: Path, precision: str, threads: int) -> Any:
    torch.set_num_threads(threads)
    model = opened(folder(data, precision), precision)
    return lambda texts, batch: model.encode(texts, batch_size=batch, show_progress_bar=False)
