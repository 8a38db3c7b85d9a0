"""An index of text files: what it finds, what a later build keeps, and what of a file is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from nextword.tasks import vector_index
from nextword.tasks.example_encoder import example
from nextword.tasks.vector_index import VectorIndex

NAMES = ("a.txt", "b.md", "sub/c.txt")
SENTENCES = st.lists(st.sampled_from(["a cat ran.", "the dog sat.", "story", "cats", "the story ran"]), max_size=6)
FOLDERS = st.dictionaries(st.sampled_from(NAMES), SENTENCES)


@pytest.fixture(scope="module")
def encoder():
    return example()


def written(folder, texts):
    for name, sentences in texts.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n\n".join(sentences))
    return folder


def parts(index):
    return [index.passage(n)._replace(score=0) for n in range(len(index))], index.vectors.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_nearest_passages_are_those_of_the_cosine(encoder, tmp_path, dtype):
    written(tmp_path, {"a.txt": ["a cat ran.", "the dog sat. a dog ran."], "b.md": ["the story", "cats"]})
    index = VectorIndex.build(encoder, [tmp_path], dtype=dtype, tokens=4)
    texts = [index.passage(n).text for n in range(len(index))]
    wanted = encoder.similarity("a dog sat", texts)
    found = index.search(encoder, "a dog sat", len(texts))
    # Numbers of unit vectors are off by half a step, 1/254 at most: stored, packed, and those of the question.
    off = 1e-6 if dtype == "float32" else 3 * encoder.width**0.5 / 254
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        assert abs(one.score - wanted[texts.index(one.text)]) <= off
        whole = Path(one.file).read_text()
        assert whole[one.start : one.end] == one.text
        assert one.line == 1 + whole.count("\n", 0, one.start)


@settings(max_examples=15, deadline=None)
@given(before=FOLDERS, after=FOLDERS, dtype=st.sampled_from(["float32", "int8"]))
def test_what_is_kept_is_what_a_build_anew_gives(encoder, tmp_path_factory, before, after, dtype):
    folder = written(tmp_path_factory.mktemp("texts"), before)
    old = VectorIndex.build(encoder, [folder], dtype=dtype)
    for name in before.keys() - after.keys():
        (folder / name).unlink()
    written(folder, after)
    found = VectorIndex.build(encoder, [folder], dtype=dtype, old=old)
    assert parts(found) == parts(VectorIndex.build(encoder, [folder], dtype=dtype))
    assert found.changes["new"] == len(after.keys() - before.keys())
    assert found.changes["gone"] == len(before.keys() - after.keys())
    assert found.changes["kept"] >= sum(before[name] == after[name] for name in before.keys() & after.keys())


def test_unchanged_files_are_not_read_again(encoder, tmp_path, monkeypatch):
    old = VectorIndex.build(encoder, [written(tmp_path, {"a.txt": ["a cat"]})])
    monkeypatch.setattr(vector_index.TextFiles, "text", lambda *_: pytest.fail("it was read"))
    assert VectorIndex.build(encoder, [tmp_path], old=old).changes == {"new": 0, "changed": 0, "kept": 1, "gone": 0}


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_saved_index_is_the_same(encoder, tmp_path, dtype):
    index = VectorIndex.build(encoder, [written(tmp_path, {"a.txt": ["a cat", "the dog"], "b.md": []})], dtype=dtype)
    index.save(tmp_path / "x.index")
    found = VectorIndex.open(tmp_path / "x.index")
    assert parts(found) == parts(index)
    assert found.search(encoder, "a cat") == index.search(encoder, "a cat")
    assert repr(found) == repr(index)
    empty = VectorIndex.build(encoder, [])
    empty.save(tmp_path / "empty.index")
    assert VectorIndex.open(tmp_path / "empty.index").search(encoder, "a cat") == []


def test_hidden_files_and_what_is_no_text_are_left_out(encoder, tmp_path):
    written(tmp_path, {"a.txt": ["a cat"], ".hidden": ["a"], ".git/x": ["a"], "node_modules/y": ["a"]})
    (tmp_path / "b.bin").write_bytes(b"a\0")
    (tmp_path / "c.txt").write_bytes(b"\xff")
    index = VectorIndex.build(encoder, [tmp_path])
    assert index.files == [str(tmp_path / "a.txt")]
    assert {path.name: why for path, why in index.skipped.items()} == {
        "b.bin": "is no text: it has zero bytes", "c.txt": "is not UTF-8 text from byte 0 on"}
    with pytest.raises(ValueError, match=r"index: .*b\.bin is no text"):
        VectorIndex.build(encoder, [tmp_path / "b.bin"])
    with pytest.raises(FileNotFoundError, match="index: there is no file or folder /nowhere"):
        VectorIndex.build(encoder, ["/nowhere"])


def test_other_encoders_and_settings_are_refused(encoder, tmp_path):
    index = VectorIndex.build(encoder, [written(tmp_path, {"a.txt": ["a cat"]})])
    with pytest.raises(ValueError, match=r"search: the index was built with another encoder"):
        index.search(example("classes"), "a cat")
    for wrong, told in (({"tokens": 5}, r"another tokens \(30, now 5\)"), ({"dtype": "int8"}, "another dtype")):
        with pytest.raises(ValueError, match=told):
            VectorIndex.build(encoder, [tmp_path], old=index, **wrong)
    with pytest.raises(ValueError, match=r"tokens must be 1 \.\. 30"):
        VectorIndex.build(encoder, [tmp_path], tokens=31)
    with pytest.raises(ValueError, match="dtype must be one of float32, int8, got 'int4'"):
        VectorIndex.build(encoder, [tmp_path], dtype="int4")
    with pytest.raises(ValueError, match="k must be a number of passages"):
        index.search(encoder, "a cat", 0)
    with pytest.raises(IndexError, match=r"passages are 0 \.\. 0, got 1"):
        index.passage(1)


def test_what_is_no_index_is_told(encoder, tmp_path):
    path = tmp_path / "x.index"
    VectorIndex.build(encoder, [written(tmp_path, {"a.txt": ["a cat", "the dog"]})], dtype="int8", tokens=2).save(path)
    with safe_open(path, "np") as file:
        tensors, header = load_file(path), json.loads(file.metadata()["nextword.index"])

    def rewritten(header=header, **changed):
        save_file(tensors | changed, path, {"nextword.index": json.dumps(header)})
        with pytest.raises(ValueError, match=r"x\.index is .*build it anew"):
            VectorIndex.open(path)

    spans = tensors["spans"].copy()
    spans[0, 0] = 9
    rewritten(spans=spans)
    rewritten(ends=tensors["ends"][::-1].copy())
    rewritten(vectors=tensors["vectors"].astype(np.float32))
    rewritten(scales=tensors["scales"][:1])
    rewritten(texts=tensors["texts"][:-1])
    rewritten(header | {"version": 2})
    rewritten(header | {"files": None})
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"x\.index is no index of nextword"):
        VectorIndex.open(path)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match=r"x\.index is no index of nextword, or damaged"):
        VectorIndex.open(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        VectorIndex.open(tmp_path / "nowhere")
