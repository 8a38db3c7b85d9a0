"""weights.py: what is refused, and with which words."""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nextword
from model_files import SMALL_CONFIG, folder_of, one, safetensors_bytes, some_tensors, write_model
from nextword.files import model_folder, safetensors_file
from nextword.files.weights import MissingTensorError, open_model
from nextword.models.gpt2 import GPT2
from strategies import tiny_config


def test_a_missing_tensor_names_file_tensor_and_near_names(tmp_path):
    opened = open_model(write_model(tmp_path, SMALL_CONFIG, some_tensors()))
    with pytest.raises(ValueError, match=r"s has no tensor 'wte\.weigth'; nearest names: 'wte\.weight'"):
        opened["wte.weigth"]
    with pytest.raises(MissingTensorError, match="holds 4 tensors, none of a like name"):
        opened["€€€"]
    assert opened.get("wte.weigth") is None
    assert "wte.weight" in opened
    sharded = open_model(write_model(tmp_path / "shards", SMALL_CONFIG, some_tensors(), shards=2))
    with pytest.raises(KeyError) as caught:
        sharded["nothing"]
    assert str(caught.value).startswith(f"weights: {tmp_path / 'shards'} has no tensor 'nothing'")


@pytest.mark.parametrize(("code", "dtype"), [("F64", "f8"), ("I64", "i8"), ("BOOL", "?"), ("I32", "i4")])
def test_another_dtype_is_refused_when_read(tmp_path, code, dtype):
    opened = open_model(folder_of(tmp_path, one(code, np.ones(2, dtype))))
    assert len(opened) == 1
    with pytest.raises(ValueError, match=rf"tensor 'x' of .*model\.safetensors is stored as {code}"):
        opened["x"]


def test_a_shape_beyond_numpy_is_refused(tmp_path):
    file = safetensors_bytes({}, x={"dtype": "F32", "shape": [0] * 70, "data_offsets": [0, 0]})
    with pytest.raises(ValueError, match=r"'x'.*NumPy cannot hold"):
        open_model(folder_of(tmp_path, file))["x"]


def test_two_names_for_one_tensor_are_refused(tmp_path):
    x = ("F32", np.ones(1, "f"))
    with pytest.raises(ValueError, match=r"'transformer\.ln_f\.bias'.*both are the tensor 'ln_f\.bias'"):
        open_model(folder_of(tmp_path, safetensors_bytes({"ln_f.bias": x, "transformer.ln_f.bias": x}))).renamed(
            GPT2.own_name)
    with pytest.raises(ValueError, match=r"'module\.ln_f\.bias'.*both are the tensor 'ln_f\.bias'"):
        open_model(folder_of(tmp_path, safetensors_bytes({"ln_f.bias": x, "module.ln_f.bias": x})))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "must hold a JSON object, got list"),
        ("[" * 100_000, "not valid JSON"),
        ('{"n_layer": ' + "9" * 5000 + "}", "not valid JSON"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("<!DOCTYPE html>", "HTML"),
    ],
)
def test_a_bad_config_is_named(tmp_path, config, words):
    with pytest.raises(ValueError, match=f"config.json.*{words}"):
        open_model(folder_of(tmp_path, one("F32", np.ones(1, "f")), config))


def test_a_config_of_broken_utf8_is_named(tmp_path):
    (tmp_path / "config.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        open_model(tmp_path)


def test_a_folder_without_config_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "it holds config.json"),
        (["a", "b", "d", "e", "f", "g"], r"it holds a, b, config.json, d, e, f, \.\.\."),
        (["pytorch_model.bin"], "save_pretrained"),
        (["pytorch_model-00001-of-00002.bin"], "save_pretrained"),
        (["weights.safetensors"], "rename weights.safetensors"),
        (["a.safetensors", "b.safetensors"], r"and no model\.safetensors\.index\.json"),
    ],
)
def test_a_folder_without_weights_says_what_it_holds(tmp_path, names, words):
    folder_of(tmp_path)
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"holds no model.safetensors.*{words}"):
        open_model(tmp_path)


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    file = folder_of(tmp_path, one("F32", np.ones(1, "f"))) / "model.safetensors"
    with pytest.raises(NotADirectoryError, match="pass the folder"):
        open_model(file)


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(folder_of(tmp_path) / "model.safetensors")
    with pytest.raises(ValueError, match="not a regular file"):
        open_model(tmp_path)


X = np.arange(6, dtype=np.float32)
GOOD = safetensors_bytes({"x": ("F32", X[:4]), "y": ("F32", X[4:])})


