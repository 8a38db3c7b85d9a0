"""Passages cover a text, in order, stay below their bound and know where they stand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.tasks.passages import passages


def letters(texts):
    """Each character but white space is a token."""
    return [len("".join(text.split())) for text in texts]


TEXTS = st.text(st.sampled_from('ab .!?"\n。é'), max_size=300) | st.text(max_size=80)


@given(TEXTS, st.integers(1, 40))
def test_passages_cover_the_text_in_order_and_are_bounded(text, most):
    found = passages(text, letters, most)
    assert "".join("".join(text[one.start : one.end].split()) for one in found) == "".join(text.split())
    end = 0
    for one in found:
        assert end <= one.start < one.end
        end = one.end
        assert letters([text[one.start : one.end]])[0] <= most
        assert text[one.start : one.end] == text[one.start : one.end].strip()
        assert one.line == 1 + text.count("\n", 0, one.start)


@given(TEXTS)
def test_a_text_that_fits_is_one_passage(text):
    found = passages(text, letters, max(1, len(text)))
    assert [text[one.start : one.end] for one in found] == ([text.strip()] if text.strip() else [])


def test_paragraphs_then_sentences_then_spaces_are_where_it_is_cut():
    text = 'He said "no." She went.\nOn.\n\nA short one.\n\n' + "word " * 9
    found = [text[one.start : one.end] for one in passages(text, letters, 17)]
    assert found[:3] == ['He said "no."', "She went.\nOn.", "A short one."]
    assert all(re.fullmatch("word( word)*", one) for one in found[3:])
    assert " ".join(found[3:]) == text[-45:].strip()


def test_no_tokens_are_no_bound():
    with pytest.raises(ValueError, match="most must be a number of tokens, at least 1, got 0"):
        passages("a", letters, 0)
