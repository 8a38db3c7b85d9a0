"""weights.py: what is refused, and with which words."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_files import safetensors_bytes, write_model
from nextword import weights
from nextword.weights import MissingTensorError, open_model

CONFIG = {"model_type": "gpt2", "n_layer": 1}


def some_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = {"wte.weight": (7, 4), "h.0.ln_1.weight": (4,), "h.0.attn.c_attn.weight": (4, 12)}
    shapes["lm_head.weight"] = shapes["wte.weight"]
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def folder_of(tmp_path: Path, file: bytes | None = None, config: str = "{}") -> Path:
    (tmp_path / "config.json").write_text(config)
    if file is not None:
        (tmp_path / "model.safetensors").write_bytes(file)
    return tmp_path


def one(code: str, array: np.ndarray) -> bytes:
    return safetensors_bytes({"x": (code, array)})


def test_a_missing_tensor_names_file_tensor_and_near_names(tmp_path):
    opened = open_model(write_model(tmp_path, CONFIG, some_tensors()))
    with pytest.raises(ValueError, match=r"s has no tensor 'wte\.weigth'; nearest names: 'wte\.weight'"):
        opened["wte.weigth"]
    with pytest.raises(MissingTensorError, match="holds 4 tensors, none of a like name"):
        opened["€€€"]
    assert opened.get("wte.weigth") is None
    assert "wte.weight" in opened
    sharded = open_model(write_model(tmp_path / "shards", CONFIG, some_tensors(), shards=2))
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
        open_model(folder_of(tmp_path, safetensors_bytes({"ln_f.bias": x, "transformer.ln_f.bias": x})))


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
    truth = weights.read_header

    def read_then_cut(path):
        found = truth(path)
        path.write_bytes(GOOD[:-4])
        return found

    monkeypatch.setattr(weights, "read_header", read_then_cut)
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
    folder = write_model(tmp_path / "m", CONFIG, some_tensors(), shards=2)
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
