"""cli/{embed,similar,rerank,classify,tag,fill}.py and texts.py: what they print and write is the library's."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import nextword
from nextword.cli import embed
from nextword.cli import main as cli
from nextword.tasks.example_encoder import write_example

TEXTS = ["a cat", "the dog ran.", "story"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("encoders")
    for name, head, labels in (("plain", "", 2), ("rank", "classes", 1), ("classes", "classes", 3), ("tags", "tags", 2),
                               ("masked", "masked", 2)):  # fmt: skip
        (found / name).mkdir()
        write_example(found / name, head, labels)
    (found / "t.txt").write_text("a cat\n\nthe dog ran.\nstory\n")
    (found / "t.jsonl").write_text("".join(json.dumps({"id": 1, "said": text}) + "\n" for text in TEXTS))
    (found / "t.csv").write_text("id,said\n" + "".join(f"1,{text}\n" for text in TEXTS))
    (found / "bad.jsonl").write_text('{"said": "a"}\n{"said": 3}\n')
    (found / "no.jsonl").write_text("{\n")
    (found / "empty.txt").write_text("\n")
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
def encoder(folder):
    return lambda name: nextword.load(folder / name, task="encode")


@pytest.mark.parametrize("given", [TEXTS, ["--file", "t.txt"], ["--file", "t.jsonl", "--field", "said"],
                                   ["--file", "t.csv", "--field", "said"]])  # fmt: skip
def test_vectors_are_printed_and_written(run, encoder, folder, monkeypatch, given):
    monkeypatch.setattr(embed, "PIECE", 2)
    right = encoder("plain").embed(TEXTS)
    code, out, err = run("embed", "--model", "plain", *given)
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_array_equal(np.float32([row["embedding"] for row in rows]), right)
    for name in ("o.npy", "o.jsonl", "o.csv"):
        assert run("embed", "--model", "plain", *given, "--out", name)[1] == f"{name}: 3 vectors of 16 numbers\n"
    np.testing.assert_array_equal(np.load(folder / "o.npy"), right)
    assert (folder / "o.jsonl").read_text() == out
    with (folder / "o.csv").open() as file:
        head, *lines = csv.reader(file)
    assert head == ["text", *map(str, range(16))]
    assert [line[0] for line in lines] == TEXTS
    np.testing.assert_array_equal(np.float32([line[1:] for line in lines]), right)


def test_the_nearest_texts_are_told(run, encoder):
    found = json.loads(run("similar", "--model", "plain", "the dog", *TEXTS, "--top", "2", "--json")[1])["found"]
    cosines = encoder("plain").similarity("the dog", TEXTS)
    assert [one["index"] for one in found] == np.argsort(-cosines)[:2].tolist()
    np.testing.assert_allclose([one["cosine"] for one in found], np.sort(cosines)[::-1][:2], atol=1e-12)
    lines = run("similar", "--model", "plain", "the dog", "--file", "t.txt")[1].splitlines()
    assert lines[0] == f"{found[0]['cosine']:7.4f}  {TEXTS[found[0]['index']]}"
    assert len(lines) == 3


def test_texts_are_ranked_classified_and_tagged(run, encoder):
    right = encoder("rank").rerank("a cat", TEXTS)
    found = json.loads(run("rerank", "--model", "rank", "a cat", *TEXTS, "--json")[1])["found"]
    assert found == [vars(one) for one in right]
    lines = run("rerank", "--model", "rank", "a cat", *TEXTS, "--top", "1")[1].splitlines()
    assert lines[1:] == [f"{right[0].score:7.3f}  {right[0].probability:11.4f}  {right[0].text}"]
    classes = encoder("classes").classify(TEXTS)
    found = [json.loads(line) for line in run("classify", "--model", "classes", *TEXTS, "--json")[1].splitlines()]
    assert [one["classes"] for one in found] == classes
    best = next(iter(classes[0]))
    assert run("classify", "--model", "classes", "a cat")[1].startswith(f"{best} {classes[0][best]:.3f}, ")
    spans = encoder("tags").tag("the dog ran.")
    assert json.loads(run("tag", "--model", "tags", "the dog ran.", "--json")[1])["spans"] == [vars(x) for x in spans]
    assert len(run("tag", "--model", "tags", "the dog ran.")[1].splitlines()) == len(spans)


def test_gaps_are_filled(run, encoder):
    text = "a [MASK] [MASK]"
    right = encoder("masked").fill_mask(text, 2)
    found = json.loads(run("fill", "--model", "masked", text, "--top", "2", "--json")[1])["gaps"]
    assert found == [[vars(one) for one in gap] for gap in right]
    assert [line for line in run("fill", "--model", "masked", text)[1].splitlines() if line.startswith("gap")] == [
        "gap 1", "gap 2"]  # fmt: skip


def test_what_was_cut_is_told_on_stderr(run):
    for command in ("embed", "classify"):
        code, out, err = run(command, "--model", {"embed": "plain"}.get(command, "classes"), "a cat " * 40)
        assert (code, out.count("\n")) == (0, 1)
        assert err == (f"nextword: {command}: 50 tokens of 1 of 1 texts were cut away, as a text may have 32 tokens "
                       "(max_length); split long texts\n")


@pytest.mark.parametrize(("arguments", "told"), [
    (["embed", "a"], "no encoder; give --model a Hugging Face folder, such as all-MiniLM-L6-v2, which "),
    (["embed", "--model", "plain"], "no texts; give some in quotes, or a --file of them"),
    (["embed", "--model", "plain", "--file", "empty.txt"], "no texts"),
    (["embed", "--model", "plain", "--file", "bad.jsonl", "--field", "said"], "bad.jsonl, line 2 has no text 'said'"),
    (["embed", "--model", "plain", "--file", "t.csv"], "t.csv, row 1 has no text 'text'; name its field with --field"),
    (["embed", "--model", "plain", "--file", "no.jsonl"], "no.jsonl, line 1 is no JSON"),
    (["embed", "--model", "plain", "--file", "nowhere"], "nowhere"),
    (["embed", "--model", "plain", "a", "--out", "x.parquet"], "--out must end in .npy, .jsonl or .csv"),
    (["embed", "--model", "nextword:demo", "a"], "is of a decoder"),
    (["rerank", "--model", "plain", "a", "b"], "lacks the head for it"),
    (["fill", "--model", "masked", "a"], "fill_mask: "),
])  # fmt: skip
def test_what_is_wrong_is_one_line(run, arguments, told):
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("nextword: error: ")
    assert told in err
    assert err.count("\n") == 1
