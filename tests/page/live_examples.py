"""The examples of tools/page_examples.py, as a page answers them now."""

import importlib.util
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "page_examples.py"


def page_examples(page):
    """name -> an example."""
    found = importlib.util.spec_from_file_location("page_examples", TOOL)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.examples(page)
