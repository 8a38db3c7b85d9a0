"""Folders of packed weights: written whole or not at all, with the bits of the model that they are made of; damaged
ones give one clear error."""

from __future__ import annotations

import json
import re
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nextword
from byte_vocabulary import write_byte_vocabulary
from model_files import write_model
from nextword.arithmetic.formats import DTYPES, PackedBytes
from nextword.cli import main as cli
from nextword.files import packed_file
from nextword.files.weights import open_model
from nextword.models.gpt2 import GPT2
from nextword.tasks import quantized
from strategies import random_tensors, run, tiny_config

IDS = [1, 2, 3, 36]
FILE = "model.safetensors"


def float_model(folder, **changes):
    config = tiny_config(**changes)
    return write_model(folder, config, random_tensors(config, head_bias=not config.get("tie_word_embeddings", True)))


def parts(path):
    """header, data"""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def join(path, header, data):
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_folder_has_the_bits_of_the_model_it_is_made_of(isa, tmp_path, dtype, tied):
    source = float_model(tmp_path / "float", tie_word_embeddings=tied)
    lm = nextword.load(nextword.quantize(source, dtype, tmp_path / "small"))
    np.testing.assert_array_equal(lm.logits(IDS), nextword.load(source, dtype=dtype).logits(IDS))
    assert lm.model.dtype == dtype
    assert (lm.model.head.weight is lm.model.embed.tokens) is tied
    assert (lm.model.head.bias is None) is tied


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_file_holds_the_matrices_byte_for_byte_from_cache_lines_on(tmp_path, dtype):
    source = float_model(tmp_path / "float")
    opened = open_model(nextword.quantize(source, dtype, tmp_path / "small"))
    tensors = GPT2(open_model(source), dtype=dtype).tensors()
    matrices = [name for name, x in tensors.items() if isinstance(x, nextword.ops.Packed)]
    assert len(matrices) == 1 + 4 * 2
    for name in matrices:
        assert opened[name].data.tobytes() == nextword.ops.packed_bytes(tensors[name]).tobytes()
        assert opened[name].data.ctypes.data % 64 == 0  # the map begins at a page


def test_a_model_of_packed_bytes_in_numpy_is_the_same_model(tmp_path):
    opened = open_model(nextword.quantize(float_model(tmp_path / "float"), "int4", tmp_path / "small"))
    fast, plain = (run(GPT2(opened, ops=ops), [IDS]) for ops in (nextword.ops, nextword.reference))
    np.testing.assert_allclose(fast, plain, rtol=0, atol=0.02 * np.abs(plain).max())  # a code of x may round otherwise


def test_the_vocabulary_comes_along_as_it_is(tmp_path):
    source = float_model(tmp_path / "float", vocab_size=257)
    write_byte_vocabulary(source)
    folder = nextword.quantize(source, "int8", tmp_path / "small")
    names = {path.name for path in source.iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    for name in names - {"config.json", FILE}:
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    before, after = (json.loads((place / "config.json").read_text()) for place in (source, folder))
    assert after == {**before, "quantization_config": {"quant_method": "nextword", "dtype": "int8"}}


def test_a_packed_folder_may_be_written_anew_but_not_in_another_dtype(tmp_path):
    first = nextword.quantize(float_model(tmp_path / "float"), "int8", tmp_path / "a")
    second = nextword.quantize(first, "int8", tmp_path / "b")
    assert (first / FILE).read_bytes() == (second / FILE).read_bytes()
    for dtype in ("int4", "float32"):
        message = rf"tensor 'wte\.weight' of .* is packed as int8 and cannot become {dtype}; leave the dtype out"
        with pytest.raises(ValueError, match=message):
            nextword.load(first, dtype=dtype)
    assert nextword.load(first, dtype="int8").model.dtype == "int8"


def test_the_file_is_read_by_the_safetensors_library(tmp_path):
    from safetensors.numpy import load_file

    folder = nextword.quantize(float_model(tmp_path / "float"), "int8", tmp_path / "small")
    stored = load_file(folder / FILE)
    assert stored["h.0.attn.c_attn.weight"].dtype == np.uint8
    assert stored["h.0.ln_1.weight"].dtype == np.float32


@pytest.mark.parametrize("there", ["file", "full"])
def test_what_is_there_is_not_written_over(tmp_path, there):
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="out is there and no empty folder; give one that is not there"):
        nextword.quantize(nextword.DEMO, "int8", out)
    assert (out if there == "file" else out / "mine").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert nextword.load(nextword.quantize(float_model(tmp_path / "m"), "int4", tmp_path / "out")).model.dtype == "int4"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_is_left_of_what_was_not_finished(tmp_path, monkeypatch, error):
    def stop(file, *_):
        file.write(b"some")
        raise error

    source = float_model(tmp_path / "float")
    monkeypatch.setattr(packed_file, "write", stop)
    with pytest.raises(type(error)) as caught:
        nextword.quantize(source, "int8", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["float"]
    if isinstance(error, OSError):
        assert re.search(r"quantize: .*out cannot be written \(No space left on device\)", str(caught.value))


def test_a_folder_whose_place_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"quantize: .*absent.out cannot be written \(No such file"):
        nextword.quantize(float_model(tmp_path / "float"), "int8", tmp_path / "absent" / "out")
    with pytest.raises(ValueError, match="quantize: dtype must be one of float32, bfloat16, int8, int4, got 'int3'"):
        nextword.quantize(tmp_path / "float", "int3", tmp_path / "out")


