"""The guided tours: every card has its target in the page and its text in both languages, and moves as one expects."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import nextword
from page.browser import opened, set_view, settled

STATIC = Path(nextword.__file__).parent / "page" / "static"
TOURS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((STATIC / "tours").glob("*.json"))}
CARDS = [(name, at, card) for name, tour in TOURS.items() for at, card in enumerate(tour["cards"], 1)]
TEXTS = {lang: json.loads((STATIC / "text" / f"{lang}.json").read_text("utf-8")) for lang in ("de", "en")}
cards = pytest.mark.parametrize("card", [card for *_, card in CARDS], ids=[f"{name}.{at}" for name, at, _ in CARDS])


# The ring lies around the target, some of it is in view, and all values of the card are there.
RINGED = """selector => { const ring = document.querySelector('.tour-ring')?.getBoundingClientRect();
    const one = [...document.querySelectorAll(selector)].find(x => x.getClientRects().length)?.getBoundingClientRect();
    return ring && one && Math.abs(ring.top - one.top) < 1 && Math.abs(ring.width - one.width) < 1
        && one.top < innerHeight && one.bottom > 0
        && !document.querySelector('.tour-text').textContent.includes('…'); }"""


def card_shown(page, name):
    page.wait_for_selector(f'.tour[data-card="{name}"]')
    page.wait_for_selector(".tour-ring")


def test_there_are_six_of_six_to_twelve_cards_and_each_has_a_title():
    assert len(TOURS) == 6
    for name, tour in TOURS.items():
        assert 6 <= len(tour["cards"]) <= 12, name
        for lang in TEXTS:
            assert TEXTS[lang][f"tour.{name}"]


@cards
def test_a_card_is_whole_in_both_languages_and_names_only_what_the_page_can_fill_in(card):
    assert set(card) <= {"target", "view", "reads", "de", "en"}
    facts = (STATIC / "tour_facts.js").read_text("utf-8")
    told = set(re.findall(r"(\w+):", re.search(r"return \{(\s+layers:.*?)\};", facts, re.S)[1]))
    reads = set(card.get("reads", {}))
    used = []
    for lang in ("de", "en"):
        texts = card[lang]
        assert {"title", "text"} <= set(texts) <= {"title", "text", "do", "look"}
        assert all(text.strip() and "…" not in text for text in texts.values())
        used.append({name: sorted(re.findall(r"\{(\w+)\}", text)) for name, text in texts.items()})
        names = {name for found in used[-1].values() for name in found}
        assert reads <= names <= told | reads
    assert used[0] == used[1]


@cards
def test_no_number_of_a_model_is_written_in_a_card(card):
    # 0 and 1 are ends of scales, layer 0 is the one that every model has, GPT-2 is a name.
    for lang in ("de", "en"):
        for text in card[lang].values():
            assert set(re.findall(r"\d+(?:[.,]\d+)?", text.replace("GPT-2", ""))) <= {"0", "1"}, text


@pytest.mark.parametrize("lang", ["de", "en"])
@pytest.mark.parametrize("name", TOURS)
def test_every_target_is_there_and_in_view_when_its_card_is_shown(browser, address, name, lang):
    page = opened(browser, address, lang=lang, tour=f"{name}.1")
    count = len(TOURS[name]["cards"])
    for at, card in enumerate(TOURS[name]["cards"], 1):
        card_shown(page, f"{name}.{at}")
        page.wait_for_function(RINGED, arg=card["target"])
        assert page.inner_text(".tour h2") != ""
        assert f"{at} {'von' if lang == 'de' else 'of'} {count}" in page.inner_text(".tour .top")
        assert page.locator(".tour .told").count() == 0
        if at < count:
            page.keyboard.press("ArrowRight")
    assert page.faults == []


def test_a_tour_is_entered_from_the_first_screen_and_left_by_escape(browser, address):
    page = opened(browser, address, lang="en")
    entry = page.locator(".tours button >> nth=1")
    assert entry.bounding_box()["y"] < 900
    entry.click()
    card_shown(page, "attention.1")
    assert page.evaluate("document.activeElement.id") == "tour-title"
    assert page.locator(".unseen[role=status]").inner_text().startswith("1 of 9: ")
    assert page.locator(".tour button:text-is('Back')").is_disabled()
    page.keyboard.press("ArrowRight")
    card_shown(page, "attention.2")
    assert page.evaluate("document.activeElement.id") == "tour-title"
    assert "tour=attention.2" in page.url
    page.click(".tour button:text-is('Next')")
    card_shown(page, "attention.3")
    page.keyboard.press("ArrowLeft")
    card_shown(page, "attention.2")
    page.keyboard.press("Escape")
    page.wait_for_selector(".tour", state="detached")
    assert "tour=" not in page.url
    assert page.evaluate("document.activeElement.textContent") == "Attention"


def test_a_link_restores_a_card_and_its_view(browser, address):
    page = opened(browser, address, lang="de", tour="whatif.4")
    card_shown(page, "whatif.4")
    page.wait_for_selector(".before-after")
    assert "h.0.attn.out" in page.url
    page.wait_for_function(r"() => document.querySelector('.tour-text').textContent.match(/0\.\d/)")


def test_a_card_tells_the_page_s_own_numbers(browser, address):
    page = opened(browser, address, lang="en", tour="attention.6")
    card_shown(page, "attention.6")
    page.wait_for_function("() => document.querySelector('.tour-text').textContent.includes('1.000')")
    page = opened(browser, address, lang="en", tour="roots.2")
    card_shown(page, "roots.2")
    value = page.inner_text(".inspector .big")
    page.wait_for_function("value => document.querySelector('.tour-text').textContent.includes(value)", arg=value)


@pytest.mark.parametrize("card", ["tokens.2", "logits.5", "bias.1", "roots.4"])
def test_a_card_leaves_its_target_to_be_seen_at_any_width(browser, address, card):
    page = opened(browser, address, lang="de", width=1440, tour=card)
    for width in (1440, 1024, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        set_view(page, tour="")
        page.wait_for_selector(".tour", state="detached")
        set_view(page, tour=card)
        card_shown(page, card)
        page.wait_for_timeout(300)
        seen, share, wide = page.evaluate("""() => {
            const a = document.querySelector('.tour-ring').getBoundingClientRect();
            const b = document.querySelector('.tour').getBoundingClientRect(), bottom = Math.min(a.bottom, innerHeight);
            const over = Math.max(0, Math.min(bottom, b.bottom) - Math.max(a.top, b.top));
            const across = Math.min(a.right, b.right) > Math.max(a.left, b.left);
            return [Math.min(bottom, innerHeight) - Math.max(0, a.top) - (across ? over : 0), b.height / innerHeight,
                    document.documentElement.scrollWidth]; }""")
        assert seen >= 24, width
        assert share <= 1, width
        assert wide <= width


def test_axe_finds_nothing_in_a_tour(browser, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    for lang, theme, card in [("de", "light", "attention.6"), ("en", "dark", "roots.5"), ("en", "light", "bias.1")]:
        page = opened(browser, address, lang=lang, theme=theme, tour=card)
        card_shown(page, card)
        settled(page)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{card}: {found.generate_report()}"
