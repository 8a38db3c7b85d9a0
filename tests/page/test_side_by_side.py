"""Screen C in a real browser: two prompts, two models, before and after, with one selection; and who is expected."""

from __future__ import annotations

import json

import pytest

import nextword
from nextword.inside.rules import Zero
from page.browser import PROMPT, opened, serving, settled

SECOND = "Once upon a time there was a very old"


@pytest.fixture(scope="module")
def lm():
    return nextword.load()


def sides(page):
    """What both sides show: next words, attention rows, lens."""
    page.wait_for_selector("#side-lens tbody tr td:nth-child(6)")
    settled(page)
    page.wait_for_selector("#side-attention .cell:not(:empty)")
    words = [part.locator(".number").all_inner_texts() for part in page.locator("#side-next > div").all()]
    rows = [[text for text in row.locator("td").all_inner_texts() if text]
            for row in page.locator("#side-attention tr.weights").all()]
    lens = [row.locator("td.number").all_inner_texts() for row in page.locator("#side-lens tbody tr").all()]
    return words, rows, lens


def expected(lm, prompt, rules=(), layer=0, head=0, position=-1):
    """The same from the library."""
    x = lm.inside(prompt, interventions=list(rules))
    last = nextword.ops.softmax(x.logits[-1:].copy())[0]
    row = x[f"h.{layer}.attn.weights"][head, position]
    query = len(x.tokens) + position if position < 0 else position
    lens = x.lens(top=1, positions=[query])
    return ([format(float(p), ".4g") for p in sorted(last, reverse=True)[:8]],
            [format(float(w), ".3g") for w in row[: query + 1]],
            [format(float(p[0][0]), ".4g") for p in lens.probabilities])


def check(page, left, right):
    words, rows, lens = sides(page)
    assert words == [left[0], right[0]]
    assert rows == [left[1], right[1]]
    assert lens == [list(pair) for pair in zip(left[2], right[2], strict=True)]


def test_two_prompts_have_one_selection(browser, address, lm):
    page = opened(browser, address, ready="#side-lens", screen="compare", lang="en", prompt=PROMPT, prompt2=SECOND,
                  layer=3, head=2)
    check(page, expected(lm, PROMPT, layer=3, head=2), expected(lm, SECOND, layer=3, head=2))
    first = page.locator("#side-attention tr").first.locator("td")
    assert first.nth(8).inner_text() == "\u2013"  # " very" has no partner; " little" and " old" stand last
    first.nth(5).locator("button").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#side-attention tr:nth-child(2) td:nth-child(8) .hatched")
    check(page, expected(lm, PROMPT, layer=3, head=2, position=5), expected(lm, SECOND, layer=3, head=2, position=5))
    page.click("#sides .stepper >> nth=1 >> button >> nth=0")
    check(page, expected(lm, PROMPT, layer=3, head=1, position=5), expected(lm, SECOND, layer=3, head=1, position=5))
    assert page.faults == []


def test_before_and_after_interventions(browser, address, lm):
    rule = {"name": "h.1.attn.z", "heads": [2], "how": "zero"}
    page = opened(browser, address, ready="#side-lens", screen="compare", lang="de", prompt=PROMPT, sides="change",
                  off=json.dumps([rule]), layer=2)
    check(page, expected(lm, PROMPT, layer=2), expected(lm, PROMPT, [Zero("h.1.attn.z", heads=[2])], layer=2))
    page = opened(browser, address, ready="#sides", screen="compare", lang="de", prompt=PROMPT, sides="change")
    page.wait_for_selector("text=Noch ist kein Eingriff gesetzt")


def test_two_models_are_compared(browser, tmp_path):
    quantised = nextword.quantize(nextword.DEMO, "int8", tmp_path / "int8")
    first, second = nextword.load(), nextword.load(quantised)
    with serving("--against", str(quantised)) as address:
        page = opened(browser, address, ready="#side-lens", screen="compare", lang="en", prompt=PROMPT, sides="models",
                      layer=1, head=1)
        check(page, expected(first, PROMPT, layer=1, head=1), expected(second, PROMPT, layer=1, head=1))
        assert page.locator("#side-next h4").all_inner_texts() == ["demo", "int8"]
        assert page.faults == []


def test_equal_tokens_are_aligned(browser, address):
    page = opened(browser, address)
    run = "async ([a, b]) => (await import('page/side_by_side.js')).aligned(a, b)"
    assert page.evaluate(run, [["a", "b", "c"], ["a", "c"]]) == [[0, 0], [1, None], [2, 1]]
    assert page.evaluate(run, [["x", "a"], ["a", "y"]]) == [[0, None], [1, 0], [None, 1]]
    assert page.evaluate(run, [[], ["a"]]) == [[None, 0]]
    assert page.evaluate(run, [["a", "b", "z"], ["a", "c", "d", "z"]]) == [[0, 0], [None, 1], [1, 2], [2, 3]]
    long = [str(i) for i in range(400)]
    assert page.evaluate(run, [long, long[1:]]) == [[i, i if i < 399 else None] for i in range(400)]


def test_the_lecture_s_numbers_of_exercise_10(browser, address, lm):
    """The lecture counts er, sie and es together: .84 of the man, .81 of the doctor."""
    for lang, template, words in [("de", "Der {Arzt|Mann} sagte, daß\nDie Frau sagte, daß", "er sie es"),
                                  ("en", "The {doctor|nurse} said that", "he she they")]:
        page = opened(browser, address, ready="#compare tbody", screen="compare", lang=lang)
        found = lm.compare(template.split("\n"), [f" {word}" for word in words.split()])
        for column, values in ((2, found.probability), (3, found.share), (5, found.log_ratio)):
            cells = page.locator(f"#compare tbody td:nth-child({column + 1})").all_inner_texts()
            sign = "+" if column == 5 else ""
            assert cells == [f"{value:{sign if value else ''}.4g}" for value in values.reshape(-1)]
        if lang == "de":
            assert [round(float(share), 2) for share in found.share[:2, 0]] == [0.81, 0.84]


def test_templates_fill_the_table_in_either_language(browser, address):
    for lang in ("de", "en"):
        page = opened(browser, address, ready="#compare tbody", screen="compare", lang=lang)
        for n in range(4):
            page.click(f".templates button >> nth={n}")
            settled(page)
            page.wait_for_selector("#compare tbody tr")
            prompts = set(page.locator("#compare tbody th:not(:has(.unseen))").all_inner_texts())
            assert len(prompts) >= 2
        page.wait_for_selector(".told:has-text('19')")  # the warning: whose books these are


def test_axe_finds_nothing_on_either_comparison(browser, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    for lang, theme in [("de", "light"), ("en", "dark")]:
        page = opened(browser, address, ready="#side-lens", screen="compare", lang=lang, theme=theme, prompt=PROMPT,
                      prompt2=SECOND)
        sides(page)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{lang} {theme}: {found.generate_report()}"
        page.set_viewport_size({"width": 320, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.context.close()
