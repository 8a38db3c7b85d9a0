"""Normalisers: the same text with and without alignment, and alignments whose parts belong together."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nextword.text.normalizer import Normalizer, _begins

FORMS = [("NFC",), ("NFD",), ("NFKC",), ("NFKD",)]
STEPS = [*FORMS, ("Lowercase",), ("Prepend", "xy"), ("Replace", "ab", ""), ("Replace", "a", "é中")]


def texts():
    some = st.sampled_from("abAéİΣς ﬁ½ｶﾞがΩÅ한각\u1100\u1161\u11a8\u0301\u0327\u0323\u09c7\u09be\u0f73")
    return st.text(st.one_of(some, st.characters(exclude_categories=["Cs"])), max_size=20)


@given(st.lists(st.sampled_from(STEPS), max_size=4), texts())
@example([("Replace", "ab", ""), ("NFC",)], "eab\u0301")
def test_alignment_tells_which_bytes_belong_together(steps, text):
    normalize = Normalizer(steps)
    changed, ends = normalize.aligned(text)
    assert changed == normalize(text)
    assert normalize.aligned(text, False) == (changed, [])
    new, old = changed.encode(), text.encode()
    begin = (0, 0)
    for done, original, same in ends:
        assert done >= begin[0]
        assert original > begin[1]
        assert not same or new[begin[0] : done] == old[begin[1] : original]
        new[begin[0] : done].decode()
        old[begin[1] : original].decode()
        begin = (done, original)
    assert begin == (len(new), len(old))


@given(st.sampled_from(FORMS), texts())
def test_parts_of_a_normal_form_are_normalised_on_their_own(form, text):
    parts, last = [], 0
    for at in range(1, len(text) + 1):
        if at == len(text) or _begins(text[at]):
            parts.append(text[last:at])
            last = at
    assert "".join(Normalizer([form])(part) for part in parts) == unicodedata.normalize(form[0], text)


def test_no_character_that_begins_a_part_is_the_second_of_a_composition():
    for code in range(0x110000):
        pair = unicodedata.decomposition(chr(code)).split()
        if len(pair) == 2 and not pair[0].startswith("<"):
            composed = "".join(chr(int(part, 16)) for part in pair)
            if unicodedata.normalize("NFC", composed) != composed:
                assert not _begins(composed[1])
    for second in "\u1161\u1175\u11a8\u11c2":
        assert not _begins(second)


def test_text_that_does_not_change_is_one_part():
    assert Normalizer([("NFC",), ("Lowercase",)]).aligned("plain é 中") == ("plain é 中", [(12, 12, True)])
    assert Normalizer([("Prepend", "_")]).aligned("") == ("", [])


def test_lowercase_goes_character_by_character():
    assert Normalizer([("Lowercase",)])("ÉΣ \u0130") == "é\u03c3 i\u0307"


WRONG = [("NFX",), ("NFC", "x"), (), ("Replace", "", "x"), ("Replace", "x"), ("Prepend", 5), "NFC"]


@pytest.mark.parametrize("step", WRONG)
def test_an_unknown_step_is_a_value_error(step):
    with pytest.raises(ValueError, match="a step must be one of NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace"):
        Normalizer([step])
