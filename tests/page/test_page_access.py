"""Everyone can use the page: by keyboard, by screen reader, on a phone, without motion; every screen that it lists."""

from __future__ import annotations

import json

import pytest

from page.browser import PROMPT, STATIONS, set_view, settled

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
WIDTHS = (320, 390, 768, 1440)
LONG = "Die Donaudampfschifffahrtsgesellschaft"
RULE = {"name": "h.1.attn.z", "heads": [1], "how": "scale", "factor": 2}
CELL = {"name": "h.1.ln_1", "index": [1, 2]}
# Notes each element that gets the keyboard: a name for it, and whether its focus can be seen.
WATCHED = """() => {
    let visits = 0;
    window.focused = [];
    document.addEventListener("focusin", ({ target }) => {
        const style = getComputedStyle(target), box = target.getBoundingClientRect();
        target.dataset.visit ??= `${++visits}`;
        const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0;
        window.focused.push({ name: target.dataset.visit, html: target.outerHTML.slice(0, 120),
            seen: seen && box.height > 0 });
    });
    window.forget = () => {
        document.querySelectorAll("[data-visit]").forEach(one => delete one.dataset.visit);
        visits = 0;
        document.activeElement.blur();
        scrollTo(0, 0);
        document.body.setAttribute("tabindex", "-1");
        document.body.focus();
        document.body.removeAttribute("tabindex");
        delete document.body.dataset.visit;
        window.focused = [];
    };
}"""


def screens(page, t):
    """Shows every screen that the page lists, one after the other; gives the name of each."""
    nav = page.get_by_role("navigation", name=t("nav.label")).get_by_role("button")
    for at in range(nav.count()):
        nav.nth(at).click()
        settled(page)
        yield nav.nth(at).inner_text()


# The keyboard


def test_the_stations_are_walked_by_keys(open_page, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open="")
    keys = page.keyboard
    for station in STATIONS.split(","):
        heading = page.locator(f"#station-{station}").get_by_role("button", name=t(f"walk.{station}.title"), exact=True)
        tab_to(page, heading)
        keys.press("Enter")
        expect(heading).to_have_attribute("aria-expanded", "true")
        expect(page.locator(f"#inside-{station}")).to_be_visible()
    for station in reversed(STATIONS.split(",")):
        heading = page.locator(f"#station-{station}").get_by_role("button", name=t(f"walk.{station}.title"), exact=True)
        heading.focus()
        keys.press("Enter")
        expect(heading).to_have_attribute("aria-expanded", "false")


def tab_to(page, wanted, most=120):
    """Press Tab until an element has the keyboard."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached by {most} presses of Tab")


def test_grids_inspector_and_switches_are_used_by_keys_and_give_the_keyboard_back(open_page, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open="attention", layer=0, head=0)
    keys, hash_ = page.keyboard, "() => new URLSearchParams(location.hash.slice(1))"
    station = page.locator("#inside-attention")
    station.get_by_role("group", name=t("attention.heads")).locator("[aria-pressed=true]").focus()
    keys.press("ArrowRight")
    keys.press("Enter")
    page.wait_for_function(f"{hash_}.get('head') === '1'")
    cell = station.locator("table button.value").nth(3)
    cell.focus()
    keys.press("Enter")
    inspector = page.get_by_role("complementary", name=t("inspector.title"))
    expect(inspector).to_be_visible()
    expect(inspector.get_by_role("heading", name=t("inspector.title"))).to_be_focused()
    keys.press("Escape")
    expect(inspector).to_have_count(0)
    expect(cell).to_be_focused()
    switch = page.get_by_role("button", name=t("switch.head", layer=0, head=1))
    switch.focus()
    keys.press("Space")
    expect(switch).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("region", name=t("switches.title"))).to_be_visible()
    expect(switch).to_be_focused()
    keys.press("Space")
    expect(switch).to_have_attribute("aria-pressed", "false")
    page.evaluate("document.activeElement.blur()")
    keys.press("l")
    page.wait_for_function(f"{hash_}.get('layer') === '1'")
    keys.press("h")
    page.wait_for_function(f"{hash_}.get('head') === '2'")
    keys.press("/")
    expect(page.get_by_label(t("prompt.label"))).to_be_focused()
    page.evaluate("document.activeElement.blur()")
    keys.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_no_screen_traps_the_keyboard_and_focus_is_always_seen(open_page, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open=STATIONS)
    page.evaluate(WATCHED)
    for name in screens(page, t):
        page.evaluate("forget()")
        visited, again = {}, None
        for _ in range(24):
            for _ in range(25):
                page.keyboard.press("Tab")
            for found in page.evaluate("focused.splice(0)"):
                if found["name"] in visited:
                    again = again or found
                elif not again:
                    visited[found["name"]] = found
            if again:
                break
        assert again is None or again["name"] == next(iter(visited)), f"{name}: trapped at {again['html']}"
        assert [found["html"] for found in visited.values() if not found["seen"]] == [], name
        left = page.evaluate("""() => [...document.querySelectorAll("main *, header *")]
            .filter(one => one.tabIndex >= 0 && !one.disabled && one.checkVisibility() && !one.dataset.visit)
            .map(one => one.outerHTML.slice(0, 120))""")
        assert left == [], f"{name}: never reached"


# Screen readers


@pytest.mark.parametrize(("lang", "theme"), [("de", "light"), ("en", "dark")])
def test_axe_finds_nothing_on_any_screen(open_page, lang, t, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(prompt=PROMPT, lang=lang, theme=theme, open=STATIONS)

    def check(name):
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"

    for name in screens(page, t):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert page.evaluate("document.documentElement.lang") == lang
        check(name)
    set_view(page, screen="walk", open="", off=json.dumps([RULE]), cell=json.dumps(CELL))
    expect(page.get_by_role("complementary", name=t("inspector.title")).locator(".big")).to_be_visible()
    expect(page.get_by_role("region", name=t("switches.title"))).to_be_visible()
    check("inspector and switches")
    set_view(page, prompt="", cell="null")
    page.get_by_role("button", name=t("help.title")).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check("help")


# Widths, motion


def test_nothing_scrolls_sideways(open_page, lang, t):
    page = open_page(prompt=LONG, lang=lang, open=STATIONS)
    for name in screens(page, t):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} at {width} px"
        page.set_viewport_size({"width": 1280, "height": 900})


def test_nothing_moves_for_who_asks_for_no_motion(open_page, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open=STATIONS)
    for name in screens(page, t):
        moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter(one => {
            const style = getComputedStyle(one), longest = text => Math.max(...text.split(",").map(parseFloat));
            return (style.animationName !== "none" && longest(style.animationDuration) > 0.001)
                || longest(style.transitionDuration) > 0.001; }).map(one => one.outerHTML.slice(0, 120))""")
        assert moving == [], name
        assert page.evaluate("document.getAnimations().length") == 0, name
    page.get_by_role("navigation", name=t("nav.label")).get_by_role("button").first.click()
    page.get_by_role("button", name=t("play.play"), exact=True).click()
    expect(page.locator(".grown")).to_have_count(1)
    settled(page)
    expect(page.locator(".grown")).to_have_count(1)  # a word, and no film
    expect(page.get_by_role("button", name=t("play.play"), exact=True)).to_be_visible()
