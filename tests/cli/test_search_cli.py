"""cli/index.py and cli/search.py, and what docs/search.md says of them."""

from __future__ import annotations

import json

import pytest

from documents import ROOT, blocks
from nextword.cli import main as cli
from nextword.tasks.example_encoder import write_example


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("search")
    (found / "model").mkdir()
    write_example(found / "model")
    (found / "notes").mkdir()
    (found / "notes" / "a.txt").write_text("a cat ran.\n\n" * 20 + "the dog sat.\n")
    (found / "notes" / "b.bin").write_bytes(b"\0")
    return found


@pytest.fixture
def run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def call(*arguments):
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def indexed(run):
    code, out, _ = run("index", "notes", "--out", "notes.index", "--model", "model", "--tokens", "4", "--anew")
    assert code == 0
    return out


def test_an_index_is_made_searched_and_kept(run, indexed, folder):
    assert indexed.startswith("notes.index: 21 passages of 1 files (1 new), 0.0 MB\n  left out: ")
    code, out, err = run("search", "notes.index", "the dog sat.", "--top", "1")
    assert (code, err) == (0, "")
    assert out.split() == ["1.000", "notes/a.txt:41", "the", "dog", "sat."]
    assert "(1 kept)" in run("index", "notes", "--out", "notes.index")[1]  # the encoder and settings are its own
    found = json.loads(run("search", "notes.index", "the dog sat.", "--top", "2", "--json")[1])["found"]
    assert [one["line"] for one in found] == [41, 1]
    assert json.loads(run("index", "notes", "--out", "notes.index", "--json")[1])["passages"] == 21
    (folder / "empty").mkdir(exist_ok=True)
    assert "0 passages of 0 files (none)" in run("index", "empty", "--out", "e.index", "--model", "model")[1]
    assert run("search", "e.index", "a")[1] == "the index is empty\n"


@pytest.mark.parametrize(("arguments", "told"), [
    (["index", "notes", "--out", "x.index"], "no encoder; give --model"),
    (["index", "nowhere", "--out", "x.index", "--model", "model"], "there is no file or folder nowhere"),
    (["index", "notes", "--out", "x.index", "--model", "nextword:demo"], "is of a decoder"),
    (["index", "notes", "--out", "notes.index", "--tokens", "5"], "another tokens (4, now 5)"),
    (["search", "notes.index", " "], "no question"), (["search", "nowhere", "a"], "there is no file nowhere"),
    (["search", "model/vocab.txt", "a"], "is no index of nextword"),
    (["search", "notes.index", "a", "--model", "nextword:demo"], "is of a decoder"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(run, indexed, arguments, told):
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("nextword: error: ")
    assert told in err
    assert err.count("\n") == 1


def test_the_pages_example_of_another_index_runs(run, indexed):
    pytest.importorskip("usearch", reason="needs usearch")
    (example,) = (block for block in blocks(ROOT / "docs" / "search.md", "python") if "usearch" in block)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["found"][0].text == "a cat ran."
