"""Station 3 in a real browser: the four views of a head, long prompts, and strips that never show old numbers."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

import nextword
from page.browser import PROMPT, opened, settled

LONG = "Once upon a time there was a little girl who lived in a wood. " * 20


@pytest.fixture(scope="module")
def lm():
    return nextword.load()


def attention(browser, address, prompt=PROMPT, view=None, **more):
    page = opened(browser, address, prompt=prompt, lang="en", open="attention", layer=3, head=2, **more)
    page.wait_for_selector(".row-table")
    if view:
        page.click(f"#station-attention button:text-is('{view}')")
    return page


def test_text_shows_the_weights_and_the_values_they_take(browser, address, lm):
    page = attention(browser, address, view="Text")
    small = ".shaded small"
    page.wait_for_selector(small)
    found = lm.inside(PROMPT).attention(3, 2)
    assert page.locator(small).all_inner_texts() == [format(float(w), ".2g") for w in found.weights[-1]]
    page.click("button:text-is('weight \u00d7 value')")
    expected = [format(float(np.float32(w)), ".2g") for w in found.value_weighted()[-1]]
    page.wait_for_selector(f".shaded small:text-is('{expected[0]}')")
    assert page.locator(small).all_inner_texts() == expected


def test_the_area_of_a_dot_is_the_weight_and_what_is_masked_is_hatched(browser, address, lm):
    page = attention(browser, address, view="Dots")
    page.wait_for_selector(".dotted")
    weights = lm.inside(PROMPT).attention(3, 2).weights.astype(np.float64)
    areas = np.array([float(dot.get_attribute("r")) ** 2 for dot in page.locator(".dotted circle").all()])
    expected = weights[np.tril_indices(len(weights))]
    np.testing.assert_allclose(areas / areas.max(), expected / expected.max(), rtol=1e-6)
    assert page.locator(".dotted .hatch").count() == 1


def test_lines_are_as_thick_as_the_weights(browser, address, lm):
    page = attention(browser, address, view="Lines")
    page.wait_for_selector(".lines line", state="attached")
    row = lm.inside(PROMPT).attention(3, 2).weights[-1]
    drawn = [float(line.get_attribute("stroke-width")) for line in page.locator(".lines .looks").all()]
    most = float(lm.inside(PROMPT).attention(3, 2).weights.max())
    expected = [max(0.4, 7 * float(w) / most) for w in row if w > 0.02 * most]
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)


def test_a_long_prompt_has_an_overview_and_an_exact_part(browser, address, lm):
    page = attention(browser, address, prompt=LONG)
    page.wait_for_selector("h4")
    weights = lm.inside(LONG).attention(3, 2).weights
    count = len(weights)
    assert 256 < count <= 512
    part = page.locator(".heat.matrix").last
    part.locator("summary").click()
    page.wait_for_selector(".as-table tbody tr")
    first = count - 64
    shown = [row.locator("td").all_inner_texts() for row in part.locator("tbody tr").all()]
    assert shown == [[format(float(w), ".4g") for w in row] for row in weights[first:, first:]]
    overview = page.locator(".heat.matrix").first
    box = overview.locator("canvas").bounding_box()
    overview.locator(".canvas").click(position={"x": 2, "y": box["height"] / 2})
    page.wait_for_selector("h4:has-text('keys 0\u201363')")
    row = int(re.search(r"queries (\d+)", page.inner_text("h4"))[1])
    page.wait_for_selector(".heat.matrix:not(.stale) >> nth=1 >> tbody tr")
    shown = part.locator("tbody tr").first.locator("td").all_inner_texts()
    assert shown == [format(float(w), ".4g") for w in weights[row, :64]]
    assert page.faults == []


def test_strips_never_show_the_numbers_of_what_was_followed_before(browser, address, lm):
    """The server's next answers are held back: what is seen meanwhile has no numbers."""
    page = attention(browser, address)
    settled(page)
    held, free = [], threading.Event()

    def hold(route):
        if free.is_set():
            route.continue_()
        else:
            held.append(route)

    page.route("**/tensor?*", hold)
    page.click(".follow .chip >> nth=2")
    page.wait_for_selector(".strip.stale")
    assert page.locator("#station-attention .strip:not(.stale)").count() == 0
    assert set(page.locator("#station-attention .strip .readout b").all_inner_texts()) == {"…"}
    assert page.locator("#station-attention .strip .as-table td").count() == 0
    free.set()
    for route in held:
        route.continue_()
    page.wait_for_selector(".strip.stale", state="detached")
    z = lm.inside(PROMPT)["h.3.attn.z"]
    readouts = page.locator("figure[data-name='h.3.attn.z'] .readout").first.inner_text()
    assert readouts.split() == ["h.3.attn.z[2,", "2,", "0]", format(float(z[2, 2, 0]), ".4g"), "column", "0"]


def test_axe_finds_nothing_in_any_view(browser, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    for theme in ("light", "dark"):
        page = attention(browser, address, theme=theme)
        for view in ("Matrix", "Lines", "Text", "Dots"):
            for of in ("weight \u00d7 value", "weight"):
                page.click(f"#station-attention button:text-is('{view}')")
                page.click(f"#station-attention button:text-is('{of}')")
                settled(page)
                found = axe.Axe().run(page, context="#station-attention")
                assert found.violations_count == 0, f"{view} {of} {theme}: {found.generate_report()}"


PAINTED = """async ([values, rows, cols, kind, causal]) => {
    const { render } = await import("preact"), { html } = await import("page/html.js");
    const { Heat } = await import("page/heat.js"), { ramp, stepOf } = await import("page/colour.js");
    const box = document.body.appendChild(document.createElement("div"));
    render(html`<${Heat} values=${Float32Array.from(values, x => x ?? NaN)} rows=${rows} cols=${cols} kind=${kind}
        limit=${2} unit="" causal=${causal} label="" name="x" index=${(i, j) => [i, j]} />`, box);
    const canvas = box.querySelector("canvas"), scale = canvas.width / cols, table = ramp(kind, "light");
    const drawn = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, wrong = [];
    for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) {
        const value = values[i * cols + j], hidden = value === null || (causal && j > i + cols - rows);
        const [y, x] = [i, j].map(one => Math.floor((one + 0.5) * scale)), at = 4 * (y * canvas.width + x);
        const step = 3 * stepOf(Math.fround(value), kind, 2);
        const found = [...drawn.subarray(at, at + 4)], asked = [...table.subarray(step, step + 3), 255];
        if (hidden ? found[3] === 255 : String(found) !== String(asked)) wrong.push([i, j, found, asked]);
    }
    render(null, box);
    box.remove();
    return wrong.slice(0, 3); }"""


@pytest.mark.parametrize(("rows", "cols"), [(1, 7), (9, 9), (5, 8), (4, 490)])
@pytest.mark.parametrize("kind", ["signed", "share"])
def test_every_cell_of_a_picture_has_the_colour_of_its_number(browser, address, rows, cols, kind):
    page = opened(browser, address, theme="light", lang="en", open="attention")
    page.wait_for_selector("#inside-attention .heat")
    values = np.random.default_rng(rows).uniform(-2 if kind == "signed" else 0, 2, rows * cols).round(4).tolist()
    values[rows * cols // 2] = None
    for causal in (False, True):
        assert page.evaluate(PAINTED, [values, rows, cols, kind, causal]) == []
