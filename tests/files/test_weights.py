"""weights.py: what opens, what is refused and with which words, and what a read costs in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_files import (
    SMALL_CONFIG,
    folder_of,
    from_bfloat16,
    safetensors_bytes,
    some_tensors,
    to_bfloat16,
    write_model,
)
from nextword.files import safetensors_file, weights
from nextword.files.weights import open_model
from nextword.models.gpt2 import GPT2

# What opens


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_every_layout_gives_the_same_names_and_bits(tmp_path, dtype, shards, prefix):
    tensors = some_tensors()
    opened = open_model(write_model(tmp_path / "m", SMALL_CONFIG, tensors, dtype, shards, prefix))
    opened = opened.renamed(GPT2.own_name)
    assert opened.config == SMALL_CONFIG
    assert opened.folder == tmp_path / "m"
    assert set(opened) == set(tensors)
    assert len(opened) == len(tensors)
    for name, x in tensors.items():
        stored = to_bfloat16(x) if dtype == "bfloat16" else x.astype(dtype)
        found = opened[name]
        assert found.dtype == stored.dtype
        np.testing.assert_array_equal(found, stored)


def test_bfloat16_bits_decode_to_the_rounded_numbers():
    x = np.float32([1, -2.5, 3.1415927, 1e-30, 0])
    assert np.allclose(from_bfloat16(to_bfloat16(x)), x, rtol=2**-8, atol=0)
    assert from_bfloat16(to_bfloat16(np.float32([1.5])))[0] == 1.5


def test_the_library_reads_what_the_tests_write():
    from safetensors.numpy import load

    tensors = some_tensors()
    found = load(safetensors_bytes({name: ("F32", x) for name, x in tensors.items()}))
    assert set(found) == set(tensors)
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def test_a_file_that_the_library_writes_opens(tmp_path):
    from safetensors.numpy import save_file

    tensors = some_tensors()
    save_file(tensors, folder_of(tmp_path) / "model.safetensors")
    assert {name: x.tolist() for name, x in open_model(tmp_path).items()} == {n: x.tolist() for n, x in tensors.items()}


def test_stored_masks_are_left_out_and_biases_kept(tmp_path):
    zeros = np.zeros(2, np.float32)
    kept = {"h.0.attn.c_attn.bias", "h.11.mlp.c_fc.bias", "ln_f.bias", "lm_head.bias"}
    masks = {"h.0.attn.bias", "h.0.attn.masked_bias", "h.11.attn.bias"}
    stored = write_model(tmp_path, SMALL_CONFIG, dict.fromkeys(kept | masks, zeros), prefix="transformer.")
    opened = open_model(stored).renamed(GPT2.own_name)
    assert set(opened) == kept
    assert "h.0.attn.bias" not in opened


def test_tensors_are_read_only_views_of_the_file(tmp_path):
    opened = open_model(write_model(tmp_path, SMALL_CONFIG, some_tensors()))
    x = opened["wte.weight"]
    assert not x.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        x[0, 0] = 1


def test_a_view_outlives_the_weights_and_later_reads(tmp_path):
    tensors = some_tensors()
    opened = open_model(write_model(tmp_path, SMALL_CONFIG, tensors))
    first = opened["wte.weight"]
    _ = opened["lm_head.weight"]
    opened.release()
    opened.release()
    del opened
    np.testing.assert_array_equal(first, tensors["wte.weight"])


def test_an_unaligned_tensor_is_given_aligned_and_read_only(tmp_path):
    wanted = np.arange(3, dtype=np.float32)
    file = safetensors_bytes({"odd": ("U8", np.zeros(1, np.uint8)), "x": ("F32", wanted)})
    x = open_model(folder_of(tmp_path, file))["x"]
    assert x.flags.aligned
    assert not x.flags.writeable
    np.testing.assert_array_equal(x, wanted)


def test_an_empty_tensor_and_a_scalar_open(tmp_path):
    file = safetensors_bytes({"none": ("F32", np.zeros((0, 5), "f")), "s": ("F32", np.float32(2.5))})
    opened = open_model(folder_of(tmp_path, file))
    assert opened["none"].shape == (0, 5)
    assert opened["s"].shape == ()
    assert opened["s"] == 2.5
    opened.release()


def test_a_single_file_wins_over_shards(tmp_path):
    write_model(tmp_path, SMALL_CONFIG, {"x": np.float32([1])}, shards=2)
    write_model(tmp_path, SMALL_CONFIG, {"x": np.float32([2])})
    assert open_model(str(tmp_path))["x"] == 2


def test_the_system_may_lack_madvise_hints(tmp_path, monkeypatch):
    monkeypatch.delattr(safetensors_file.mmap, "MADV_WILLNEED")
    monkeypatch.delattr(safetensors_file.mmap, "MADV_DONTNEED")
    opened = open_model(write_model(tmp_path, SMALL_CONFIG, some_tensors()))
    assert [len(opened[name]) for name in ("wte.weight", "h.0.ln_1.weight")] == [7, 4]


def test_describe_and_repr_name_tensor_and_file(tmp_path):
    folder = open_model(write_model(tmp_path, SMALL_CONFIG, some_tensors(), prefix="transformer."))
    assert set(folder) == {*(f"transformer.{name}" for name in some_tensors() if name[:2] != "lm"), "lm_head.weight"}
    opened = folder.renamed(GPT2.own_name)
    assert opened.describe("wte.weight") == f"tensor 'transformer.wte.weight' of {tmp_path / 'model.safetensors'}"
    assert "absent from" in opened.describe("nothing")
    assert repr(opened) == f"Weights({str(tmp_path)!r}, 4 tensors)"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_reading_all_holds_one_tensor_at_a_time(tmp_path):
    """Copying every tensor costs one copy of the weights plus the largest tensor, not two copies."""
    megabyte, count, size = 1 << 20, 8, 16
    x = np.ones(size * megabyte // 4, np.float32)
    write_model(tmp_path, SMALL_CONFIG, {f"t{i}": x for i in range(count)})
    code = (
        "import sys\n"
        "from nextword.files.weights import open_model\n"
        "import numpy as np, safetensors\n"
        "w = open_model(sys.argv[1])\n"
        "def peak(): return next(int(r.split()[1]) for r in open('/proc/self/status') if r.startswith('VmHWM'))\n"
        "before = peak()\n"
        "copies = [np.array(w[name]) for name in w]\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    grown = int(done.stdout) / 1024
    assert count * size - 8 < grown < (count + 1) * size + 8


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_loading_a_model_holds_its_weights_once(tmp_path):
    """Peak memory at load stays below 1.15 times the weights' size, though all of them are read and packed."""
    width, layers, vocabulary = 512, 6, 8192
    shapes = {"ln_1.weight": [width], "ln_1.bias": [width], "ln_2.weight": [width], "ln_2.bias": [width]}
    for name, shape in {"attn.c_attn": [1, 3], "attn.c_proj": [1, 1], "mlp.c_fc": [1, 4], "mlp.c_proj": [4, 1]}.items():
        shapes |= {f"{name}.weight": [width * n for n in shape], f"{name}.bias": [width * shape[1]]}
    tensors = {f"h.{i}.{name}": np.ones(shape, np.float32) for i in range(layers) for name, shape in shapes.items()}
    tensors |= {"ln_f.weight": np.ones(width, np.float32), "ln_f.bias": np.ones(width, np.float32)}
    tensors |= {"wte.weight": np.ones((vocabulary, width), "f"), "wpe.weight": np.ones((64, width), "f")}
    config = {"n_layer": layers, "n_head": 8, "n_embd": width, "n_positions": 64, "vocab_size": vocabulary}
    write_model(tmp_path, config, tensors)
    code = (
        "import sys, nextword\n"
        "nextword.load()\n"
        "def peak(): return next(int(r.split()[1]) for r in open('/proc/self/status') if r.startswith('VmHWM'))\n"
        "before = peak()\n"
        "model = nextword.load(sys.argv[1])\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    size = sum(x.nbytes for x in tensors.values())
    assert size > 80e6
    assert size * 0.5 < int(done.stdout) * 1024 < size * 1.15 + 10e6


# Which folder


@pytest.mark.parametrize(
    "name",
    ["./nowhere", "/nowhere", "a/b/c", "", "..", "no spaces", "gpt2/", "model.safetensors", "x\0y", Path("gpt2")],
)
def test_neither_folder_nor_hub_id_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name == "..":  # an existing folder, though no model's
        with pytest.raises(FileNotFoundError, match=r"config\.json"):
            open_model(name)
        return
    with pytest.raises(FileNotFoundError, match="weights: "):
        open_model(name)


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_model(tmp_path / "m", SMALL_CONFIG, some_tensors())
    assert len(open_model("~/m")) == 4


# Real files


def test_the_demo_model_opens():
    demo = Path(weights.__file__).parents[1] / "demo"
    opened = open_model(demo).renamed(GPT2.own_name)
    assert opened["wte.weight"].shape == (opened.config["vocab_size"], opened.config["n_embd"])
    assert all(opened[name].dtype == np.float16 for name in opened)


def test_real_gpt2_tensors_match_their_published_hashes():
    import hashlib

    folder = Path(__file__).parents[3] / "shared" / "data" / "gpt2_124m_partial"
    if not folder.is_dir():
        pytest.skip("../shared/data/gpt2_124m_partial is absent")
    known = json.loads((folder / "tensor_sha256.json").read_text())["tensors"]
    file = safetensors_file.TensorFile(folder / "small_tensors.safetensors")
    assert len(file.entries) > 50
    for name in file.entries:
        assert known[name]["sha256"] == hashlib.sha256(file.read(name, name).tobytes()).hexdigest()
