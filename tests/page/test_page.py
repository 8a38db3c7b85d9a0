"""The page in a real browser: it loads alone, and what it computes itself is what the library computes."""

from __future__ import annotations

import json

import numpy as np

import nextword
from nextword.decoding.sampling import uniform
from page.browser import PROMPT, STATIONS, settled


def test_the_page_loads_alone_and_in_order(open_page):
    page = open_page(prompt=PROMPT, lang="en", open=STATIONS)
    settled(page)
    assert page.faults == []
    assert page.foreign == []
    assert page.locator("section.station h2").count() == 7
    assert page.locator(".skeleton").count() == 0


def test_numbers_are_printed_as_python_prints_them(open_page):
    page = open_page()
    rng = np.random.default_rng(0)
    values = [*(rng.standard_normal(300) * 10.0 ** rng.integers(-9, 9, 300)).astype(np.float32).tolist(), 0.0, -0.0,
              1.0625, 1.1875, 10.625, 0.00010625, 9999.5, 99995.0, 1e-5, 123456.0, -2.5]
    shown = page.evaluate("async values => { const { short } = await import('page/format.js');"
                          " return values.map(x => short(x)); }", values)
    assert shown == [format(x, ".4g") for x in values]


def test_the_bench_draws_the_library_s_numbers(open_page):
    page = open_page()
    cases = [(1, 0, 0), (7, 3, 2), (2**32 - 1, 0, 99)]
    drawn = page.evaluate("async cases => { const { philox } = await import('page/philox.js');"
                          " return cases.map(c => philox(...c)); }", cases)
    assert drawn == [uniform(*case) for case in cases]


def test_the_sliders_preview_is_the_library_s_step(open_page):
    page = open_page()
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


def test_each_term_of_a_projection_leads_to_the_number_that_it_was_made_of(open_page):
    page = open_page(prompt=PROMPT, lang="en", open="", cell=json.dumps({"name": "h.1.attn.out", "index": [3, 5]}))
    page.wait_for_selector(".inspector .terms")
    terms = page.evaluate("() => [...document.querySelectorAll('.inspector .terms tbody tr')].map(row =>"
                          " [Number(row.querySelector('th').textContent), row.querySelector('button')?.textContent])")
    terms = [(row, int(at), value) for row, (at, value) in enumerate(terms) if value]  # the bias has no factors
    beyond = [term for term in terms if term[1] >= 64]  # head 0 has 64 columns
    assert beyond
    for row, at, value in beyond[:3]:
        page.locator(".inspector .terms tbody tr").nth(row).locator("button").first.click()
        page.wait_for_selector(f".inspector .name:has-text('h.1.attn.z[{at // 64}, 3, {at % 64}]')")
        page.wait_for_function("value => document.querySelector('.inspector .big')?.textContent === value", arg=value)
        page.evaluate("cell => { const now = new URLSearchParams(location.hash.slice(1)); now.set('cell', cell);"
                      " location.hash = now; }", json.dumps({"name": "h.1.attn.out", "index": [3, 5]}))
        page.wait_for_selector(".inspector .terms")
        page.wait_for_selector(".inspector .name:has-text('h.1.attn.out[3, 5]')")


def test_temperature_is_one_click_away_from_the_first_screen(page_of, t):
    page = page_of(prompt=PROMPT, open="tokens")
    page.locator(".follow button", has_text=t("follow.temperature", value="1")).click()
    slider = page.locator("#temperature")
    slider.wait_for()
    page.wait_for_function("""() => {
        const { top, bottom } = document.getElementById("temperature").getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight; }""")


def test_a_readout_names_the_column(page_of, t):
    page = page_of(prompt=PROMPT, open="mlp")
    readout = page.locator(".heat[data-name='h.0.ln_2'] .readout")
    readout.wait_for()
    assert readout.locator("span").inner_text() == t("picture.column", column=0)
