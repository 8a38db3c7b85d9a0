"""What the browser loads, and when: the first screen at first, a station when it is seen, a screen when opened."""

from __future__ import annotations

import re

import pytest

from nextword.page.single import document
from page.browser import PROMPT, STATIONS, opened, settled, texts
from page.test_static import FIRST


def loaded(page):
    """Bytes of every file of the page that came, by its path."""
    settled(page)
    return dict(page.evaluate("""() => ['resource', 'navigation'].flatMap(kind => performance.getEntriesByType(kind))
        .filter(one => !one.name.includes('/api/')).map(one => [new URL(one.name).pathname, one.decodedBodySize])"""))


@pytest.mark.parametrize("lang", ["de", "en"])
def test_the_first_screen_loads_what_it_shows(browser, address, lang):
    page = opened(browser, address, prompt=PROMPT, lang=lang)
    page.wait_for_selector("#inside-tokens .chip")
    came = loaded(page)
    assert f"/page/text/{lang}/first.json" in came
    named = page.eval_on_selector_all("[rel=modulepreload]", "all => all.map(x => new URL(x.href).pathname)")
    assert set(named) == {path for path in came if path.endswith((".js", ".mjs"))}
    later = ("attention", "mlp", "stream", "inspector", "words", "tour")
    assert not {f"/page/{name}.js" for name in later} & came.keys()
    assert not any("later.json" in path for path in came)
    assert sum(came.values()) <= FIRST


def test_the_frame_is_painted_before_any_module_runs(browser, address):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    assert page.locator("header .brand").inner_text() == "nextword"


def test_a_station_comes_when_it_is_seen_and_the_focus_stays_where_it_was(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", open="")
    heading = page.locator("#station-next h2 button")
    heading.focus()
    page.wait_for_selector("#station-next .summary")
    assert heading.evaluate("x => document.activeElement === x")
    assert "/page/next_word.js" in loaded(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("#inside-next .bars")


def test_a_part_that_cannot_be_fetched_says_so(browser, address):
    page = opened(browser, address, prompt=PROMPT, lang="en", open="")
    page.route("**/page/words.js", lambda route: route.abort())
    page.click("nav button:text-is('Words')")
    page.wait_for_selector("main [role=alert]")
    assert "could not be loaded" in page.inner_text("main [role=alert]")


def test_the_file_opens_its_parts_and_its_tours_without_a_network(browser, lm, tmp_path):
    path = tmp_path / "walk.html"
    path.write_text(document(lm, PROMPT, lang="en"), "utf-8")
    context = browser.new_context(offline=True, locale="en-US", reduced_motion="reduce")
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    page.click("#station-attention h2 button")
    page.wait_for_selector("#inside-attention .row-table")
    page.click(".tours button:text-is('Attention')")
    for at in range(1, 10):
        page.wait_for_selector(f'.tour[data-card="attention.{at}"]')
        page.wait_for_selector(".tour-ring")
        page.wait_for_selector(".tour .told", state="detached")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    page.click(".tours button:text-is('What if …')")
    page.evaluate("location.hash = new URLSearchParams({ tour: 'whatif.4' })")
    page.wait_for_selector('.tour[data-card="whatif.4"] .told')  # it says what it needs
    assert page.locator("[role=alert]").count() == 0
    assert faults == []


@pytest.fixture
def of_file(browser, lm, tmp_path):
    """The file of a prompt, opened without a network."""
    path = tmp_path / "walk.html"
    path.write_text(document(lm, PROMPT, lang="de"), "utf-8")
    page = browser.new_context(offline=True, locale="en-US", reduced_motion="reduce").new_page()
    page.goto(f"{path.as_uri()}#open={STATIONS}")
    page.wait_for_selector("#inside-next .bars")
    page.wait_for_selector("#inside-stream .parts-table tfoot")
    return page


def test_the_file_is_open_to_everyone_and_prints_its_stations(of_file):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(of_file)
    assert found.violations_count == 0, found.generate_report()
    assert len(re.findall(rb"/Type /Page\b", of_file.pdf(format="A4"))) >= 4


def test_the_file_says_what_it_does_not_hold(of_file):
    t = texts("de")
    nav = of_file.get_by_role("navigation", name=t("nav.label")).get_by_role("button")
    nav.nth(2).click()
    of_file.wait_for_selector(f"#pull .hint:text-is('{t('missing.file')}')")
    nav.nth(1).click()
    of_file.wait_for_selector(f"#patch .hint:text-is('{t('missing.file')}')")
    assert t("words.refused") not in of_file.inner_text("main")
