"""GGUF files as weights: names, order of rows and configuration are Hugging Face's; what is not computed is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gguf_files import (
    decoder_file,
    decoder_metadata,
    decoder_tensors,
    gguf_bytes,
    interleaved,
    random_blocks,
    stored,
)
from model_files import from_bfloat16
from nextword import ops
from nextword.arithmetic import blocks
from nextword.arithmetic.blocks import KINDS, Blocks
from nextword.files import gguf_tensors
from nextword.files.weights import MissingTensorError, open_model

PARTS = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
         "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}  # fmt: skip


def hugging_face(name: str) -> str:
    outer = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
             "output.weight": "lm_head.weight"}
    if name in outer:
        return outer[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{PARTS[part]}.{kind}"


def opened(tmp_path, data: bytes):
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return open_model(path)


def numbers(x) -> np.ndarray:
    return from_bfloat16(x) if x.dtype == np.uint16 else np.asarray(x, np.float32)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_tensors_have_hugging_faces_names_and_order_of_rows(tmp_path, architecture, kind):
    tensors = decoder_tensors(architecture, tied=False)
    weights = opened(tmp_path, decoder_file(architecture, kind, tied=False))
    assert set(weights) == {hugging_face(name) for name in tensors}
    for name, x in tensors.items():
        expected = np.frombuffer(stored(x, kind if x.ndim == 2 else "F32")[2],
                                 {"F32": "f4", "F16": "f2", "BF16": "u2"}[kind if x.ndim == 2 else "F32"])
        assert np.array_equal(weights[hugging_face(name)], expected.reshape(x.shape)), name


def test_biases_of_queries_and_keys_are_put_in_order_too(tmp_path):
    tensors = decoder_tensors(bias=True)
    weights = opened(tmp_path, decoder_file(bias=True))
    assert np.array_equal(weights["model.layers.1.self_attn.q_proj.bias"], tensors["blk.1.attn_q.bias"])
    assert weights.config["attention_bias"] is True


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0] > 1])
def test_blocks_are_put_in_order_and_made_numbers(tmp_path, monkeypatch, kind):
    """256 columns, so that all kinds have whole blocks; the same whether a matrix is large or small."""
    rng, tensors = np.random.default_rng(4), {}
    shapes = {"token_embd.weight": (40, 256), "blk.0.attn_q.weight": (64, 256), "blk.0.attn_v.weight": (32, 256)}
    plain = {}
    for name, shape in shapes.items():
        raw = np.frombuffer(random_blocks(kind, *shape, rng), np.uint8)
        plain[name] = ops.dequantise(raw, kind, *shape)
        if "attn_q" in name:
            raw = interleaved(raw.reshape(64, -1), 4)
        tensors[name] = kind, shape, raw.tobytes()
    data = gguf_bytes(decoder_metadata(embedding_length=256, attention__key_length=16), tensors)
    for piece in (blocks.PIECE, 1000):
        monkeypatch.setattr(gguf_tensors, "PIECE", piece)
        weights = opened(tmp_path, data)
        assert weights.kind == kind
        for name, x in plain.items():
            got = weights[hugging_face(name)]
            assert isinstance(got, Blocks) == (piece == 1000)
            assert np.array_equal(np.asarray(got), x), name


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_a_head_that_is_the_embedding_again_is_tied(tmp_path, kind):
    rng = np.random.default_rng(5)
    one, other = (random_blocks(kind, 100, 64, rng) for _ in range(2))
    for second, tied in ((one, True), (other, False)):
        tensors = {"token_embd.weight": (kind, (100, 64), one), "output.weight": (kind, (100, 64), second)}
        weights = opened(tmp_path, gguf_bytes(decoder_metadata(), tensors))
        assert weights.config["tie_word_embeddings"] is tied
        assert ("lm_head.weight" in weights) is not tied


def test_the_configuration_is_that_of_a_config_json(tmp_path):
    weights = opened(tmp_path, decoder_file(metadata={"tokenizer.ggml.bos_token_id": 1,
                                                      "tokenizer.ggml.eos_token_id": 2}))
    assert weights.config == {
        "model_type": "llama", "vocab_size": 100, "tie_word_embeddings": True, "hidden_size": 64, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "num_hidden_layers": 2,
        "intermediate_size": 96, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
        "rope_scaling": None, "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    assert weights.source == tmp_path / "model.gguf"
    assert weights.origin == str(tmp_path / "model.gguf")
    assert weights.metadata["llama.block_count"] == 2


def config(tmp_path, tensors=None, architecture="llama", more=None, **changes):
    given = {"token_embd.weight": ("F32", (100, 64), bytes(25600)), **(tensors or {})}
    return opened(tmp_path, gguf_bytes({**decoder_metadata(architecture, **changes), **(more or {})}, given)).config


def test_ends_of_texts_turns_and_messages_are_all_ends(tmp_path):
    ids = {f"tokenizer.ggml.{name}_token_id": i for name, i in [("eos", 3), ("eot", 4), ("eom", 3)]}
    found = config(tmp_path, more=ids)
    assert (found["bos_token_id"], found["eos_token_id"]) == (None, [3, 4])
    assert config(tmp_path)["eos_token_id"] is None


def test_scaled_angles_are_those_that_the_file_says(tmp_path):
    factors = np.float32([1, 1, 2, 4, 8, 8, 8, 8])
    for changes, tensors, expected in [
        ({"rope__scaling__type": "none"}, {}, None),
        ({"rope__scaling__type": "linear", "rope__scaling__factor": 4.0}, {}, {"rope_type": "linear", "factor": 4.0}),
        ({"rope__scale_linear": 2.0}, {}, {"rope_type": "linear", "factor": 2.0}),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0, "rope__scaling__original_context_length": 32},
         {}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0, "rope__scaling__original_context_length": 32,
          "rope__scaling__yarn_beta_fast": 16.0, "rope__scaling__attn_factor": 2.0}, {},
         {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 16.0,
          "attention_factor": 2 * (1 + 0.1 * np.log(4))}),
        ({}, {"rope_freqs.weight": stored(factors)}, {"rope_type": "linear", "factor": factors.tolist()}),
    ]:  # fmt: skip
        assert config(tmp_path, tensors, **changes)["rope_scaling"] == expected


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_a_window_of_a_qwen_is_refused(tmp_path, architecture):
    with pytest.raises(ValueError, match=rf"{architecture}.attention.sliding_window in .* must be 0 or absent, got 8"):
        config(tmp_path, architecture=architecture, attention__sliding_window=8)


def test_a_window_makes_a_mistral(tmp_path):
    found = config(tmp_path, attention__sliding_window=64)
    assert (found["model_type"], found["sliding_window"]) == ("mistral", 64)


REFUSED = {
    "no architecture": ({"general.architecture": "gemma2"}, {}, "must be one of llama, qwen2, qwen3, gpt2, got 'gem"),
    "an array for it": ({"general.architecture": ["llama"]}, {}, "must be one of llama, qwen2, qwen3, gpt2, got"),
    "an adapter": ({"general.type": "adapter"}, {}, "holds no model but what its general.type calls 'adapter'"),
    "a part": ({"split.count": 3}, {}, "is one of 3 parts of a model (split.count); join them"),
    "experts": ({}, {"expert_count": 8}, "llama.expert_count in {} must be 0 or absent, got 8"),
    "an encoder": ({}, {"attention__causal": False}, "llama.attention.causal in {} must be True or absent, got False"),
    "no width": ({}, {"embedding_length": None}, "llama.embedding_length in {} must be a positive integer, got None"),
    "a width of text": ({}, {"embedding_length": "64"},
        "llama.embedding_length in {} must be a positive integer, got 64"),
    "no layers": ({}, {"block_count": 0}, "llama.block_count in {} must be a positive integer, got 0"),
    "layers of several heads": ({}, {"attention__head_count": np.int32([4, 2])},
        "llama.attention.head_count in {} must be"),
    "no heads": ({}, {"attention__head_count": 0}, "llama.attention.head_count in {} must be a positive integer"),
    "an epsilon of NaN": ({}, {"attention__layer_norm_rms_epsilon": float("nan")},
        "must be a positive number, got nan"),
    "heads that turn in part": ({}, {"rope__dimension_count": 8},
        "llama.rope.dimension_count in {} must be 16, the width"),
    "other values": ({}, {"attention__value_length": 8}, "llama.attention.value_length in {} must be 16, the width"),
    "unknown scaling": ({}, {"rope__scaling__type": "longrope"},
        "llama.rope.scaling.type in {} must be none, linear or ya"),
    "a scaling for each layer": ({}, {"rope__scaling__type": np.int32([1, 2])},
        "llama.rope.scaling.type in {} must be none, linear or yarn, got [1, 2]"),
    "a clamp for each layer": ({}, {"attention__clamp_kqv": np.float32([0, 2])},
        "llama.attention.clamp_kqv in {} must be 0 or absent, got [0.0, 2.0]"),
    "parts of parts": ({"split.count": np.int32([1, 2])}, {}, "is one of [1, 2] parts of a model (split.count); join"),
    "a kind of numbers": ({"general.type": np.int32([1, 2])}, {}, "what its general.type calls '[1, 2]'"),
    "several ends": ({"tokenizer.ggml.eos_token_id": np.int32([1, 2])}, {},
        "tokenizer.ggml.eos_token_id in {} must be a token id or absent, got [1, 2]"),
    "an end of texts": ({"tokenizer.ggml.eot_token_id": ["a"]}, {},
        "tokenizer.ggml.eot_token_id in {} must be a token id or absent, got ['a']"),
    "windows of some layers": ({}, {"attention__sliding_window": 8, "attention__sliding_window_pattern": 2},
        "llama.attention.sliding_window_pattern in {} must be 0 or absent, so that all layers have the window, got 2"),
    "scaling by nothing": ({}, {"rope__scaling__type": "linear"},
        "llama.rope.scaling.factor in {} must be a positive num"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_computed_is_refused_by_its_name(tmp_path, case):
    more, changes, message = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(message.format(tmp_path / "model.gguf"))) as caught:
        config(tmp_path, more=more, **changes)
    assert str(caught.value).startswith("weights: ")
    assert str(tmp_path / "model.gguf") in str(caught.value)


@pytest.mark.parametrize("factors", [np.ones(7), np.zeros(8), np.full(8, np.nan)])
def test_frequencies_that_fit_no_head_are_refused(tmp_path, factors):
    with pytest.raises(ValueError, match=r"rope_freqs.weight of .* must hold 8 positive numbers"):
        config(tmp_path, {"rope_freqs.weight": stored(factors)})


def test_a_file_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no matrix 'token_embd.weight'; it is no whole model"):
        opened(tmp_path, gguf_bytes(decoder_metadata()))


def test_rows_that_are_no_heads_are_refused_when_they_are_read(tmp_path):
    weights = opened(tmp_path, gguf_bytes(decoder_metadata(), {
        "token_embd.weight": ("F32", (100, 64), bytes(25600)), "blk.0.attn_q.weight": stored(np.zeros((60, 64)))}))
    with pytest.raises(ValueError, match=r"tensor 'blk.0.attn_q.weight' of .*model.gguf must have whole heads of 16"):
        weights["model.layers.0.self_attn.q_proj.weight"]


def test_an_unknown_tensor_keeps_its_name_and_a_missing_one_is_named(tmp_path):
    weights = opened(tmp_path, gguf_bytes(decoder_metadata(), {
        "token_embd.weight": ("F32", (100, 64), bytes(25600)),
        "blk.0.ffn_gate_exps.weight": stored(np.zeros((2, 2)))}))
    assert "blk.0.ffn_gate_exps.weight" in weights
    with pytest.raises(MissingTensorError, match=r"model.gguf has no tensor 'model.norm.weight'"):
        weights["model.norm.weight"]


def test_a_file_is_known_by_its_first_bytes_or_its_name(tmp_path):
    (tmp_path / "blob").write_bytes(decoder_file())
    assert open_model(tmp_path / "blob").config["model_type"] == "llama"
    (tmp_path / "no.gguf").write_bytes(b"hello, world")
    with pytest.raises(ValueError, match=r"no.gguf is no GGUF file: it begins with b'hell'"):
        open_model(tmp_path / "no.gguf")
    with pytest.raises(FileNotFoundError, match=r"weights: there is no file '.*absent.gguf'"):
        open_model(tmp_path / "absent.gguf")
    with pytest.raises(ValueError, match="load: revision must be None for a file, got 'main'"):
        open_model(tmp_path / "blob", "main")


def test_a_folder_that_holds_such_a_file_alone_says_how_to_load_it(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.gguf").write_bytes(decoder_file())
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors; load model.gguf by its own path, .*model"):
        open_model(tmp_path)
