"""fingerprint.py: one number of one tensor, one field, one token tells models and vocabularies apart; nothing else."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword import ops, reference
from nextword.arithmetic.formats import DTYPES
from nextword.models.gpt2 import GPT2
from nextword.tasks.fingerprint import model_fingerprint, vocabulary_fingerprint
from strategies import configs, kv_dtypes, models, random_model, random_tensors, tiny_config


@given(st.data())
def test_one_number_of_any_tensor_tells_models_apart(data):
    config = data.draw(configs())
    seed, head_bias = data.draw(st.integers(0, 99)), data.draw(st.booleans())
    tensors = random_tensors(config, seed, head_bias)
    before = model_fingerprint(GPT2(tensors, config))
    assert model_fingerprint(GPT2(random_tensors(config, seed, head_bias), config)) == before
    name = data.draw(st.sampled_from(sorted(tensors)))
    flat = tensors[name].reshape(-1)
    at = data.draw(st.integers(0, flat.size - 1))
    flat[at] = np.nextafter(flat[at], np.float32(9))
    assert model_fingerprint(GPT2(tensors, config)) != before


@given(st.data())
def test_one_byte_of_any_packed_matrix_tells_models_apart(data):
    model = data.draw(models())
    before = model_fingerprint(model)
    layers = [model.head, *model.linears()]
    layer = data.draw(st.sampled_from(layers))
    raw = ops.packed_bytes(layer.weight).copy()
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    layer.weight = ops.packed(raw, layer.weight.dtype, *layer.weight.shape)
    assert model_fingerprint(model) != before


@pytest.mark.parametrize("factor", [2, -1])
def test_columns_between_any_others_count(factor):
    """All but every 68th of 1,024 columns are changed."""
    config = tiny_config(n_embd=15, vocab_size=1024)
    tensors = random_tensors(config)
    before = model_fingerprint(GPT2(tensors, config))
    kept = np.linspace(0, 1023, 16).astype(int)
    tensors["wte.weight"][np.setdiff1d(np.arange(1024), kept)] *= factor
    assert model_fingerprint(GPT2(tensors, config)) != before


@pytest.mark.parametrize("changes", [
    {"activation_function": "gelu"}, {"layer_norm_epsilon": 1e-6}, {"scale_attn_weights": False}, {"n_head": 5},
    {"scale_attn_by_inverse_layer_idx": True},
], ids=str)  # fmt: skip
def test_a_field_that_changes_logits_tells_models_apart(changes):
    tensors = random_tensors(tiny_config())
    assert model_fingerprint(GPT2(tensors, tiny_config(**changes))) != model_fingerprint(GPT2(tensors, tiny_config()))


def test_dtypes_are_told_apart_and_what_no_logit_depends_on_is_not():
    assert len({model_fingerprint(random_model(tiny_config(), dtype=dtype)) for dtype in DTYPES}) == len(DTYPES)
    plain = model_fingerprint(random_model(tiny_config()))
    assert model_fingerprint(random_model(tiny_config(eos_token_id=7))) == plain
    assert model_fingerprint(random_model(tiny_config(), kv_dtype="int8")) == plain


@given(st.sampled_from(DTYPES), kv_dtypes)
def test_ops_and_reference_give_the_same(dtype, kv_dtype):
    config = tiny_config()
    one, other = (random_model(config, dtype=dtype, kv_dtype=kv_dtype, ops=twin) for twin in (ops, reference))
    assert model_fingerprint(one) == model_fingerprint(other)


def test_it_follows_a_model_that_changes():
    model = random_model(tiny_config())
    seen = [model_fingerprint(model)]
    model.blocks[1].fc.bias[3] += 1
    seen.append(model_fingerprint(model))
    model.blocks[0].qkv.weight = ops.pack(ops.unpack(model.blocks[0].qkv.weight) * 2)
    seen.append(model_fingerprint(model))
    assert len(set(seen)) == 3


def test_it_is_the_same_from_several_threads_at_once():
    model = random_model(tiny_config(n_layer=6))
    start, found = threading.Barrier(4), []

    def ask():
        start.wait()
        found.append(model_fingerprint(model))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [model_fingerprint(copy.copy(model))] * 4


def test_vocabularies_are_told_apart_by_what_an_id_stands_for(tmp_path, demo):
    of_bytes = byte_tokenizer(tmp_path)
    assert vocabulary_fingerprint(of_bytes) != vocabulary_fingerprint(demo.tokenizer)
    assert vocabulary_fingerprint(nextword.Tokenizer.load(tmp_path)) == vocabulary_fingerprint(of_bytes)
    of_bytes.save(tmp_path / "again")
    assert vocabulary_fingerprint(nextword.Tokenizer.load(tmp_path / "again" / "tokenizer.json")) == (
        vocabulary_fingerprint(of_bytes))  # fmt: skip
    text = (tmp_path / "vocab.json").read_text("utf-8").replace('"A": 65', '"A": 66').replace('"B": 66', '"B": 65')
    (tmp_path / "vocab.json").write_text(text, "utf-8")
    assert vocabulary_fingerprint(nextword.Tokenizer.load(tmp_path)) != vocabulary_fingerprint(of_bytes)
