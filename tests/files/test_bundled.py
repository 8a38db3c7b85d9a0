"""files/bundled.py and the model that sorts: names, its files as the tool makes them. Its numbers are in
models/test_known_models.py."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import pytest

import nextword
from nextword.files.bundled import BUNDLED, bundled

NAME = "nextword:nano-sort"
FOLDER = BUNDLED[NAME]


@pytest.fixture(scope="module")
def sorter():
    return nextword.load(NAME)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("nano_sort", Path(__file__).parents[2] / "tools" / "nano_sort.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_folder_is_what_the_tool_makes_of_the_data(shared, tool):
    made = tool.files(shared("gpt_nano_sort/weights.npz").parent)
    assert {path.name for path in FOLDER.iterdir()} == {*made, "README.md"}
    assert all((FOLDER / name).read_bytes() == content for name, content in made.items())


def test_letters_are_its_alphabet(sorter):
    assert nextword.Tokenizer.load(NAME).encode("CAB") == [2, 0, 1]
    assert (sorter.tokenizer.encode("CAB"), sorter.ends) == ([2, 0, 1], frozenset())
    with pytest.raises(ValueError, match="for which the vocabulary has no token"):
        sorter.generate("cab")


def test_a_bundled_name_is_where_the_model_came_from(sorter):
    assert sorter.source.path == NAME
    again = pickle.loads(pickle.dumps(sorter))
    assert (again.logits("ABC") == sorter.logits("ABC")).all()
    assert nextword.load("nextword:demo").config == nextword.load().config


def test_names_of_the_form_that_are_not_there_list_those_that_are(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no 'nextword:gpt2', but .*:demo and .*:nano-sort; .*'\./"):
        nextword.load("nextword:gpt2")
    with pytest.raises(ValueError, match="revision must be None"):
        nextword.load(NAME, revision="main")
    assert bundled(FOLDER) is bundled("nano-sort") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).symlink_to(FOLDER)
    assert nextword.load(f"./{NAME}").source.path == str(tmp_path / NAME)
