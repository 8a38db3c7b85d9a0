"""The page in a real browser: its numbers are the library's, exercises come out, everyone can use it."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

import nextword
from nextword.decoding.sampling import uniform
from nextword.inside.rules import Zero
from page.browser import PROMPT, browsing, opened, serving

STATIONS = "tokens,embedding,attention,mlp,stream,chance,next"


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(browser):
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def lm():
    return nextword.load()


def numbers(page, selector):
    return [float(text) for text in page.locator(selector).all_inner_texts()]


def set_view(page, **fields):
    page.evaluate("fields => { const now = new URLSearchParams(location.hash.slice(1));"
                  " for (const name in fields) now.set(name, fields[name]); location.hash = now; }", fields)


def settled(page):
    page.wait_for_load_state("networkidle")


def test_the_page_loads_alone_and_in_order(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", open=STATIONS)
    settled(page)
    assert page.faults == []
    assert page.foreign == []
    assert page.locator("section.station h2").count() == 7
    assert page.locator(".skeleton").count() == 0


def test_twenty_random_cells_are_the_library_s_numbers(browser, address, lm):
    page, x, chance = opened(browser, address, prompt=PROMPT, lang="en"), lm.inside(PROMPT), random.Random(0)
    names = chance.sample(sorted(x), 20)
    for name in names:
        index = [chance.randrange(length) for length in x[name].shape]
        if name.endswith(("scores", "weights")):
            index[2] = chance.randrange(index[1] + 1)  # what the mask leaves
        cell = json.dumps({"name": name, "index": index})
        set_view(page, cell=cell)
        shown = f"{name}[{', '.join(map(str, index))}]"
        page.wait_for_function("name => document.querySelector('.inspector .name code')?.textContent === name"
                               " && document.querySelector('.inspector .big')", arg=shown)
        assert page.inner_text(".inspector .big") == format(float(x[name][tuple(index)]), ".4g"), shown


def test_numbers_are_printed_as_python_prints_them(browser, address):
    page = opened(browser, address)
    rng = np.random.default_rng(0)
    values = [*(rng.standard_normal(300) * 10.0 ** rng.integers(-9, 9, 300)).astype(np.float32).tolist(), 0.0, -0.0,
              1.0625, 1.1875, 10.625, 0.00010625, 9999.5, 99995.0, 1e-5, 123456.0, -2.5]
    shown = page.evaluate("async values => { const { short } = await import('page/format.js');"
                          " return values.map(x => short(x)); }", values)
    assert shown == [format(x, ".4g") for x in values]


def test_the_bench_draws_the_library_s_numbers(browser, address):
    page = opened(browser, address)
    cases = [(1, 0, 0), (7, 3, 2), (2**32 - 1, 0, 99)]
    drawn = page.evaluate("async cases => { const { philox } = await import('page/philox.js');"
                          " return cases.map(c => philox(...c)); }", cases)
    assert drawn == [uniform(*case) for case in cases]


def test_exercise_1_words_and_signs_become_tokens(browser, address):
    for prompt, tokens in [("Der Hund jagt die Katze", ["Der", "·Hund", "·j", "agt", "·die", "·Kat", "ze"]),
                           ("Hausboot", ["H", "aus", "bo", "ot"])]:
        page = opened(browser, address, prompt=prompt, open="tokens")
        assert page.locator(".inside .chip .token").all_inner_texts() == tokens
    page = opened(browser, address, prompt="😀", open="tokens")
    assert page.locator(".groups").inner_text().startswith("😀")
    assert "F0 9F 98 80" in page.locator(".groups").inner_text()
    assert "\ufffd" not in page.content()


def test_exercises_2_and_3_words_in_the_plane(browser, address):
    page = opened(browser, address, ready="#shares", screen="bench", lang="en")
    similar = {row.get_attribute("data-pair"): [float(x) for x in row.locator("td").all_inner_texts()]
               for row in page.locator("tr[data-pair]").all()}
    assert similar["orange-phone"] == [0, 0, 0]
    assert similar["apple-orange"][2] == 0.707
    shares = page.locator("#shares tbody td:last-child")
    assert shares.all_inner_texts() == ["0.57", "0.43"]
    where = [float(x) for x in re.findall(r"-?\d+\.\d+", page.inner_text("#moved"))[-2:]]
    assert where == pytest.approx([1.14, 2.43], abs=0.011)  # the lecture multiplies with the rounded shares
    page.click("button:text-is('phone')")
    where = [float(x) for x in re.findall(r"-?\d+\.\d+", page.inner_text("#moved"))[-2:]]
    assert where == pytest.approx([2.86, 1.14], abs=0.011)
    page.click("button:has-text('Opposite')")
    assert shares.all_inner_texts() == ["0.88", "0.12"]
    page.click("button:text-is('plain normalising')")
    assert shares.all_inner_texts() == ["undefined", "undefined"]


def test_exercises_4_and_5_five_logits(browser, address):
    page = opened(browser, address, ready="#temperatures", screen="bench", lang="en")
    logits = np.array([3.23, -7.1, 5.57, 0.39, 2.4])
    for row, cells in enumerate(page.locator("#temperatures tbody tr").all()):
        shown = [float(x) for x in cells.locator("td").all_inner_texts()[1:]]
        for temperature, value in zip([0.01, 0.5, 1, 2, 5], shown, strict=True):
            powers = np.exp((logits - logits.max()) / temperature)
            assert value == float(format(powers[row] / powers.sum(), ".3g"))
    kept = "#chances .number"
    page.click("button:text-is('greedy')")
    assert numbers(page, kept) == [0, 0, 1, 0, 0]
    page.click("button:text-is('best, uniform')")
    assert numbers(page, kept) == [0.333, 0, 0.333, 0, 0.333]
    page.click("button:text-is('top-k')")
    assert numbers(page, kept) == [0.0879, 0, 0.912, 0, 0]
    page.click("button:text-is('top-p')")
    assert numbers(page, kept) == [0.0879, 0, 0.912, 0, 0]
    page.fill("#bench-amount", "0.8")
    assert numbers(page, kept) == [0, 0, 1, 0, 0]
    page.click("button:text-is('all')")
    texts = []
    for _ in range(2):
        for _ in range(5):
            page.click("button:text-is('Draw')")
        texts.append(page.inner_text("#drawn"))
        page.click("button:text-is('From the start')")
    assert texts[0] == texts[1]


def test_exercise_6_rows_of_attention_sum_to_one(browser, address):
    page = opened(browser, address, prompt=PROMPT, open="attention", layer=3, head=2, lang="en")
    page.wait_for_selector(".row-table")
    assert page.inner_text(".row-table tfoot td:nth-of-type(2)") == "1.000"
    page.click(".follow .chip >> nth=0")
    page.wait_for_selector(".row-table tr.masked")
    page.wait_for_function("document.querySelectorAll('.row-table tbody tr').length === 2")  # and what is masked
    assert page.inner_text(".row-table tbody tr >> nth=0 >> td >> nth=1") == "1"


def test_exercise_7_a_head_is_switched_off(browser, address, lm):
    page = opened(browser, address, prompt=PROMPT, open="attention", layer=3, head=2, lang="en")
    page.click("button:has-text('Switch head 2 of layer 3 off')")
    page.wait_for_selector(".before-after")
    after = page.locator(".before-after > div >> nth=1")
    x = lm.inside(PROMPT, interventions=[Zero("h.3.attn.z", heads=[2])])
    powers = np.exp(x.logits[-1].astype(np.float64) - x.logits[-1].max())
    best = int(powers.argmax())
    assert after.locator(".number").first.inner_text() == format(powers[best] / powers.sum(), ".4g")
    assert "off" in page.evaluate("decodeURIComponent(location.hash)")
    page.click(".switches li button.quiet")
    page.wait_for_selector(".switches", state="detached")


def test_exercise_8_the_last_row_of_the_lens_is_the_next_word(browser, address):
    page = opened(browser, address, prompt=PROMPT, open="stream,next", lang="en")
    page.wait_for_selector(".lens tbody tr")
    last = page.locator(".lens tbody tr").last.locator("td").last
    word, p = last.locator(".token").inner_text(), float(last.locator("small").inner_text())
    best = page.locator("#inside-next .bars li").first
    assert word == best.locator(".token").inner_text()
    assert p == float(format(float(best.locator(".number").inner_text()), ".3g"))


def test_exercise_9_reckoning_with_words(browser, address, lm):
    for lang, words in [("en", [" king", " man", " woman"]), ("de", [" König", " Mann", " Frau"])]:
        page = opened(browser, address, ready="#analogy", screen="words", lang=lang)
        page.wait_for_selector("#analogy + ol li")
        near = lm.analogy(*words, exclude=True)
        assert page.locator("#analogy + ol .token").first.inner_text() == near.texts[0].replace(" ", "·")
        assert page.locator("#analogy + ol .number").first.inner_text() == format(float(near.similarities[0]), ".4g")


def test_exercise_10_who_is_expected(browser, address):
    page = opened(browser, address, ready="#compare", screen="compare", lang="en")
    shares = numbers(page, "#compare tbody td:nth-of-type(3)")
    assert len(shares) == 6
    assert sum(shares[:3]) == pytest.approx(1, abs=2e-4)  # each is rounded to 4 digits
    assert shares[0] > shares[1]  # the doctor: he
    assert shares[4] > shares[3]  # the nurse: she


def test_exercise_11_the_parts_of_a_logit_sum_to_it(browser, address, lm):
    page = opened(browser, address, prompt=PROMPT, open="stream", lang="en")
    page.wait_for_selector(".parts-table")
    parts = numbers(page, ".parts-table tbody td.number")
    logit = float(lm.inside(PROMPT).logits[-1].max())
    assert float(page.inner_text(".parts-table tfoot td.number")) == pytest.approx(logit, abs=1e-5)
    assert sum(parts) == pytest.approx(logit, abs=5e-4 * len(parts))  # each shown with 4 digits, the largest below 10


def test_exercise_12_the_same_settings_give_the_same_text(browser, address):
    texts = []
    for _ in range(2):
        page = opened(browser, address, prompt=PROMPT, open="next", lang="en", t="0.8", seed="3")
        for count in range(1, 6):
            page.click("button:text-is('One word')")
            page.wait_for_function("count => document.querySelectorAll('.grown').length === count", arg=count)
        texts.append(page.inner_text("p.text"))
    assert texts[0] == texts[1]
    said = nextword.load().generate(PROMPT, temperature=0.8, seed=3, max_new_tokens=5)
    assert texts[0] == PROMPT + said.text


def test_the_sliders_preview_is_the_library_s_step(browser, address):
    page = opened(browser, address)
    rng = np.random.default_rng(1)
    for values in [(0.7, 5, 1.0, 0.0), (1.3, 0, 0.8, 0.0), (1.0, 40, 0.9, 0.05)]:
        settings = dict(zip(["temperature", "top_k", "top_p", "min_p"], values, strict=True))
        logits = rng.standard_normal(500).astype(np.float32) * 3
        shown = page.evaluate("""async ([logits, settings]) => {
            const { ordered, chances } = await import('page/sampling.js');
            const all = Float32Array.from(logits), { rows } = chances(all, ordered(all), settings, 500);
            return rows.filter(row => !row.cut).map(row => [row.id, row.p]); }""", [logits.tolist(), settings])
        ids, p, _ = nextword.ops.distribution(logits, *values, 1.0, False)
        expected = {int(token): format(float(chance), ".4g") for token, chance in zip(ids, p, strict=True)}
        assert {token: format(chance, ".4g") for token, chance in shown} == expected


@pytest.mark.parametrize("prompt", ["</script><img src=x onerror=window.hurt=1>", "<b>x</b>\u2028{window}"])
def test_a_hostile_prompt_stays_text(browser, address, prompt):
    page = opened(browser, address, prompt=prompt, open=STATIONS)
    settled(page)
    assert page.evaluate("window.hurt") is None
    assert page.locator("#app img, #app b:text-is('x')").count() == 0
    assert page.input_value("#prompt") == prompt
    assert page.faults == []


@pytest.mark.parametrize("screen", ["walk", "words", "compare", "bench"])
def test_nothing_scrolls_sideways(browser, address, screen):
    page = opened(browser, address, width=320, lang="de", screen=screen, open=STATIONS,
                  prompt="Die Donaudampfschifffahrtsgesellschaft")
    for width in (320, 768):
        page.set_viewport_size({"width": width, "height": 900})
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_walk_can_be_walked_with_keys(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", open="attention", layer=0, head=0)
    page.wait_for_selector(".heads .thumb")
    page.focus(".thumb[aria-pressed=true]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_function("new URLSearchParams(location.hash.slice(1)).get('head') === '1'")
    page.focus(".heat.matrix .cursor")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".inspector .big")
    page.keyboard.press("Escape")
    page.wait_for_selector(".inspector", state="detached")
    page.locator("body").evaluate("() => document.activeElement.blur()")
    page.keyboard.press("l")
    page.wait_for_function("new URLSearchParams(location.hash.slice(1)).get('layer') === '1'")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "prompt"
    for station in STATIONS.split(","):
        heading = page.locator(f"#station-{station} h2 button")
        heading.focus()
        before = heading.get_attribute("aria-expanded")
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-expanded") != before


@pytest.mark.parametrize("view", ["walk", "inspector", "words", "compare", "bench"])
def test_axe_finds_nothing_in_either_language_and_theme(browser, address, view):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    more = {"walk": {"open": STATIONS}, "bench": {"screen": "bench"}, "words": {"screen": "words"},
            "compare": {"screen": "compare"},
            "inspector": {"open": "", "cell": json.dumps({"name": "h.1.ln_1", "index": [1, 2]}),
                          "off": json.dumps([{"name": "h.1.attn.z", "heads": [1], "how": "scale", "factor": 2}])}}[view]
    page = opened(browser, address, prompt=PROMPT, lang="de", theme="light", **more)
    for lang, theme in [("de", "light"), ("en", "dark"), ("de", "dark"), ("en", "light")]:
        set_view(page, lang=lang, theme=theme)
        settled(page)
        page.wait_for_function("([lang, theme]) => document.documentElement.lang === lang"
                               " && document.documentElement.dataset.theme === theme", arg=[lang, theme])
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{lang} {theme}: {found.generate_report()}"
