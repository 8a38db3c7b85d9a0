"""The weights that all peers share: random, seeded, in a Hugging Face folder as `save_pretrained` writes one.

Run in an environment with numpy and safetensors: `python weights.py FOLDER` writes FOLDER/hf.
"""

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from shape import EPSILON, HEADS, HIDDEN, LAYERS, POSITIONS, VOCABULARY, WIDTH

Array = npt.NDArray[np.float32]
SEED = 1234
CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "n_embd": WIDTH,
    "n_head": HEADS,
    "n_inner": None,
    "n_layer": LAYERS,
    "n_positions": POSITIONS,
    "vocab_size": VOCABULARY,
    "layer_norm_epsilon": EPSILON,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "tie_word_embeddings": True,
    "bos_token_id": VOCABULARY - 1,
    "eos_token_id": VOCABULARY - 1,
    "dtype": "float32",
}


def random_weights() -> dict[str, Array]:
    """Float32 tensors by GPT-2's own names, with the spread that GPT-2 starts training from."""
    rng = np.random.default_rng(SEED)

    def normal(*shape: int, spread: float = 0.02) -> Array:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(spread)

    tensors = {"wte.weight": normal(VOCABULARY, WIDTH), "wpe.weight": normal(POSITIONS, WIDTH, spread=0.01)}
    for layer in range(LAYERS):
        h = f"h.{layer}."
        for norm in ("ln_1", "ln_2"):
            tensors |= {f"{h}{norm}.weight": 1 + normal(WIDTH), f"{h}{norm}.bias": normal(WIDTH)}
        for name, rows, cols in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, HIDDEN),
            ("mlp.c_proj", HIDDEN, WIDTH),
        ):
            tensors |= {f"{h}{name}.weight": normal(rows, cols), f"{h}{name}.bias": normal(cols)}
    return tensors | {"ln_f.weight": 1 + normal(WIDTH), "ln_f.bias": normal(WIDTH)}


def folder(data: Path) -> Path:
    return data / "hf"


def write(data: Path) -> None:
    """The tied output matrix is not stored, as in every published GPT-2 checkpoint."""
    folder(data).mkdir(parents=True, exist_ok=True)
    (folder(data) / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    tensors = {f"transformer.{name}": tensor for name, tensor in random_weights().items()}
    save_file(tensors, folder(data) / "model.safetensors", metadata={"format": "pt"})


def read(data: Path) -> dict[str, Array]:
    """The tensors without `transformer.` before their names."""
    tensors = load_file(folder(data) / "model.safetensors")
    return {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