# Damage


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    place = tmp_path_factory.mktemp("packed")
    return nextword.quantize(float_model(place / "float"), "int8", place / "small")


def copy(good, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir(exist_ok=True)
    for path in good.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def shapes(header, **changes):
    """Let the header claim other matrices; None removes one."""
    about = header["__metadata__"]
    claimed = {**json.loads(about["matrices"]), **changes}
    about["matrices"] = json.dumps({name: shape for name, shape in claimed.items() if shape is not None})


DAMAGE = {
    "version": (lambda h: h["__metadata__"].update(version="2"), "has version '2' of packed weights, this nextword"),
    "dtype": (lambda h: h["__metadata__"].update(dtype="int3"), "claims the dtype 'int3', expected one of float32, "),
    "other dtype": (lambda h: h["__metadata__"].update(dtype="int4"), "'wte.weight' .*data of the int4 matrix"),
    "format": (lambda h: h["__metadata__"].update(format="pt"), "tensor 'wte.weight' of .* is stored as U8"),
    "no metadata": (lambda h: h.pop("__metadata__"), "tensor 'wte.weight' of .* is stored as U8"),
    "no matrices": (lambda h: h["__metadata__"].pop("matrices"), "does not say which matrices it holds"),
    "not JSON": (lambda h: h["__metadata__"].update(matrices="{"), "does not say which matrices it holds"),
    "a list": (lambda h: h["__metadata__"].update(matrices="[1]"), "does not say which matrices it holds"),
    "a word": (lambda h: shapes(h, **{"wte.weight": "37"}), "does not say which matrices it holds"),
    "one size": (lambda h: shapes(h, **{"wte.weight": [37]}), "does not say which matrices it holds"),
    "a fraction": (lambda h: shapes(h, **{"wte.weight": [15.0, 37]}), "does not say which matrices it holds"),
    "shape": (lambda h: shapes(h, **{"wte.weight": [15, 38]}), r"'wte.weight' .* must have shape \[15, 37\] by"),
    "turned": (lambda h: shapes(h, **{"wte.weight": [37, 15]}), r"'wte.weight' .* must have shape \[15, 37\] by"),
    "absent": (lambda h: shapes(h, x=[1, 1]), "claims to hold the matrix 'x' and does not"),
    "not claimed": (lambda h: shapes(h, **{"wte.weight": None}), "tensor 'wte.weight' of .* is stored as U8"),
    "a vector": (lambda h: shapes(h, **{"ln_f.bias": [15, 1]}), "tensor 'ln_f.bias' .* must be numbers, got a matrix"),
    "renamed": (lambda h: h.update(x=h.pop("ln_f.bias")), "tensor 'ln_f.bias' .*is missing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_header_that_lies_gives_one_clear_error(good, tmp_path, kind):
    folder = copy(good, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]  # which would contradict some of it first
    (folder / "config.json").write_text(json.dumps(config))
    change, message = DAMAGE[kind]
    header, data = parts(folder / FILE)
    change(header)
    join(folder / FILE, header, data)
    with pytest.raises(ValueError, match=message) as caught:
        nextword.load(folder)
    assert FILE in str(caught.value) or str(folder) in str(caught.value)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_file_opens_or_gives_one_clear_error(good, tmp_path, data):
    """Bytes that stand for other numbers are none of the loader's business: what is loaded computes something."""
    folder = copy(good, tmp_path)
    raw = bytearray((folder / FILE).read_bytes())
    head = 8 + struct.unpack("<Q", raw[:8])[0]
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.one_of(st.integers(0, head - 1), st.integers(0, len(raw) - 1)))
        raw[place] = data.draw(st.integers(0, 255))
    (folder / FILE).write_bytes(bytes(raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))]))
    message = str(folder)
    try:
        assert nextword.load(folder).logits(IDS).shape == (len(IDS), 37)
    except ValueError as error:
        message = str(error)
    assert str(folder) in message


