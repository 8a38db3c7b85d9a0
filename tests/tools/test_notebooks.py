"""docs/notebooks: what lies there is what the tool makes now, can be seen without a script, and runs in a kernel."""

from __future__ import annotations

import ast
import html
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("de", "en")


def tool():
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = tool()
SOURCE = (TOOL.FOLDER / "looking_inside.txt").read_text("utf-8")


def seen(output):
    """What a reader sees of an output: text, or the text of its HTML."""
    if output["output_type"] == "stream":
        return "".join(output["text"])
    data = output["data"]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", "".join(data.get("text/html", data["text/plain"])))).split())


@pytest.fixture(scope="module", params=LANGUAGES)
def both(request):
    """(as it lies there, as the tool makes it)."""
    return json.loads(TOOL.place(request.param).read_text("utf-8")), TOOL.notebook(SOURCE, request.param)


def test_texts_and_code_are_those_of_the_source(both):
    lying, made = ([(cell["cell_type"], "".join(cell["source"])) for cell in one["cells"]] for one in both)
    assert lying == made


def test_outputs_are_those_that_the_code_gives(both):
    lying, made = ([[seen(output) for output in cell.get("outputs", [])] for cell in one["cells"]] for one in both)
    assert sum(map(len, lying)) > 20
    assert lying == made


def test_it_is_small_and_has_no_script(both):
    text = json.dumps(both[0], ensure_ascii=False)
    assert len(text.encode()) < 400_000
    assert not re.search(r"<script|javascript:|widget-view|onerror", text)
    assert all(cell["execution_count"] for cell in both[0]["cells"] if cell["cell_type"] == "code")


def test_both_languages_have_the_same_code_and_as_many_texts():
    one, other = (TOOL.cells(SOURCE, lang) for lang in LANGUAGES)
    assert [kind for kind, _ in one] == [kind for kind, _ in other]
    assert [text for kind, text in one if kind == "code"] == [text for kind, text in other if kind == "code"]
    assert all(a != b for (kind, a), (_, b) in zip(one, other, strict=True) if kind == "markdown")


def test_what_the_tool_does_with_a_cell():
    names = {}
    assert TOOL.run("x = 2", names) == []
    (output,) = TOOL.run("print('a')\nx + 1", names)[1:]
    assert output["data"] == {"text/plain": ["3"]}
    assert seen(TOOL.run("print('a')", names)[0]) == "a\n"
    with pytest.raises(AssertionError):
        TOOL.cells("text\n%% de\n", "de")
    assert ast.parse("\n".join(text for kind, text in TOOL.cells(SOURCE, "de") if kind == "code"))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_kernel_gives_what_lies_there(lang, tmp_path, monkeypatch):
    for name in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(name, reason=f'needs {name}: pip install "nextword[test]"')
    import nbclient
    import nbformat

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    lying = nbformat.read(TOOL.place(lang), as_version=4)
    nbformat.validate(lying)
    run = nbclient.NotebookClient(nbformat.read(TOOL.place(lang), as_version=4), timeout=300,
                                  kernel_name="python3").execute()
    for cell, before in zip(run.cells, lying.cells, strict=True):
        shown, stored = ("".join(map(seen, one.get("outputs", []))) for one in (cell, before))
        assert shown == stored
