"""The page's screens "To scale", the bench and words in a real browser: drawn and told are the library's numbers."""

from __future__ import annotations

import math

import pytest

import nextword
from nextword.models.gpt2 import GPT2Config
from page.browser import opened

# Sums of the published shapes (Radford et al. 2019), as transformers counts them.
PUBLISHED = {"GPT-2 124M": 124_439_808, "GPT-2 355M": 354_823_168, "GPT-2 774M": 774_030_080,
             "GPT-2 1558M": 1_557_611_200}


@pytest.fixture(scope="module")
def lm():
    return nextword.load()


def whole(text):
    return int(text.replace(",", "").replace(".", ""))


def evaluated(page, module, expression):
    return page.evaluate(f"async () => {{ const m = await import('page/{module}.js'); return {expression}; }}")


def sizes(lm):
    """name -> count, of the library."""
    return {name: math.prod(x.shape) for name, x in lm.model.tensors().items()}


def test_tensors_that_are_computed_from_a_configuration_are_those_of_the_model(browser, address, lm):
    page = opened(browser, address, screen="scale", lang="en", ready="#ledger")
    told = evaluated(page, "sizes", "m.tensorsOf(m.FAMILY.find(one => one.name === 'demo'))")
    assert {part["name"]: part["count"] for part in told} == sizes(lm)
    nano = nextword.load("nextword:nano-sort")
    told = evaluated(page, "sizes", "m.tensorsOf(m.FAMILY.find(one => one.name === 'nano-sort'))")
    assert {part["name"]: part["count"] for part in told} == sizes(nano)
    usual = evaluated(page, "sizes", "m.FAMILY.find(one => one.name === 'GPT-2 124M')")
    config = GPT2Config()
    assert [usual[name] for name in ("vocabulary", "window", "layers", "width")] == [
        config.vocab_size, config.n_positions, config.n_layer, config.n_embd]
    assert page.faults == []


def test_the_ledger_adds_up_to_the_total(browser, address, lm):
    page = opened(browser, address, screen="scale", lang="en", ready="#ledger")
    for name in [*PUBLISHED, "demo"]:
        page.click(f"#models button:text-is('{name}')")
        page.wait_for_function("name => document.querySelector('#ledger-title').textContent.includes(name)", arg=name)
        rows = [whole(text) for text in page.locator("#ledger [data-count]").all_inner_texts()]
        total = whole(page.inner_text("#sum"))
        assert sum(rows) == total == PUBLISHED.get(name, sum(sizes(lm).values()))
        assert whole(page.inner_text(f"[data-total='{name}']")) == total
        page.locator("details:has(#every)").evaluate("details => { details.open = true; }")
        every = [whole(text) for text in page.locator("#every td:last-child").all_inner_texts()]
        assert sum(every) == total


def test_areas_and_proportions_are_true_and_nothing_overlaps(browser, address):
    page = opened(browser, address, screen="scale", lang="en", ready="#ledger")
    boxes = page.evaluate("""async () => { const { models } = await import('page/sizes.js');
      const { skyline } = await import('page/skyline.js'); const { model } = await import('page/run.js');
      return skyline(models(model.value)).boxes
        .map(({ x, y, w, h, part }) => ({ x, y, w, h, shape: part.shape, count: part.count })); }""")
    drawn = page.evaluate("[...document.querySelectorAll('.sheet rect[data-at]')].map(one =>"
                          " ['x', 'y', 'width', 'height'].map(name => one[name].baseVal.value))")
    assert len(drawn) == len(boxes) > 1500
    for box, rect in zip(boxes, drawn, strict=True):
        assert box["w"] * box["h"] == box["count"]
        assert sorted([box["w"], box["h"]]) == sorted([1, *box["shape"]][-2:])
        assert rect == pytest.approx([box[name] for name in "xywh"], rel=1e-6)  # SVG holds float32
    # sorted by their left sides, each is compared with those that begin before it ends
    boxes.sort(key=lambda box: box["x"])
    for i, a in enumerate(boxes):
        for b in boxes[i + 1:]:
            if b["x"] >= a["x"] + a["w"]:
                break
            assert b["y"] >= a["y"] + a["h"] or a["y"] >= b["y"] + b["h"], (a, b)


