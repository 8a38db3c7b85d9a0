"""Headers of GGUF files: what is written is read, and every lie is one error that names the file."""

from __future__ import annotations

import random
import re
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_files import decoder_file, gguf_bytes, random_blocks, text, value
from nextword.arithmetic.blocks import KINDS
from nextword.files import gguf as own
from nextword.files.gguf import GGUF
from nextword.files.weights import open_model

METADATA = {"a.int": 7, "a.float": 0.5, "a.true": True, "a.text": "naïve 😀", "a.texts": ["x", "", "ü"],
            "a.numbers": np.array([1, -2, 3], np.int32), "a.scores": np.float32([0.5, -1e30]),
            "a.flags": np.array([True, False])}  # fmt: skip


def written(tmp_path, data: bytes, name: str = "model.gguf"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def plain(metadata):
    return {name: x.tolist() if isinstance(x, np.ndarray) else x for name, x in metadata.items()}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [1, 8, 32, 4096])
def test_metadata_and_places_are_those_that_were_written(tmp_path, version, alignment):
    rng = np.random.default_rng(1)
    raws = {f"t.{kind}": (kind, (3, 2 * numbers), random_blocks(kind, 3, 2 * numbers, rng))
            for kind, (numbers, _) in KINDS.items()}
    metadata = METADATA if alignment == 32 else {**METADATA, "general.alignment": alignment}
    file = GGUF(written(tmp_path, gguf_bytes(metadata, raws, version=version, alignment=alignment)))
    assert plain(file.metadata) == plain(metadata)
    assert list(file.tensors) == list(raws)
    for name, (kind, shape, raw) in raws.items():
        entry = file.tensors[name]
        assert (entry.kind, entry.shape, entry.begin % alignment) == (kind, shape, 0)
        assert file.data[entry.begin : entry.end].tobytes() == raw


def test_every_type_of_number_is_read(tmp_path):
    numbers = {0: ("B", 200), 1: ("b", -3), 2: ("H", 60000), 3: ("h", -9), 4: ("I", 2**32 - 1), 5: ("i", -5),
               6: ("f", 0.25), 10: ("Q", 2**64 - 1), 11: ("q", -(2**63)), 12: ("d", 0.1)}
    metadata = {f"x.{kind}": struct.pack("<I" + code, kind, x) for kind, (code, x) in numbers.items()}
    found = GGUF(written(tmp_path, gguf_bytes(metadata))).metadata
    assert found == {f"x.{kind}": x for kind, (_, x) in numbers.items()}


