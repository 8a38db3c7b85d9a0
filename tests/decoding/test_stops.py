"""Stop strings: found where a plain search finds them, however the text is cut, in time linear in the text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.decoding.stops import StopMatcher

words = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=5)


@given(words, st.lists(st.text("abc", max_size=4), max_size=10))
def test_the_first_stop_string_that_ends_in_a_piece_is_found(stops, pieces):
    matcher, text = StopMatcher(stops), ""
    for piece in pieces:
        seen = len(text)
        text += piece
        ends = [at for stop in stops for at in range(len(text)) if text.startswith(stop, at) and at + len(stop) > seen]
        assert matcher.find(piece) == min(ends, default=None)


@given(words, st.text("abc", max_size=20))
def test_what_may_begin_a_stop_string_is_held(stops, text):
    matcher = StopMatcher(stops)
    matcher.find(text)
    begun = [n for stop in stops for n in range(len(stop) + 1) if text.endswith(stop[:n])]
    assert matcher.held == max(begun)


@pytest.mark.parametrize(("stops", "text"), [
    (["Q" * 10**6], "Q" * 200_000),
    (["Q" * 10**6 + "X"], ("Q" * 999 + "Y") * 200),
    ([f"{i} apples" for i in range(100_000)], "12345 apple, 99 appl" * 10_000),
    (["a" * k + "b" for k in range(1, 2000)], "a" * 100_000 + "c"),
    (["a" * k + "b" for k in range(1, 2000)], "a" * 100_000 + "b"),
])  # fmt: skip
def test_long_and_many_stop_strings_take_time_by_the_text(stops, text):
    start = time.process_time()
    matcher = StopMatcher(stops)
    found = [matcher.find(text[at : at + 4]) for at in range(0, len(text), 4)]
    assert time.process_time() - start < 20
    expected = min((at for stop in stops[-1:] if (at := text.find(stop)) >= 0), default=None)
    assert next((at for at in found if at is not None), None) == expected


def test_a_stream_with_a_stop_string_of_a_million_characters_goes_on(demo):
    stream = demo.stream("Once", stop="Q" * 10**6, max_new_tokens=5)
    assert "".join(stream) == demo.generate("Once", max_new_tokens=5).text
