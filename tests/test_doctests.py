"""The examples in the docstrings of all modules run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import nextword

MODULES = ["nextword", *(m.name for m in pkgutil.walk_packages(nextword.__path__, "nextword."))]
# tests/test_tokenizer.py runs the tokenizer's examples together with those of its compiled base class.
PYTHON = [name for name in MODULES if name.rsplit(".", 1)[-1] not in ("_core", "__main__", "tokenizer")]


@pytest.mark.parametrize("name", PYTHON)
def test_the_examples_of_a_module_give_what_they_say(name):
    module = importlib.import_module(name)
    before = nextword.cpu.isa(), nextword.cpu.threads()
    try:
        assert doctest.testmod(module).failed == 0
    finally:
        nextword.cpu.set_isa(before[0])
        nextword.cpu.set_threads(before[1])


@pytest.mark.parametrize(
    "name", ["nextword", "nextword.ops", "nextword.sampling", "nextword.models.trace", "nextword.tasks.language_model"]
)
def test_the_modules_that_users_meet_have_examples(name):
    assert sum(bool(found.examples) for found in doctest.DocTestFinder().find(importlib.import_module(name))) > 0
