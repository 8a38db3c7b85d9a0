"""inside/compare.py and templates.py: continuations of several prompts; the numbers of the bundled model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.inside.templates import expanded

# Of the bundled model, which a new training moves
SHARES = {"The doctor said that": [0.81, 0.10, 0.09], "The nurse said that": [0.29, 0.58, 0.12]}


def test_doctor_and_nurse_have_the_shares_of_the_lecture(demo):
    found = demo.compare("The {doctor|nurse} said that", [" he", " she", " they"])
    assert found.prompts == list(SHARES)
    assert found.share.round(2).tolist() == list(SHARES.values())
    np.testing.assert_allclose(found.share.sum(1), 1, rtol=0, atol=1e-15)


def test_german_books_have_men_and_women_in_their_places(demo):
    found = demo.compare(["Der {Mann|Arzt} sagte, daß", "Die Frau sagte, daß"], [" er", " sie"])
    assert found.prompts == ["Der Mann sagte, daß", "Der Arzt sagte, daß", "Die Frau sagte, daß"]
    assert found.share[:, 0].round(2).tolist() == [0.91, 0.90, 0.22]


def test_each_row_is_what_choose_tells(demo):
    ids = demo.tokenizer.encode("The king said that")
    continuations = [" he", " she was", demo.tokenizer.encode(" they")]
    found = demo.compare(["The queen said that", ids], continuations)
    for i, prompt in enumerate(["The queen said that", ids]):
        for j, one in enumerate(demo.choose(prompt, continuations)):
            assert (found.logprobs[i, j], found.share[i, j]) == (one.logprob, one.share)
            assert found.choices[i][j].tokens == one.tokens
    np.testing.assert_array_equal(found.probability, np.exp(found.logprobs))
    np.testing.assert_array_equal(found.log_ratio, found.logprobs - found.logprobs[:, [0]])
    assert (found.log_ratio[:, 0] == 0).all()
    np.testing.assert_array_equal(found.shift, np.log(found.share) - np.log(found.share[0]))


def test_its_table_has_a_row_a_prompt_and_says_what_shares_are(demo):
    found = demo.compare("The {doctor|nurse} said that", [" he", " she"])
    table = found.table()
    assert list(table.head) == ["prompt", "P ·he", "share ·he", "P ·she", "share ·she", "ln ·she / ·he"]
    assert table.rows[1][1:3] == [found.probability[1, 0], found.share[1, 0]]
    assert table.rows[1][-1] == found.log_ratio[1, 1]
    html = found._repr_html_()
    assert "The nurse said that" in html
    assert "tells of the texts that the model learned from" in html
    assert found.picture().values is found.share


def test_templates_are_expanded_in_order():
    assert expanded("t", "{a|b} {x|y|}.") == ["a x.", "a y.", "a .", "b x.", "b y.", "b ."]
    assert expanded("t", "Der {Arzt|Mann} sagte") == ["Der Arzt sagte", "Der Mann sagte"]
    assert expanded("t", "{{a|b}} }} {{") == ["{a|b} } {"]
    assert expanded("t", "") == [""]


@given(st.text())
def test_braces_written_twice_are_the_text(text):
    assert expanded("t", text.replace("{", "{{").replace("}", "}}")) == [text]


@pytest.mark.parametrize("template", ["a { b", "a } b", "{a}", "{}", "{a|{b|c}}", "{{a}"])
def test_a_single_brace_is_an_error_with_the_way_out(template):
    with pytest.raises(ValueError, match=r"t: a template must hold choices such as \{a\|b\}, got a single .*twice"):
        expanded("t", template)


ERRORS = [
    (lambda lm: lm.compare("{a|b}" * 30, [" he"]), "a template must give at most 1,000 prompts, got 1,073,741"),
    (lambda lm: lm.compare(["x"] * 1001, [" he"]), "compare: prompts must be at most 1,000, got 1,001"),
    (lambda lm: lm.compare([], [" he"]), "compare: prompts must be a template or a list of prompts"),
    (lambda lm: lm.compare(5, [" he"]), "compare: prompts must be a template or a list of prompts"),
    (lambda lm: lm.compare("a", " he"), "compare: continuations must be a list of texts"),
    (lambda lm: lm.compare("a", []), "compare: continuations must be a list of texts"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_argument(demo, call, message):
    with pytest.raises(ValueError, match=message):
        call(demo)
