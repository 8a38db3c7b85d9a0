"""Write the bundled model that sorts letters: llm-viz's trained weights in the layout of a Hugging Face GPT-2 folder.

Linear weights are transposed, as minGPT keeps them [out, in], and causal masks, which are constants, are left out. No
number is changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from nextword.files import whole
from nextword.files.bundled import BUNDLED
from nextword.files.json_text import json_text

CONFIG = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 3, "n_positions": 11, "n_embd": 48,
    "n_layer": 3, "n_head": 3, "n_inner": 192, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    "bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": False, "torch_dtype": "float32",
}  # fmt: skip
LETTERS = {"A": 0, "B": 1, "C": 2}


def tensors(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of weights.npz by the same names, as GPT-2 keeps them."""
    linear = (".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight")
    kept = {name: x for name, x in stored.items() if not name.endswith(".attn.bias")}
    return {name: np.ascontiguousarray(x.T if name.endswith(linear) else x) for name, x in kept.items()}


def files(data: Path) -> dict[str, bytes]:
    """The contents of the folder's files, its card left out."""
    with np.load(data / "weights.npz") as stored:
        found = tensors(dict(stored))
    return {
        "model.safetensors": save(found, metadata={"format": "pt"}),
        "config.json": (json_text(CONFIG, indent=1) + "\n").encode(),
        "vocab.json": (json_text(LETTERS) + "\n").encode(),
        "merges.txt": b"#version: 0.2\n",
        "LICENSE": (data / "LICENSE").read_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/gpt_nano_sort"), help="llm-viz's files")
    parser.add_argument("--out", type=Path, default=BUNDLED["nextword:nano-sort"], help="the model's folder")
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    made = files(args.data)
    whole.write("nano_sort", {args.out / name: content for name, content in made.items()})
    print(f"{args.out}: {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