def entry(**fields):
    return {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **fields}


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "truncated"),
        (b"\0\0\0", "truncated"),
        (bytes(8), "truncated or damaged"),
        (GOOD[:100], "truncated"),
        (GOOD[:-1], "truncated"),
        (GOOD + b"\0", "damaged"),
        (struct.pack("<Q", 2**64 - 1) + GOOD[8:], "claims 18446744073709551615 bytes"),
        (struct.pack("<Q", 10**9) + GOOD[8:], "claims 1000000000 bytes"),
        (struct.pack("<Q", 2) + b"[]", "damaged"),
        (struct.pack("<Q", 2) + b"\xff\xff", "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, x=entry(shape=[5])), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, x=entry(shape=[2**63, 2**63])), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, x=entry(data_offsets=[8, 24])), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, x=entry(data_offsets=[16, 0])), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, x=entry(data_offsets=[-16, 0])), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, y=entry()), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, x=entry(dtype="F7")), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, x={"dtype": "F32"}), "damaged"),
        (GOOD.replace(b'"y"', b'"x"'), "damaged"),
        (safetensors_bytes({"x": ("F32", X[:4])}, zz=entry()).replace(b'"zz"', b' "x"'), "names a tensor .* twice"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(60), "PyTorch checkpoint"),
        (b"GGUF" + bytes(60), "GGUF"),
        (b"<html>not found</html>", "HTML"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused(tmp_path, file, words):
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{words}"):
        open_model(folder_of(tmp_path, file))


def test_a_file_that_shrinks_between_check_and_map_is_refused(tmp_path, monkeypatch):
    truth = safetensors_file.read_header

    def read_then_cut(path):
        found = truth(path)
        path.write_bytes(GOOD[:-4])
        return found

    monkeypatch.setattr(safetensors_file, "read_header", read_then_cut)
    with pytest.raises(ValueError, match="became shorter"):
        open_model(folder_of(tmp_path, GOOD))


@pytest.mark.parametrize("changed", [{"shape": [3]}, {"data_offsets": [16, 900]}, {"data_offsets": None}])
def test_the_offsets_are_checked_here_too(tmp_path, monkeypatch, changed):
    """A library that accepted a lying header would not lead to a read outside the map."""
    import contextlib

    import safetensors

    monkeypatch.setattr(safetensors, "safe_open", lambda *_, **__: contextlib.nullcontext())
    with pytest.raises(ValueError, match="truncated or damaged"):
        open_model(folder_of(tmp_path, safetensors_bytes({"x": ("F32", X[:4])}, x=entry(**changed))))


def index_of(tmp_path: Path, weight_map: object) -> Path:
    folder = write_model(tmp_path / "m", SMALL_CONFIG, some_tensors(), shards=2)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize(
    "name",
    ["../other/model.safetensors", "/etc/model.safetensors", "sub/a.safetensors", "..", "", 3, None, "x\0.safetensors",
     "a\\b.safetensors", ".hidden.safetensors", "config.json", "x.safetensors\n"],
)  # fmt: skip
def test_an_index_cannot_lead_out_of_its_folder(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected the name of a \.safetensors file beside it"):
        open_model(index_of(tmp_path, {"wte.weight": name}))


def test_an_index_that_disagrees_with_its_shards_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"names the shard model-3\.safetensors, which is not in"):
        open_model(index_of(tmp_path, {"wte.weight": "model-3.safetensors"}))
    with pytest.raises(ValueError, match=r"puts 'wte\.wait' into model-00001-.*, which does not hold it"):
        open_model(index_of(tmp_path, {"wte.wait": "model-00001-of-00002.safetensors"}))


@pytest.mark.parametrize("weight_map", [None, [], {}, "model.safetensors"])
def test_an_index_without_a_weight_map_is_refused(tmp_path, weight_map):
    with pytest.raises(ValueError, match="has no 'weight_map'"):
        open_model(index_of(tmp_path, weight_map))


def test_tensors_of_shards_that_the_index_does_not_name_are_named(tmp_path):
    folder = write_model(tmp_path / "m", SMALL_CONFIG, some_tensors(), shards=2)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    shard = content["weight_map"].pop("wte.weight")
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"{shard} holds 'wte\.weight', which .*index\.json does not put there"):
        open_model(folder).renamed(GPT2.own_name)
    mask = {"h.0.attn.bias": ("F32", np.zeros(2, "f"))}  # an index may leave out what nobody reads
    tensors = {name: ("F32", some_tensors()[name]) for name, file in content["weight_map"].items() if file == shard}
    (folder / shard).write_bytes(safetensors_bytes({**tensors, **mask}))
    assert set(open_model(folder).renamed(GPT2.own_name)) == set(content["weight_map"])


# Names


WRAPPERS = ["_orig_mod.", "module.", "model.", "transformer.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(front=st.lists(st.sampled_from(WRAPPERS), max_size=4), inside=st.sampled_from(["", WRAPPERS[0], *WRAPPERS[4:]]))
def test_known_wrappers_are_taken_off_in_any_combination(tmp_path, front, inside):
    stored = {"".join(front) + name.replace("h.0.", f"h.0.{inside}"): x for name, x in some_tensors().items()}
    opened = open_model(write_model(tmp_path, SMALL_CONFIG, stored)).renamed(GPT2.own_name)
    assert {name: x.tolist() for name, x in opened.items()} == {n: x.tolist() for n, x in some_tensors().items()}


@pytest.mark.parametrize(
    ("stored", "near"),
    [
        ("gpt.wte.weight", "gpt.wte.weight"),
        ("base_model.transformer.wte.weight", "base_model.transformer.wte.weight"),
        ("wte.wait", "wte.wait"),
        ("tok_embeddings.weight" + "x" * 300, None),
    ],
)
def test_a_name_of_another_kind_is_told_beside_the_one_that_is_missing(tmp_path, stored, near):
    folder = write_model(tmp_path / "m", tiny_config(), {stored: np.ones((37, 15), np.float32)})
    words = re.escape(f"nearest names: {near!r}" if near else "it holds 1 tensors, none of a like name")
    with pytest.raises(ValueError, match=rf"load: tensor 'wte\.weight' \(absent from .*; {words}\) is missing"):
        nextword.load(folder)


@pytest.mark.parametrize("name", ["transformer.h.0.attn.c_attn.base_layer.weight", "base_model.model.lm_head.weight",
                                  "base_model.model.transformer.h.0.attn.c_attn.lora_A.default.weight",
                                  "h.0.attn.c_attn.lora_magnitude_vector.default", "wte.lora_embedding_B.weight",
                                  "lm_head.modules_to_save.default.weight"])  # fmt: skip
def test_layers_of_an_adapter_are_told_and_how_to_merge_them(tmp_path, name):
    stored = {**some_tensors(), name: np.float32([1])}
    if name == "base_model.model.lm_head.weight":
        stored["base_model.model.h.0.attn.c_attn.lora_B.default.weight"] = np.float32([1])
    with pytest.raises(ValueError, match=r"\.safetensors holds '.*', which belongs to an adapter .*merge_and_unload\("):
        open_model(write_model(tmp_path / "m", SMALL_CONFIG, stored))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_beside_a_model_is_told(tmp_path, name):
    folder = write_model(tmp_path / "m", SMALL_CONFIG, some_tensors())
    (folder / name).write_text("{}")
    with pytest.raises(ValueError, match=rf"weights: .* holds {re.escape(name)}, which belongs to an adapter"):
        open_model(folder)


# Bounds


def test_a_header_longer_than_any_models_is_refused_before_it_is_parsed(tmp_path):
    """These are no JSON: to parse them would give another message."""
    for length in (safetensors_file.HEADER_LIMIT + 1, 58_900_000):
        folder = folder_of(tmp_path)
        with (folder / "model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", length))
            file.truncate(8 + length)
        with pytest.raises(ValueError, match=rf"has a header of {length:,} bytes; 4,000,000 are read"):
            open_model(folder)


def test_the_longest_header_opens(tmp_path):
    names = {f"t{i}": ("F32", np.empty(0, np.float32)) for i in range(50_000)}
    file = safetensors_bytes(names)
    assert safetensors_file.HEADER_LIMIT * 0.7 < len(file) <= safetensors_file.HEADER_LIMIT
    opened = open_model(folder_of(tmp_path, file))
    assert len(opened) == len(names)
    with pytest.raises(MissingTensorError, match=r"has no tensor 'wte\.weight'"):
        opened["wte.weight"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_json_longer_than_any_models_is_refused_before_it_is_read(tmp_path, name):
    folder = folder_of(tmp_path)
    with (folder / name).open("wb") as file:
        file.truncate(model_folder.JSON_LIMIT + 1)
    with pytest.raises(ValueError, match=rf"{name} has 32,000,001 bytes; expected JSON of 32,000,000 at most"):
        open_model(folder)


def assert_opens_or_explains(folder: Path, size: int) -> None:
    message = "model.safetensors"
    try:
        opened = open_model(folder)
        for name in opened:
            assert opened[name].nbytes <= size
    except ValueError as error:
        message = str(error)
    assert "model.safetensors" in message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4),
    length=st.one_of(st.just(len(GOOD)), st.integers(0, len(GOOD))),
)
def test_a_damaged_file_opens_or_gives_one_clear_error(tmp_path, flips, length):
    file = bytearray(GOOD)
    for place, byte in flips:
        file[place] = byte
    folder = folder_of(tmp_path, bytes(file[:length]))
    open_before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert_opens_or_explains(folder, len(GOOD))
    if open_before:
        assert len(os.listdir("/proc/self/fd")) <= open_before


headers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
likely = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "U8", "F4"]),
        "shape": st.lists(st.integers(0, 5) | st.integers(-1, 2**65), max_size=3),
        "data_offsets": st.tuples(st.integers(0, 24), st.integers(-1, 2**65) | st.integers(0, 24)),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(header=headers | st.dictionaries(st.sampled_from(["x", "y", "__metadata__"]), likely | headers, max_size=3))
def test_any_header_opens_or_gives_one_clear_error(tmp_path, header):
    text = json.dumps(header).encode()
    assert_opens_or_explains(folder_of(tmp_path, struct.pack("<Q", len(text)) + text + bytes(24)), 24)