def test_tables_fit_on_a_phone(browser, address):
    page = opened(browser, address, screen="scale", lang="de", width=390, ready="#ledger")
    page.locator("details:has(#every)").evaluate("details => { details.open = true; }")
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.eval_on_selector_all(".scroll", "all => all.filter(one => one.scrollWidth > one.clientWidth)"
                                         ".map(one => one.ariaLabel)") == []


def test_a_matrix_is_told_when_it_is_pointed_at_or_reached_by_keys(browser, address):
    page = opened(browser, address, screen="scale", lang="en", ready="#ledger")
    page.focus(".sheet")
    assert page.inner_text("#tensor").startswith("GPT-2 124M wte.weight 50,257 \u00d7 768 = 38,597,376")
    page.keyboard.press("PageUp")
    page.wait_for_function("() => document.querySelector('#tensor').textContent.startsWith('demo')")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('#tensor').textContent.includes('wpe.weight')")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.press("+")
    page.keyboard.press("0")
    page.click(".choice button:text-is('nano-sort')")
    page.wait_for_function("() => document.querySelector('.sheet svg').viewBox.baseVal.width < 2000")  # it flew there
    page.locator(".sheet rect[data-at='4']").hover()
    page.wait_for_function("() => document.querySelector('#tensor code').textContent === 'h.0.attn.c_attn.weight'")
    assert "48 \u00d7 144 = 6,912" in page.inner_text("#tensor")
    page.mouse.move(0, 0)
    page.wait_for_function("() => document.querySelector('#tensor code').textContent === 'wte.weight'")
    assert page.faults == []


def test_zoom_keeps_the_scale_bar_true(browser, address):
    page = opened(browser, address, screen="scale", lang="en", ready="#ledger")
    page.wait_for_function("() => document.querySelector('.sheet svg').viewBox.baseVal.width > 0")
    for button in ("All models", "Larger", "Larger", "demo"):
        page.get_by_role("button", name=button, exact=True).first.click()
        page.wait_for_timeout(100)
        unit = page.evaluate("(() => { const svg = document.querySelector('.sheet svg');"
                             " return svg.getBoundingClientRect().width / svg.viewBox.baseVal.width; })()")
        bar = page.locator(".scale-bar span").bounding_box()["width"]
        told = whole(page.inner_text(".scale-bar").split()[0])
        inside = page.evaluate("document.querySelector('.scale-bar').clientWidth - 24")
        whole_width = page.evaluate("document.querySelector('.sheet svg').getBoundingClientRect().width")
        assert bar == pytest.approx(told * unit * inside / whole_width, abs=1.5)


def test_a_linear_map_moves_the_words_and_their_products(browser, address):
    page = opened(browser, address, screen="bench", lang="en")
    page.click("#linear >> text=shears")
    words = {"apple": (2, 2), "orange": (0, 3), "phone": (4, 0)}
    moved = {name: (x + y, y) for name, (x, y) in words.items()}
    for a, b in [("apple", "orange"), ("apple", "phone"), ("orange", "phone")]:
        cells = page.locator(f"#before-after [data-pair={a}-{b}] td").all_inner_texts()
        products = [sum(p * q for p, q in zip(where[a], where[b], strict=True)) for where in (words, moved)]
        assert [float(cell) for cell in cells] == products
    scores = [sum(p * q for p, q in zip(moved["apple"], at, strict=True)) / math.sqrt(2) for at in words.values()]
    powers = [math.exp(score) for score in scores]
    shares = [one / sum(powers) for one in powers]
    assert page.locator("#asks td:nth-child(4)").all_inner_texts() == [f"{one:.2f}" for one in shares]
    assert "Determinant 1:" in page.inner_text("#determinant")
    page.click("#linear >> text=flattens")
    assert "Determinant 0:" in page.inner_text("#determinant")


