"""The notebooks of docs/notebooks, with their outputs, from one text that holds both languages.

    python tools/notebooks.py

`looking_inside.txt` is divided by lines "%% de", "%% en", "%% python": texts in one language, code in both. Code is run
by `exec`; what its last line is worth is stored as a notebook shows it, by `_repr_html_` and `repr`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
LANGUAGES = ("de", "en")
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
          "language_info": {"name": "python"}}


def cells(source: str, lang: str) -> list[tuple[str, str]]:
    """("markdown" or "code", text) of each cell in one language.

    >>> cells("%% de\\nHallo\\n%% en\\nHello\\n%% python\\n1 + 1\\n", "en")
    [('markdown', 'Hello'), ('code', '1 + 1')]
    """
    found = re.split(r"^%% (\w+)\n", source, flags=re.MULTILINE)
    assert not found[0], "what stands before the first %% is in no cell"
    parts = list(zip(found[1::2], found[2::2], strict=True))
    assert {kind for kind, _ in parts} <= {*LANGUAGES, "python"}
    return [("code" if kind == "python" else "markdown", text.strip("\n")) for kind, text in parts
            if kind in ("python", lang)]


def run(code: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell, and what a notebook stores of it. names: what the cells before it have defined."""
    tree, said = ast.parse(code), io.StringIO()
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            assert isinstance(last, ast.Expr)
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if said.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines(said.getvalue())})
    if value is not None:
        data = {"text/html": lines(value._repr_html_())} if hasattr(value, "_repr_html_") else {}
        outputs.append({"data": {**data, "text/plain": lines(repr(value))}, "metadata": {},
                        "output_type": "execute_result"})
    return outputs


def lines(text: str) -> list[str]:
    """A text as a notebook stores it."""
    return text.splitlines(keepends=True)


def notebook(source: str, lang: str) -> dict[str, Any]:
    """The notebook in one language, executed."""
    names: dict[str, Any] = {"__name__": "__main__"}
    made: list[dict[str, Any]] = []
    count = 0
    for number, (kind, text) in enumerate(cells(source, lang)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": lines(text)}
        if kind == "code":
            count += 1
            outputs = run(text, names)
            for one in outputs:
                if one["output_type"] == "execute_result":
                    one["execution_count"] = count
            cell |= {"execution_count": count, "outputs": outputs}
        made.append(cell)
    return {"cells": made, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}


def place(lang: str) -> Path:
    """Where the notebook in a language lies."""
    return FOLDER / f"looking_inside_{lang}.ipynb"


def main() -> None:
    source = (FOLDER / "looking_inside.txt").read_text("utf-8")
    for lang in LANGUAGES:
        text = json.dumps(notebook(source, lang), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        place(lang).write_text(text, "utf-8")
        print(f"{place(lang).name}: {len(text.encode()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
