"""The page on paper, in forced colours, and enlarged: what is read stays, controls go, focus and selection are seen."""

from __future__ import annotations

import json
import re

import pytest

import nextword
from page.browser import PROMPT, opened, set_view, settled

STATIONS = "tokens,embedding,attention,mlp,stream,chance,next"


def drawn(page):
    settled(page)
    page.wait_for_function("() => !document.querySelector('main .skeleton')")


def test_on_paper_all_stations_stand_and_no_control_does(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", theme="dark", open=STATIONS)
    drawn(page)
    page.emulate_media(media="print")
    for station in STATIONS.split(","):
        assert page.locator(f"#inside-{station}").is_visible(), station
    assert page.locator("input, select, .choice, .controls, .tours, .follow, nav").locator("visible=true").count() == 0
    left = page.locator("button").locator("visible=true").evaluate_all(
        "all => all.filter(x => getComputedStyle(x).borderTopWidth !== '0px').map(x => x.outerHTML)")
    assert left == []
    # Black on white, whatever the theme of the screen.
    colours = page.evaluate("""() => [getComputedStyle(document.documentElement).backgroundColor,
        ...['.says', 'h2'].map(one => getComputedStyle(document.querySelector(one)).color)]""")
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)", "rgb(0, 0, 0)"]
    page.set_viewport_size({"width": 680, "height": 1000})  # A4 at 96 pixels an inch, without margins of 15 mm
    assert page.evaluate("document.documentElement.scrollWidth") <= 680


def test_the_handout_opens_all_stations_prints_and_gives_the_page_back(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", theme="dark", open="mlp")
    page.evaluate("""() => { const count = one => document.querySelectorAll(one).length;
        window.print = () => { window.printed = { open: count('.station.is-open'), left: count('main .skeleton'),
                                                  theme: document.documentElement.dataset.theme }; }; }""")
    page.click("footer button")
    page.wait_for_function("() => window.printed", timeout=20_000)
    assert page.evaluate("window.printed") == {"open": 7, "left": 0, "theme": "light"}
    page.wait_for_function("() => document.querySelectorAll('.station.is-open').length === 1"
                           " && document.documentElement.dataset.theme === 'dark'")


def test_the_pdf_has_several_pages(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="de", open=STATIONS)
    drawn(page)
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type /Page\b", pdf)) >= 4  # seven stations do not fit on fewer


def test_the_inspector_is_printed_with_its_table(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", cell=json.dumps({"name": "logits", "index": [8, 0]}))
    page.wait_for_selector(".inspector .terms")
    page.emulate_media(media="print")
    assert page.locator(".inspector .terms tbody tr").first.is_visible()
    assert page.locator(".inspector math").first.is_visible()
    assert page.locator(".inspector .top button").is_hidden()


def test_forced_colours_keep_focus_and_selection(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", open="attention,chance", head=1)
    page.emulate_media(forced_colors="active")
    drawn(page)
    style = "(x, name) => getComputedStyle(x)[name]"
    for group in (".choice button", ".chip", ".thumb"):
        chosen, other = (page.locator(f'{group}[aria-pressed="{state}"]').first for state in ("true", "false"))
        name = "outlineStyle" if group == ".thumb" else "backgroundColor"
        assert chosen.evaluate(style, name) != other.evaluate(style, name), group
    current = page.locator("header nav button[aria-current]").evaluate(style, "backgroundColor")
    assert current != page.locator("header nav button:not([aria-current])").first.evaluate(style, "backgroundColor")
    fill = page.locator("#inside-chance .fill").first.evaluate(style, "backgroundColor")
    assert fill != page.locator("#inside-chance .bar").first.evaluate(style, "backgroundColor")
    page.locator(".thumb[aria-pressed=true]").focus()
    page.keyboard.press("ArrowRight")
    outline = page.evaluate("(() => { const s = getComputedStyle(document.activeElement);"
                            " return [s.outlineStyle, parseFloat(s.outlineWidth), s.outlineColor, s.backgroundColor];"
                            " })()")
    assert outline[0] == "solid"
    assert outline[1] >= 2
    assert outline[2] != outline[3]


@pytest.mark.parametrize("view", [{"open": STATIONS}, {"screen": "bench"}, {"screen": "words"}, {"screen": "compare"},
                                  {"tour": "roots.3"}], ids=str)
def test_at_400_percent_nothing_scrolls_sideways_and_nothing_covers_the_page(browser, address, view):
    page = opened(browser, address, prompt=PROMPT, lang="de", width=320, **view)  # 1280 x 1024 at 400 %
    page.set_viewport_size({"width": 320, "height": 256})
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    stuck = page.evaluate("""() => [...document.querySelectorAll('#app :not(.tour-ring)')]
        .filter(x => ['fixed', 'sticky'].includes(getComputedStyle(x).position))
        .reduce((sum, x) => sum + x.getBoundingClientRect().height, 0) / innerHeight""")
    assert stuck <= 0.6


def test_a_question_mark_lists_every_key(browser, address):
    page = opened(browser, address, lang="en")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    keys = page.locator("dialog kbd").all_inner_texts()
    assert {"/", "l", "h", "?", "← →"} <= set(keys)
    assert len(keys) == page.locator("dialog dd").count() == 9
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_formulas_are_mathml_with_the_names_of_their_operands(browser, address):
    page, x = opened(browser, address, prompt=PROMPT, lang="en"), nextword.load().inside(PROMPT)
    for name, index, drawn_with in [
        ("logits", [8, 0], ["munder", "msub"]), ("ln_f", [8, 0], ["mfrac", "msub"]), ("h.0.mlp.act", [8, 5], ["msub"]),
        ("h.0.attn.scores", [0, 8, 1], ["munder", "mn"]), ("h.0.attn.weights", [0, 8, 1], ["mfrac", "munder"]),
        ("h.0.mlp.fc", [8, 5], ["munder"]),
        ("h.0.attn.z", [0, 8, 1], ["munder"]), ("h.0.resid_post", [8, 0], ["msub"]), ("wte", [8, 0], ["msub"]),
    ]:
        set_view(page, cell=json.dumps({"name": name, "index": index}))
        shown = f"{name}[{', '.join(map(str, index))}]"
        page.wait_for_selector(f".inspector:has(.name code:text-is('{shown}')):has(math)")
        assert page.get_attribute(".inspector .math", "aria-label") == x.cell(name, index).formula
        assert page.evaluate("document.querySelector('math mi').namespaceURI") == "http://www.w3.org/1998/Math/MathML"
        for element in drawn_with:
            assert page.locator(f".inspector math {element}").count() > 0, (name, element)
        assert page.locator(".inspector .formula code").count() == 0


def test_pictures_are_printed_in_the_light_palette(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", theme="dark", open="embedding,attention")
    settled(page)
    painted = "() => [...document.querySelectorAll('main canvas')].map(one => one.toDataURL())"
    dark = page.evaluate(painted)
    page.emulate_media(media="print")
    settled(page)
    paper = page.evaluate(painted)
    page.emulate_media(media="screen")
    settled(page)
    assert page.evaluate(painted) == dark
    set_view(page, theme="light")
    settled(page)
    light = page.evaluate(painted)
    assert paper == light
    assert len(light) > 16
    assert not set(light) & set(dark)
