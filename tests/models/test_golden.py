"""Bits that stay what they are, whatever is rebuilt beneath: see golden.py."""

from __future__ import annotations

import json

import golden
import pytest

from nextword.arithmetic.formats import DTYPES

KNOWN = json.loads(golden.FILE.read_text())


@pytest.fixture(scope="module", autouse=True)
def _models():
    """They are kept from test to test, and no longer."""
    yield
    golden.language_model.cache_clear()


@pytest.mark.parametrize("kv_dtype", golden.KV_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*golden.CONFIGS, "demo"])
def test_logits_and_tokens_have_the_bits_of_the_file(isa, name, dtype, kv_dtype):
    if isa not in KNOWN:
        pytest.skip(f"golden.json has no values of {isa}: the machine that they were taken on does not run it")
    assert golden.values(name, dtype, kv_dtype) == KNOWN[isa][f"{name} {dtype} {kv_dtype}"]
