"""The weights that all peers share: random, seeded, in a Hugging Face folder as `save_pretrained` writes one.

Run in an environment with numpy: `python weights.py FOLDER` writes FOLDER/hf. GPT-2's are float32,
those of a Llama bfloat16, as they are published.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from shape import BASE, EPSILON, HEAD_WIDTH, HEADS, HIDDEN, KV_HEADS, LAYERS, POSITIONS, SHAPE, VOCABULARY, WIDTH

Array = npt.NDArray[np.float32]
SEED = 1234
ENDS = {"bos_token_id": VOCABULARY - 1, "eos_token_id": VOCABULARY - 1, "tie_word_embeddings": True}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {
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
        "dtype": "float32",
        **ENDS,
    },
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": POSITIONS,
        "rms_norm_eps": EPSILON,
        "rope_theta": BASE,
        "vocab_size": VOCABULARY,
        "dtype": "bfloat16",
        **ENDS,
    },
}


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors by the names of Hugging Face. The tied output matrix is not stored, as in every published checkpoint
    of these shapes."""
    return gpt2() if SHAPE.kind == "gpt2" else llama()


def gpt2() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "transformer.wte.weight", (VOCABULARY, WIDTH)
    yield "transformer.wpe.weight", (POSITIONS, WIDTH)
    for layer in range(LAYERS):
        h = f"transformer.h.{layer}."
        for norm in ("ln_1", "ln_2"):
            yield f"{h}{norm}.weight", (WIDTH,)
            yield f"{h}{norm}.bias", (WIDTH,)
        for name, rows, cols in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, HIDDEN),
            ("mlp.c_proj", HIDDEN, WIDTH),
        ):
            yield f"{h}{name}.weight", (rows, cols)
            yield f"{h}{name}.bias", (cols,)
    yield "transformer.ln_f.weight", (WIDTH,)
    yield "transformer.ln_f.bias", (WIDTH,)


def llama() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        h = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{h}{norm}.weight", (WIDTH,)
        for name, rows, cols in (
            ("self_attn.q_proj", WIDTH, WIDTH),
            ("self_attn.k_proj", KV_HEADS * HEAD_WIDTH, WIDTH),
            ("self_attn.v_proj", KV_HEADS * HEAD_WIDTH, WIDTH),
            ("self_attn.o_proj", WIDTH, WIDTH),
            ("mlp.gate_proj", HIDDEN, WIDTH),
            ("mlp.up_proj", HIDDEN, WIDTH),
            ("mlp.down_proj", WIDTH, HIDDEN),
        ):
            yield f"{h}{name}.weight", (rows, cols)
    yield "model.norm.weight", (WIDTH,)


def folder(data: Path) -> Path:
    return data / "hf"


def write(data: Path) -> None:
    """config.json and model.safetensors, tensor after tensor, as their sizes are known before their numbers."""
    folder(data).mkdir(parents=True, exist_ok=True)
    (folder(data) / "config.json").write_text(json.dumps(CONFIGS[SHAPE.kind], indent=2) + "\n")
    size, kind = (4, "F32") if SHAPE.kind == "gpt2" else (2, "BF16")
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes():
        begin, end = end, end + size * math.prod(shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    rng = np.random.default_rng(SEED)
    with (folder(data) / "model.safetensors").open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for name, shape in shapes():
            x = normal(rng, name, shape)
            file.write((x if kind == "F32" else halves(x)).tobytes())


def normal(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    """Spread as training starts from; weights of norms are about 1."""
    spread = 0.01 if "wpe" in name else 0.02
    x = rng.standard_normal(shape, dtype=np.float32) * np.float32(spread)
    return 1 + x if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight", "norm.weight")) else x


def halves(x: Array) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even."""
    bits = x.view(np.uint32)
    found: npt.NDArray[np.uint16] = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return found


def read(data: Path) -> dict[str, Array]:
    """The tensors as float32, without `transformer.` or `model.` before their names."""
    file = np.memmap(folder(data) / "model.safetensors", np.uint8, "r")
    length = int(file[:8].view(np.uint64)[0])
    found = {}
    for name, entry in json.loads(file[8 : 8 + length].tobytes()).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        raw = np.array(file[begin:end])
        x = raw.view(np.float32) if entry["dtype"] == "F32" else (raw.view(np.uint16).astype(np.uint32) << 16).view("f")
        found[name.split(".", 1)[1]] = x.reshape(entry["shape"])
    return found


if __name__ == "__main__":
    write(Path(sys.argv[1]))
