"""llama.cpp through llama-cpp-python's low-level calls: token ids in, greedy choice by NumPy over the logits."""

import ctypes
import time
from pathlib import Path
from typing import Any

import llama_cpp as ll
import numpy as np
from shape import BASE, EPSILON, HEAD_WIDTH, HEADS, HIDDEN, KV_HEADS, LAYERS, POSITIONS, SHAPE, VOCABULARY, WIDTH


@ll.llama_log_callback
def quiet(level: int, text: bytes, user_data: Any) -> None:
    pass


def file(data: Path, precision: str) -> Path:
    return data / f"{SHAPE.kind}-{precision}.gguf"


def convert(data: Path, precision: str) -> None:
    """`-pure`: the tied output matrix is quantised like the rest; without it llama.cpp keeps it finer."""
    if precision in ("f32", "f16", "bf16"):
        write(data, precision)
        return
    source = file(data, "f32" if SHAPE.kind == "gpt2" else "bf16")  # as the weights are stored
    if not source.exists():
        write(data, source.stem.rpartition("-")[2])
    kinds = {
        "q8_0": ll.LLAMA_FTYPE_MOSTLY_Q8_0,
        "q4_0": ll.LLAMA_FTYPE_MOSTLY_Q4_0,
        "q4_k": ll.LLAMA_FTYPE_MOSTLY_Q4_K_S,
    }
    ll.llama_backend_init()
    settings = ll.llama_model_quantize_default_params()
    settings.ftype = kinds[precision.removesuffix("-pure")]
    settings.pure = precision.endswith("-pure")
    if ll.llama_model_quantize(str(source).encode(), str(file(data, precision)).encode(), ctypes.byref(settings)) != 0:
        raise RuntimeError(f"llama.cpp could not quantise to {precision}")


def write(data: Path, precision: str) -> None:
    import gguf
    import weights

    w = weights.read(data)
    kind = {"f32": "F32", "f16": "F16", "bf16": "BF16"}[precision]
    storage = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(file(data, precision), SHAPE.kind)
    writer.add_block_count(LAYERS)
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"])
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"t{token}" for token in range(VOCABULARY)])
    writer.add_token_types([gguf.TokenType.NORMAL] * VOCABULARY)
    writer.add_token_merges(["t 0"])
    writer.add_bos_token_id(VOCABULARY - 1)
    writer.add_eos_token_id(VOCABULARY - 1)

    def matrix(name: str, tensor: Any) -> None:
        quantised = gguf.quants.quantize(np.ascontiguousarray(tensor), storage)
        writer.add_tensor(name, quantised, raw_dtype=storage)

    (gpt2 if SHAPE.kind == "gpt2" else llama)(writer, matrix, w)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gpt2(writer: Any, matrix: Any, w: Any) -> None:
    writer.add_layer_norm_eps(EPSILON)
    matrix("token_embd.weight", w["wte.weight"])
    writer.add_tensor("position_embd.weight", w["wpe.weight"])
    for part in ("weight", "bias"):
        writer.add_tensor(f"output_norm.{part}", w[f"ln_f.{part}"])
    for layer in range(LAYERS):
        h, block = f"h.{layer}.", f"blk.{layer}."
        for theirs, ours in (("attn_norm", "ln_1"), ("ffn_norm", "ln_2")):
            for part in ("weight", "bias"):
                writer.add_tensor(f"{block}{theirs}.{part}", w[f"{h}{ours}.{part}"])
        for theirs, ours in (
            ("attn_qkv", "attn.c_attn"),
            ("attn_output", "attn.c_proj"),
            ("ffn_up", "mlp.c_fc"),
            ("ffn_down", "mlp.c_proj"),
        ):
            matrix(f"{block}{theirs}.weight", w[f"{h}{ours}.weight"].T)
            writer.add_tensor(f"{block}{theirs}.bias", w[f"{h}{ours}.bias"])


def llama(writer: Any, matrix: Any, w: Any) -> None:
    """Rows of queries and keys are stored as pairs of neighbours instead of halves."""
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_rope_freq_base(BASE)
    matrix("token_embd.weight", w["embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", w["norm.weight"])
    for layer in range(LAYERS):
        h, block = f"layers.{layer}.", f"blk.{layer}."
        for theirs, ours in (("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")):
            writer.add_tensor(f"{block}{theirs}.weight", w[f"{h}{ours}.weight"])
        for theirs, ours in (
            ("attn_q", "self_attn.q_proj"),
            ("attn_k", "self_attn.k_proj"),
            ("attn_v", "self_attn.v_proj"),
            ("attn_output", "self_attn.o_proj"),
            ("ffn_gate", "mlp.gate_proj"),
            ("ffn_up", "mlp.up_proj"),
            ("ffn_down", "mlp.down_proj"),
        ):
            x = w[f"{h}{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                x = x.reshape(-1, 2, HEAD_WIDTH // 2, WIDTH).swapaxes(1, 2).reshape(x.shape)
            matrix(f"{block}{theirs}.weight", x)


def load(data: Path, precision: str, threads: int) -> Any:
    ll.llama_log_set(quiet, None)
    ll.llama_backend_init()
    model = ll.llama_model_load_from_file(str(file(data, precision)).encode(), ll.llama_model_default_params())
    if not model:
        raise RuntimeError(f"llama.cpp could not load {file(data, precision)}")

    def new_context(sequences: int) -> Any:
        settings = ll.llama_context_default_params()
        settings.n_ctx = settings.n_batch = POSITIONS
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = threads
        settings.no_perf = True
        context = ll.llama_init_from_model(model, settings)
        if not context:
            raise RuntimeError(f"llama.cpp could not make a context for {sequences} sequences")
        return context

    contexts = {1: new_context(1)}
    batch = ll.llama_batch_init(POSITIONS, 0, 1)

    def decode(context: Any, entries: list[tuple[int, int, int, bool]]) -> list[int]:
        """entries (token, position, row, wanted) -> the greedy id after each entry that is wanted"""
        for index, (token, position, row, wanted) in enumerate(entries):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, row
            batch.logits[index] = wanted
        batch.n_tokens = len(entries)
        if ll.llama_decode(context, batch) != 0:
            raise RuntimeError("llama.cpp could not decode")
        return [
            int(np.ctypeslib.as_array(ll.llama_get_logits_ith(context, index), (VOCABULARY,)).argmax())
            for index, entry in enumerate(entries)
            if entry[3]
        ]

    def generate(prompts: list[list[int]], new: int) -> tuple[list[list[int]], float, float]:
        rows, tokens = len(prompts), len(prompts[0])
        if rows not in contexts:
            contexts[rows] = new_context(rows)
        context = contexts[rows]
        ll.llama_memory_clear(ll.llama_get_memory(context), True)
        start = time.perf_counter()
        entries = [(t, i, row, i == tokens - 1) for row, prompt in enumerate(prompts) for i, t in enumerate(prompt)]
        chosen = [decode(context, entries)]
        first = time.perf_counter()
        for step in range(new - 1):
            chosen.append(decode(context, [(t, tokens + step, row, True) for row, t in enumerate(chosen[-1])]))
        return [list(row) for row in zip(*chosen, strict=True)], first - start, time.perf_counter() - first

    return generate