@pytest.mark.parametrize("change", [{"dtype": "int4"}, {"dtype": None}, {}])
def test_a_note_that_the_file_contradicts_is_an_error_that_names_config_json(good, tmp_path, change):
    folder = copy(good, tmp_path)
    if change:
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"].update(change)
        (folder / "config.json").write_text(json.dumps(config))
        stored = "int8"
    else:
        (folder / FILE).write_bytes((float_model(tmp_path / "float") / FILE).read_bytes())
        stored = "none"
    with pytest.raises(ValueError, match=rf"config\.json says that the weights are packed as .* hold {stored} packed"):
        nextword.load(folder)


def test_a_scale_that_is_no_number_gives_no_number_and_no_more(good, tmp_path):
    folder = copy(good, tmp_path)
    header, data = parts(folder / FILE)
    _, end = header["h.0.attn.c_attn.weight"]["data_offsets"]
    data = bytearray(data)
    data[end - 128 : end] = np.full(32, np.nan, np.float32).tobytes()
    join(folder / FILE, header, bytes(data))
    lm = nextword.load(folder)
    assert np.isnan(lm.logits(IDS)).any()
    with pytest.raises(ValueError, match="NaN"):
        lm.generate(IDS, max_new_tokens=1)


# On the command line


def test_quantize_writes_a_folder_and_says_how_large_it_is(tmp_path, capsys):
    out = tmp_path / "small"
    assert cli.main(["quantize", "--dtype", "int4", "--out", str(out)]) == 0
    size = sum(path.stat().st_size for path in out.iterdir())
    assert capsys.readouterr().out == f"{out}: int4, {size / 1e6:,.1f} MB; open it with --model {out}\n"
    assert cli.main(["generate", "--model", str(out), "--temperature", "0", "--max-new-tokens", "5", "A"]) == 0
    packed = capsys.readouterr().out
    assert cli.main(["generate", "--dtype", "int4", "--temperature", "0", "--max-new-tokens", "5", "A"]) == 0
    assert capsys.readouterr().out == packed


def test_quantize_of_what_is_there_is_one_line_of_error(tmp_path, capsys):
    (tmp_path / "mine").write_text("")
    assert cli.main(["quantize", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_progress_is_told(tmp_path):
    seen = []
    quantized.quantize(float_model(tmp_path / "m"), "int8", tmp_path / "out", lambda *x: seen.append(x))
    assert [done for done, _ in seen] == list(range(len(seen)))
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] < seen[-1][1]


def test_packed_bytes_need_no_file():
    config, tensors = tiny_config(), random_tensors(tiny_config())
    model = GPT2(tensors, config, dtype="int8")
    again = {name: PackedBytes(nextword.ops.packed_bytes(x), x.dtype, *x.shape)
             if isinstance(x, nextword.ops.Packed) else x for name, x in model.tensors().items()}  # fmt: skip
    np.testing.assert_array_equal(run(GPT2(again, config), [IDS]), run(model, [IDS]))
    with pytest.raises(ValueError, match=r"tensor 'wte\.weight' is packed as int8 and cannot become int4"):
        GPT2(again, config, dtype="int4")
