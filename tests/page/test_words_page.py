"""The map of words in a real browser: no name covers another or a point."""

from __future__ import annotations

import itertools

import pytest

from page.browser import opened

CROWDED = "king queen man woman father mother son daughter brother sister boy girl"


@pytest.mark.parametrize("width", [390, 1280])
def test_no_name_on_the_map_covers_another_or_a_point(browser, address, width):
    page = opened(browser, address, screen="words", lang="en", width=width)
    field = page.locator(".select.grow input")
    field.fill(CROWDED)
    field.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.plane .word:not(.still) text').length === 12")
    def boxes(selector):
        return page.eval_on_selector_all(f".plane .word:not(.still) {selector}", """all => all.map(one => {
            const { x, y, width, height } = one.getBBox(); return [x, x + width, y, y + height]; })""")

    def meet(a, b):  # a line's box has air above and below its letters
        return a[0] < b[1] and b[0] < a[1] and a[2] + 3 < b[3] - 3 and b[2] + 3 < a[3] - 3

    names, points = boxes("text"), boxes("circle")
    assert len(names) == len(points) == 12
    assert not [pair for pair in itertools.combinations(names, 2) if meet(*pair)]
    assert not [(name, point) for name in names for point in points if meet(name, point)]