def test_a_file_of_the_gguf_package_is_read(tmp_path):
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    path, x = tmp_path / "theirs.gguf", np.random.default_rng(2).standard_normal((5, 64), np.float32)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(99)
    writer.add_token_list(["a", "b"])
    writer.add_token_scores([0.5, -1.0])
    writer.add_tensor("t", x)
    writer.add_tensor("q", gguf.quantize(x, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    file = GGUF(path)
    assert file.metadata["llama.context_length"] == 99
    assert file.metadata["tokenizer.ggml.tokens"] == ["a", "b"]
    assert file.metadata["tokenizer.ggml.scores"].tolist() == [0.5, -1.0]
    assert {name: entry[:2] for name, entry in file.tensors.items()} == {"t": ("F32", (5, 64)), "q": ("Q8_0", (5, 64))}
    entry = file.tensors["t"]
    assert np.array_equal(file.data[entry.begin : entry.end].view("<f4").reshape(5, 64), x)


def test_the_metadata_alone_are_a_file(tmp_path):
    file = GGUF(written(tmp_path, gguf_bytes(METADATA, {"t": ("F32", (2,), bytes(8))})))
    alone = GGUF(written(tmp_path, file.vocabulary(), "vocabulary.gguf"))
    assert plain(alone.metadata) == plain(METADATA)
    assert alone.tensors == {}


HEAD = b"GGUF" + struct.pack("<I", 3)


def one(raw: bytes) -> bytes:
    """A file of one metadata "x" of these bytes."""
    return gguf_bytes({"x": raw})


def tensor(*entry, **more) -> bytes:
    return gguf_bytes({}, {"t": entry}, **more)


LIES = {
    "empty": (b"", "is empty"),
    "another kind of file": (b"PK\x03\x04" + bytes(64), "is no GGUF file: it begins with"),
    "version 1": (b"GGUF" + struct.pack("<III", 1, 0, 0), "has version 1; little-endian files of version 2 or 3"),
    "version 4": (gguf_bytes({}, version=4), "has version 4"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is big-endian, version 3"),
    "ends in the version": (b"GGUF\x03", "ends within the version"),
    "2^63 metadata": (gguf_bytes({}, counts=(0, 2**63)), "claims 9,223,372,036,854,775,808 metadata"),
    "2^63 tensors": (gguf_bytes({}, counts=(2**63, 0)), "claims 9,223,372,036,854,775,808 tensors"),
    "60,000 metadata that are not there": (gguf_bytes({}, counts=(0, 60000)), "it ends within the type of ''"),
    "60,000 tensors that are not there": (gguf_bytes({}, counts=(60000, 0)), "it ends within tensor ''"),
    "a text of 4 GB": (one(struct.pack("<IQ", 8, 2**32) + b"x"), "claims a text of 4,294,967,296 bytes"),
    "a text of 2^64 - 1": (one(struct.pack("<IQ", 8, 2**64 - 1)), "claims a text of 18,446,744,073,709,551,615 bytes"),
    "a text that ends early": (one(struct.pack("<IQ", 8, 99) + b"x"), "ends within 'x', a text of 99 bytes,"),
    "no UTF-8": (one(value(b"") + struct.pack("<I", 8) + text(b"\xff\xfe")), "'x' holds a text that is no UTF-8"),
    "a name of 4 GB": (HEAD + struct.pack("<QQQ", 0, 1, 2**32), "a name claims a text of 4,294,967,296"),
    "an unknown type": (one(struct.pack("<IQ", 13, 0)), "'x' has the type 13"),
    "an array of arrays": (one(struct.pack("<IIQIQ", 9, 9, 1, 9, 1) * 3), "'x' is an array of arrays"),
    "an array of an unknown type": (one(struct.pack("<IIQ", 9, 99, 1)), "'x' is an array of the type 99"),
    "2^63 numbers": (one(struct.pack("<IIQ", 9, 4, 2**63)), "ends within 'x', which claims 9,223,372,036,854,775,808 "),
    "2^61 texts": (one(struct.pack("<IIQ", 9, 8, 2**61)), "ends within 'x', which claims 2,305,843,009,213,693,952 "),
    "a truth value of 2": (one(struct.pack("<IB", 7, 2)), "'x' has a truth value that is neither 0 nor 1"),
    "truth values of 2": (one(struct.pack("<IIQB", 9, 7, 1, 2)), "'x' has a truth value that is neither 0 nor 1"),
    "a name twice": (HEAD + struct.pack("<QQ", 0, 2) + 2 * (text("x") + value(1)), "has the metadata 'x' twice"),
    **{f"alignment {x}": (gguf_bytes({"general.alignment": x}), "'general.alignment' must be a power of two")
       for x in (0, 3, 2**31, "32", 32.0, True)},
    "no dimensions": (tensor("F32", (), b""), "tensor 't' has 0 dimensions"),
    "five dimensions": (tensor("F32", (1, 1, 1, 1, 1), bytes(4)), "tensor 't' has 5 dimensions"),
    "no numbers": (tensor("F32", (0,), b""), r"tensor 't' of shape [0] has no whole blocks of F32"),
    "a part of a block": (tensor("Q8_0", (1, 33), bytes(68)), "of shape [1, 33] has no whole blocks of Q8_0"),
    "2^63 numbers of a tensor": (tensor("F32", (2**63,), bytes(4)), "of shape [9223372036854775808] ends at"),
    "2^64 numbers of two": (tensor("F32", (2**32, 2**32), bytes(4)), "of shape [4294967296, 4294967296] ends at byte"),
    "numbers that are not there": (tensor("F32", (99,), bytes(4)), "of shape [99] ends at byte"),
    "an offset past the end": (tensor("F32", (1,), bytes(4), 2**62), "tensor 't' of shape [1] ends at byte"),
    "an offset between": (tensor("F32", (1,), bytes(8), 4), "begins at 4, no multiple of the alignment 32"),
    "an unknown kind": (tensor(77, (1,), bytes(4)), "tensor 't' has the kind 77, which is unknown"),
    "a removed kind": (tensor(4, (1,), bytes(4)), "tensor 't' has the kind 4, which is unknown"),
    "a kind that is not read": (tensor(16, (1, 256), bytes(66)), "holds 't' as IQ2_XXS; read are F32, F16"),
    "a tensor twice": (gguf_bytes({}, {"t": ("F32", (1,), bytes(4)), "u": ("F32", (1,), bytes(4))}).replace(
        text("u"), text("t")), "has the tensor 't' twice"),
    "tensors that overlap": (gguf_bytes({}, {"t": ("F32", (9,), bytes(36)), "u": ("F32", (1,), bytes(4), 32)}),
                             "the tensors 't' and 'u' overlap"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one_error_before_anything_large_is_made(tmp_path, lie):
    data, message = LIES[lie]
    path = written(tmp_path, data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            GGUF(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"weights: {path} ")
    assert len(str(caught.value)) < 600
    assert peak < 2**20


def test_a_header_of_more_than_what_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "HEADER_LIMIT", 100)
    with pytest.raises(ValueError, match="has a header of more than 100 bytes"):
        GGUF(written(tmp_path, gguf_bytes({"x": "y" * 200})))


WHOLE = decoder_file(metadata={"tokenizer.ggml.tokens": ["a"] * 100, "tokenizer.ggml.eos_token_id": 3})


def test_every_beginning_of_a_file_is_refused(tmp_path):
    path = tmp_path / "cut.gguf"
    header = GGUF(written(tmp_path, WHOLE)).tensors["token_embd.weight"].begin
    for size in [*range(0, header, 37), header, len(WHOLE) - 1]:
        path.write_bytes(WHOLE[:size])
        with pytest.raises(ValueError, match="weights: "):
            GGUF(path)


def opened(path) -> None:
    """Open and read all of a file; a ValueError that names a file or a tensor is all that may come."""
    message = "weights: "
    try:
        weights = open_model(path)
        for name in weights:
            np.asarray(weights[name])
    except ValueError as error:
        message = str(error)
    assert message.startswith("weights: ")
    assert len(message) < 2000


@given(st.data())
def test_a_changed_file_loads_or_is_one_error(tmp_path, data):
    file, header = bytearray(WHOLE), 3000
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, header))
        file[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8) | st.sampled_from(
            [struct.pack("<Q", x) for x in (0, 1, 2**31, 2**32, 2**63, 2**64 - 1)]))
    opened(written(tmp_path, bytes(file)))


def test_files_of_random_changes_load_or_are_one_error(tmp_path):
    """For a bounded time: bytes changed, cut out and doubled, as a file may be that went through many hands."""
    draw, end, path = random.Random(7), time.monotonic() + 2, tmp_path / "fuzzed.gguf"
    names = [m.start() for m in re.finditer(rb"blk|llama|general|tokenizer|weight", WHOLE)]
    while time.monotonic() < end:
        file = bytearray(WHOLE)
        for _ in range(draw.randint(1, 3)):
            near = max(0, draw.choice(names) + draw.randint(-24, 24))
            at = near if draw.random() < 0.7 else draw.randrange(len(file))
            kind = draw.randrange(4)
            if kind == 0:
                file[at] = draw.randrange(256)
            elif kind == 1:
                file[at : at + 8] = struct.pack("<Q", draw.choice([0, 1, 5, 31, 255, 2**16, 2**31, 2**40, 2**63]))
            elif kind == 2:
                del file[at : at + draw.randint(1, 40)]
            else:
                file[at:at] = file[at : at + draw.randint(1, 40)]
        path.write_bytes(file)
        opened(path)


@pytest.mark.parametrize(("texts", "message"), [
    (text("ok") + struct.pack("<Q", 99) + b"x", "it ends within 'x', a text of 99 bytes, at byte"),
    (text("ok") + struct.pack("<Q", 2**32) + bytes(9), "'x' claims a text of 4,294,967,296 bytes"),
    (text("ok") + text(b"\xff"), "'x' holds a text that is no UTF-8"),
    (text("ok" * 4), "it ends within 'x'"),
])  # fmt: skip
def test_a_wrong_text_of_many_is_named(tmp_path, texts, message):
    data = HEAD + struct.pack("<QQ", 0, 1) + text("x") + struct.pack("<IIQ", 9, 8, 2) + texts
    with pytest.raises(ValueError, match=re.escape(message)):
        GGUF(written(tmp_path, data))
