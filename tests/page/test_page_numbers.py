"""The file of the exercises' numbers is what the library computes now."""

import json
import math

from page.browser import page_numbers


def test_the_file_is_current(exercise_numbers):
    """Instruction sets may differ by rounding, which moves the fourth digit by one at most."""
    same(json.loads(page_numbers().FILE.read_text("utf-8")), exercise_numbers, "")


def same(stored, computed, where):
    """Fail where two trees differ by more than one in the fourth significant digit of a number."""
    if isinstance(stored, float):
        unit = 10.0 ** (math.floor(math.log10(abs(stored))) - 3) if stored else 1e-3
        assert abs(float(f"{stored:.4g}") - float(f"{computed:.4g}")) < 1.5 * unit, where
    elif isinstance(stored, dict):
        assert stored.keys() == computed.keys(), where
        for key in stored:
            same(stored[key], computed[key], f"{where}.{key}")
    elif isinstance(stored, list):
        assert len(stored) == len(computed), where
        for i, (one, other) in enumerate(zip(stored, computed, strict=True)):
            same(one, other, f"{where}[{i}]")
    else:
        assert stored == computed, where
