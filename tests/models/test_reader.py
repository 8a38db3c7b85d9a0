"""models/reader.py: one verdict on a head that is stored twice or alone, and on what is stored and has no place."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nextword
from model_files import write_model
from nextword.files.weights import open_model
from nextword.models import reader
from nextword.models.gpt2 import GPT2
from strategies import random_tensors, run, tiny_config

IDS = [1, 2, 3, 36]
WTE, HEAD = "wte.weight", "lm_head.weight"


@pytest.fixture
def tensors():
    return random_tensors(tiny_config())


@pytest.fixture
def own():
    return random_tensors(tiny_config(tie_word_embeddings=False), seed=1)[HEAD]


# The head


@pytest.mark.parametrize("said", [{"tie_word_embeddings": True}, {}, {"tie_word_embeddings": False}])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_stored_head_with_numbers_of_its_own_is_the_head(tmp_path, tensors, own, said, dtype):
    folder = write_model(tmp_path / "m", tiny_config(**said), {**tensors, HEAD: own}, dtype)
    untied = write_model(tmp_path / "u", tiny_config(tie_word_embeddings=False), {**tensors, HEAD: own}, dtype)
    lm = nextword.load(folder)
    np.testing.assert_array_equal(lm.logits(IDS), nextword.load(untied).logits(IDS))
    assert lm.config.tie_word_embeddings is False
    assert not np.array_equal(lm.logits(IDS), run(GPT2(tensors, tiny_config()), [IDS]))


@given(place=st.integers(0, 37 * 15 - 1), piece=st.sampled_from([1, 15, 40, 1 << 22]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_number_makes_a_head_its_own_wherever_it_is(monkeypatch, tensors, place, piece):
    monkeypatch.setattr(reader, "PIECE", piece)
    head = tensors[WTE].copy()
    same = GPT2({**tensors, HEAD: head}, tiny_config())
    assert same.head.weight is same.embed.tokens
    head.flat[place] = np.nextafter(head.flat[place], np.float32(9))
    other = GPT2({**tensors, HEAD: head}, tiny_config())
    assert other.head.weight is not other.embed.tokens
    np.testing.assert_array_equal(nextword.ops.unpack(other.head.weight).T, head)


def test_a_head_is_the_embedding_however_each_is_stored(tensors):
    half = tensors[WTE].astype(np.float16)
    model = GPT2({**tensors, WTE: half, HEAD: half.astype(np.float32)}, tiny_config())
    assert model.head.weight is model.embed.tokens


@pytest.mark.parametrize("said", [{"tie_word_embeddings": True}, {}])
@pytest.mark.parametrize("shards", [1, 3])
def test_the_head_alone_is_both_where_they_are_tied(tmp_path, tensors, said, shards):
    expected = run(GPT2(tensors, tiny_config()), [IDS])
    tensors[HEAD] = tensors.pop(WTE)
    lm = nextword.load(write_model(tmp_path / "m", tiny_config(**said), tensors, shards=shards))
    np.testing.assert_array_equal(lm.logits(IDS), expected)
    assert lm.model.head.weight is lm.model.embed.tokens
    again = nextword.load(nextword.quantize(tmp_path / "m", "float32", tmp_path / "packed"))
    np.testing.assert_array_equal(again.logits(IDS), expected)


def test_a_packed_head_alone_is_both_too(tmp_path, tensors):
    folder = nextword.quantize(write_model(tmp_path / "m", tiny_config(), tensors), "int8", tmp_path / "packed")
    expected = nextword.load(folder).logits(IDS)
    raw = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    head = raw[8 : 8 + length].replace(WTE.encode(), HEAD.encode()).rstrip()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + raw[8 + length :])
    np.testing.assert_array_equal(nextword.load(folder).logits(IDS), expected)


def test_the_head_alone_is_no_embedding_where_they_are_not_tied(tmp_path, tensors):
    tensors[HEAD] = tensors.pop(WTE)
    folder = write_model(tmp_path / "m", tiny_config(tie_word_embeddings=False), tensors)
    with pytest.raises(ValueError, match=r"load: tensor 'wte\.weight' \(absent from .*is missing"):
        nextword.load(folder)


@pytest.mark.parametrize("dtype", ["int8", "int4", "float32"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_packed_folder_keeps_whether_the_head_is_its_own(tmp_path, tensors, own, dtype, tied):
    """config.json says tied in both; a copy of the embedding is held once, another head stays."""
    head = tensors[WTE] if tied else own
    source = write_model(tmp_path / "m", tiny_config(), {**tensors, HEAD: head})
    lm = nextword.load(nextword.quantize(source, dtype, tmp_path / "packed"))
    np.testing.assert_array_equal(lm.logits(IDS), nextword.load(source, dtype=dtype).logits(IDS))
    assert (lm.model.head.weight is lm.model.embed.tokens) is tied
    assert (HEAD in open_model(tmp_path / "packed")) is not tied


def test_two_packed_matrices_are_compared_byte_by_byte(tensors):
    packed = {name: nextword.arithmetic.formats.PackedBytes(nextword.ops.packed_bytes(x), x.dtype, *x.shape)
              if isinstance(x, nextword.ops.Packed) else x
              for name, x in GPT2(tensors, tiny_config(), dtype="int8").tensors().items()}  # fmt: skip
    same = GPT2({**packed, HEAD: packed[WTE]}, tiny_config())
    assert same.head.weight is same.embed.tokens
    other = packed[WTE]._replace(data=packed[WTE].data.copy())
    other.data[-129] ^= 1
    assert GPT2({**packed, HEAD: other}, tiny_config()).config.tie_word_embeddings is False
    mixed = GPT2({**packed, HEAD: tensors[WTE]}, tiny_config())
    assert (mixed.dtype, mixed.head.weight.dtype) == ("int8", "float32")


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: x[:, :-1], lambda x: x.astype(np.float64), np.ravel])
def test_a_head_that_cannot_be_one_is_named(tensors, change):
    with pytest.raises(ValueError, match=r"load: tensor 'lm_head\.weight'"):
        GPT2({**tensors, HEAD: change(tensors[WTE])}, tiny_config())


MEASURE = """
import sys, nextword
def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
nextword.load()
before = status("VmHWM")
lm = nextword.load(sys.argv[1])
print(status("VmHWM") - before, lm.model.head.weight is lm.model.embed.tokens)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc/self/status")
def test_comparing_head_and_embedding_holds_neither_of_them(tmp_path):
    """The embedding is nearly all of the model: held beside its copy the peak would be twice the weights."""
    config = tiny_config(n_layer=1, n_head=8, n_embd=512, n_inner=8, vocab_size=40_000)
    tensors = random_tensors(config)
    grown = {}
    for name, more in ("one", {}), ("two", {HEAD: tensors[WTE]}):
        folder = write_model(tmp_path / name, config, {**tensors, **more})
        command = [sys.executable, "-c", MEASURE, str(folder)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        grown[name] = int(out[0])
        assert out[1] == "True"
    assert grown["one"] > tensors[WTE].nbytes  # the measurement sees the weights
    # of head, embedding and their float32 copies a piece each, and what a system maps around a page that is read
    assert grown["two"] - grown["one"] < 4 * 4 * reader.PIECE + 4e6


# What has no place


def test_more_layers_than_the_configuration_says_are_named(tmp_path, tensors):
    folder = write_model(tmp_path / "m", tiny_config(n_layer=1), tensors, prefix="transformer.")
    words = (r"load: tensor 'transformer\.h\.1\.ln_1\.weight' of .*model\.safetensors has no place in a GPT-2 of this "
             r"configuration .*'h\.1\.ln_1\.bias', .* and 8 more")  # fmt: skip
    with pytest.raises(ValueError, match=words):
        nextword.load(folder)


NO_PLACE = ["h.0.attn.c_attn.scales", "ln_f.extra", "wte.bias", "x", "lm_head.scale", "h.0.mlp.gate.weight",
            "h.0.crossattention.q_attn.weight", "score.weights"]  # fmt: skip


@pytest.mark.parametrize("name", NO_PLACE)
def test_any_tensor_without_a_place_is_named(tmp_path, tensors, name):
    with pytest.raises(ValueError, match=rf"load: tensor '{name}' has no place"):
        GPT2({**tensors, name: np.float32([1])}, tiny_config())
    with pytest.raises(ValueError, match=rf"load: tensor '{name}' of .*model\.safetensors has no place"):
        nextword.load(write_model(tmp_path / "m", tiny_config(), {**tensors, name: np.float32([1])}))


def test_tensors_left_over_are_named_for_packed_folders_too(tmp_path, tensors):
    folder = nextword.quantize(write_model(tmp_path / "m", tiny_config(), tensors), "int8", tmp_path / "packed")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_layer": 1}))
    with pytest.raises(ValueError, match=r"tensor 'h\.1\..* has no place"):
        nextword.load(folder)


@pytest.mark.parametrize("name", ["score.weight", "classifier.bias", "qa_outputs.weight", "v_head.summary.weight",
                                  "multiple_choice_head.summary.bias"])  # fmt: skip
def test_another_head_is_named_and_changes_no_logit(tmp_path, tensors, name):
    folder = write_model(tmp_path / "m", tiny_config(), {**tensors, name: np.ones((2, 15), np.float32)})
    with pytest.warns(UserWarning, match=rf"load: not used, as no logit depends on it: '{name}'"):
        lm = nextword.load(folder)
    np.testing.assert_array_equal(lm.logits(IDS), run(GPT2(tensors, tiny_config()), [IDS]))


def test_constants_are_passed_over_in_arrays_as_in_files(tensors):
    constants = {"h.0.attn.bias": np.ones((1, 1, 24, 24), np.uint8), "h.1.attn.masked_bias": np.float32(-1e4),
                 "position_ids": np.arange(24)}  # fmt: skip
    expected = run(GPT2(tensors, tiny_config()), [IDS])
    np.testing.assert_array_equal(run(GPT2({**tensors, **constants}, tiny_config()), [IDS]), expected)