def test_the_image_of_a_unit_vector_can_be_dragged_and_typed(browser, address):
    page = opened(browser, address, screen="bench", lang="en")
    handle = page.locator("#linear [data-drag='0'] circle").first
    handle.scroll_into_view_if_needed()
    box, plane = handle.bounding_box(), page.locator("#linear svg").nth(1).bounding_box()
    unit = plane["width"] / 9
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + unit, y + 2 * unit, steps=3)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#determinant').textContent.includes('Determinant 2:')")
    entries = page.locator(".matrix-entries input").evaluate_all("all => all.map(one => one.value)")
    assert entries == ["2", "0", "-2", "1"]
    page.fill(".matrix-entries input >> nth=3", "-1")
    assert "Determinant -2:" in page.inner_text("#determinant")


def test_texts_are_counted_exactly_and_halving_finds_every_number(browser, address):
    page = opened(browser, address, screen="bench", lang="en")
    for size, n in [(50257, 20), (4096, 1), (4096, 512), (3, 11), (50257, 1024)]:
        told, exact = evaluated(page, "counting", f"m.texts({size}, {n})"), size**n
        if "few" in told:
            assert told["few"] == exact
        else:
            assert float(told["lead"]) == round(exact * 100 // 10**told["power"] / 100, 2) or (
                float(told["lead"]) == round((exact * 100 // 10**told["power"] + 1) / 100, 2))
            assert 10**told["power"] <= exact < 10 ** (told["power"] + 1)
    fewest = evaluated(page, "counting", "m.enough(50257, 90)")
    assert 50257 ** (fewest - 1) <= 10**90 < 50257**fewest
    page.click("#halving button:text-is('16')")
    for yes in (True, False, True, True):
        page.click(f"#halving button:text-is('{'Yes' if yes else 'No'}')")
    assert "number 4, found with 4" in page.inner_text("#asked")


def test_the_pull_of_a_context_is_the_library_s(browser, address, lm):
    page = opened(browser, address, screen="words", lang="en", ready="#between")
    contexts = ["She wore a golden ring", "I heard the bell ring"]
    found = lm.pull("ring", contexts, [" gold", " bell"])
    page.click("#pull summary")
    for row, name in enumerate(found.names):
        cells = page.locator(f"#pulls [data-row='{name}'] td").all_inner_texts()
        assert cells == [format(x, ".4g") for x in found.cosines[:, row].ravel().tolist()]
    page.get_by_label("Word", exact=True).fill("crown")
    page.keyboard.press("Tab")
    page.wait_for_selector("#pull .told:has-text('crown')")
    assert page.faults == []


def test_the_map_takes_differences_of_words_as_axes(browser, address, lm):
    page = opened(browser, address, screen="words", lang="en", ready="#similarity")
    page.fill("#axes input >> nth=0", "queen - king")
    page.keyboard.press("Tab")
    page.wait_for_selector("svg.plane text:has-text('queen \u2212 king')")
    words = [f" {word}" for word in ("king", "queen", "man", "woman", "father", "mother")]
    points = lm.word_map(words, [(" queen", " king")]).points
    label = page.get_attribute("figure:has(svg.plane) svg[aria-label^='Map']", "aria-label")
    for word, point in zip(words, points.tolist(), strict=True):
        assert f"{word.replace(' ', '·')} ({format(point[0], '.2g')}, {format(point[1], '.2g')})" in label


def test_the_skyline_fits_small_screens(browser, address):
    page = opened(browser, address, width=320, lang="de", screen="scale", ready="#ledger")
    for width in (320, 390, 768):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_model_that_is_none_of_the_family_stands_beside_it(browser, address):
    page = opened(browser, address, screen="scale", lang="en", ready="#ledger")
    assert page.locator("#models tbody tr").count() == 6
    assert "demo open here" in page.inner_text("#models tr:has-text('open here') th")
    own = """m.models({ name: 'mine', layers: 2, width: 6, vocabulary: 40, parameters: { parts:
      m.tensorsOf({ vocabulary: 40, window: 5, layers: 2, width: 6 }).map(one =>
        one.name === 'wte.weight' ? { ...one, shape: [6, 40] } : one) } })"""
    drawn = evaluated(page, "sizes", own)
    assert [(one["name"], one["own"]) for one in drawn[5:]] == [("GPT-2 1558M", False), ("mine", True)]
    assert drawn[6]["parts"][0]["shape"] == [40, 6]  # as in files, a row a token
