"""Rows of bench/explain.py that need a browser: from a command, a click or numbers to what is seen.

The browser is Debian's chromium by playwright; it runs before the clock starts. Rows that end in pixels contain the
wait for a frame, up to 16.7 ms. First paint is the page's frame, "first word" the answer in it. A word is stepped where
the reader sees it, at station 7, while all stations are open: "to pixels" is what is in view, "whole way" every number
of every station.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

PROMPT = "Once upon a time there was a little girl who had"
STATIONS = "tokens,embedding,attention,mlp,stream,chance,next"
VOCABULARY, SIDE = 50_257, 1024
# seconds
COMMAND, PAINT, WORD, SLIDER, HEAT = 1.5, 0.3, 0.06, 0.016, 0.04
PIXELS = """
    const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    const until = async (true_, end = performance.now() + 10000) => {
        while (!true_()) {
            if (performance.now() > end) throw new Error("nothing is seen after 10 s");
            await new Promise(done => setTimeout(done));
        }
    };"""

STEP = PIXELS + """
    const station = document.getElementById("inside-next"), count = () => station.querySelectorAll(".grown").length;
    const waiting = () => document.querySelector("main .skeleton, main [aria-busy=true]");
    station.scrollIntoView();
    await until(() => !waiting());
    await new Promise(done => setTimeout(done, 200));
    const before = count(), begun = performance.now();
    station.querySelectorAll(".controls button")[1].click();
    await until(() => count() !== before);
    await frame();"""
STEPPED = STEP + """
    return performance.now() - begun;"""
WHOLE = STEP + """
    await until(waiting);
    await until(() => !waiting());
    await frame();
    return performance.now() - begun;"""
SLID = PIXELS + """
    const slider = document.getElementById("temperature");
    const bars = () => document.querySelector("#inside-chance .bars").innerText;
    const before = bars(), begun = performance.now();
    slider.value = 0.5 + Math.random() * 4;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await until(() => bars() !== before);
    return performance.now() - begun;"""
CHANCES = """
    const { ordered, chances } = await import("page/sampling.js");
    const logits = Float32Array.from({ length: size }, (_, i) => 20 * Math.sin(i * i)), order = ordered(logits);
    const begun = performance.now();
    chances(logits, order, { temperature: 0.5 + Math.random(), top_k: 0, top_p: 0.9, min_p: 0 }, 20);
    return performance.now() - begun;"""
HEATED = PIXELS + """
    const { render } = await import("preact"), { html } = await import("page/html.js"), { Heat } = await import("page/heat.js");
    const values = Float32Array.from({ length: size * size }, (_, i) => Math.abs(Math.sin(i))), box = document.createElement("div");
    document.body.append(box);
    const begun = performance.now();
    render(html`<${Heat} values=${values} rows=${size} cols=${size} kind="share" limit=${1} unit="" causal label="" name="x" index=${(i, j) => [i, j]} />`, box);
    const canvas = box.querySelector("canvas");
    await until(() => canvas.width >= size);
    const found = performance.now() - begun, pixel = canvas.getContext("2d").getImageData(0, 0, 1, 1).data[3];
    render(null, box);
    box.remove();
    if (!pixel) throw new Error("the canvas is empty");
    return found;"""  # noqa: E501 - as the page writes it


def rows(address: str, has_text: bool, rounds: int, model: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of a page that is served at an address. has_text: whether its model has a vocabulary, else there are fewer
    rows. model: arguments of the command that serves the same, or []."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if has_text:
            yield row("command to page ready", [commanded(browser, model) for _ in range(rounds)], COMMAND)
        paints = [painted(browser, address, has_text) for _ in range(rounds)]
        yield row("first contentful paint", [paint for paint, _ in paints], PAINT)
        if has_text:
            yield row("first word", [word for _, word in paints], None)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}&prompt={PROMPT.replace(' ', '+') if has_text else ''}&open={STATIONS}")

        def timed(script: str, size: int = 0) -> Callable[[], float]:
            def run() -> float:
                page.wait_for_load_state("networkidle")
                return float(page.evaluate(f"async size => {{ {script} }}", size)) / 1000
            return run

        if has_text:
            page.wait_for_selector("#inside-next .controls")
            page.wait_for_selector("#inside-chance .bars")
            yield row("a word, to pixels", repeated(timed(STEPPED), rounds), WORD)
            yield row("a word, whole way", repeated(timed(WHOLE), rounds), None)
            yield row("slider, to pixels", repeated(timed(SLID), rounds), None)
        yield row(f"slider, {VOCABULARY:,} logits", repeated(timed(CHANCES, VOCABULARY), rounds), SLIDER)
        yield row(f"heat map {SIDE} x {SIDE}", repeated(timed(HEATED, SIDE), rounds), HEAT)
        browser.close()


def repeated(run: Callable[[], float], rounds: int) -> list[float]:
    """Seconds of so many rounds after one that warms up."""
    run()
    return [run() for _ in range(rounds)]


def commanded(browser: Any, model: list[str]) -> float:
    """Seconds from the command to the next word on the page, in a browser that runs already."""
    command = [sys.executable, "-m", "nextword", "explain", "--no-browser", *model, PROMPT]
    page, begun = browser.new_page(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            page.goto(process.stdout.readline().split()[0])
            page.wait_for_selector("#main mark")
            seconds = time.perf_counter() - begun
            page.close()
        finally:
            process.terminate()
    return seconds


def painted(browser: Any, address: str, has_text: bool) -> tuple[float, float]:
    """Seconds to the first contentful paint, as the browser tells it, with nothing in its cache; and to the next word,
    where the model has words."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    if has_text:
        page.wait_for_selector("#main mark")
    word = page.evaluate("performance.now()")
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    found = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return float(found) / 1000, float(word) / 1000


def row(what: str, seconds: list[float], budget: float | None) -> dict[str, Any]:
    return {"what": what, "tokens": 0, "value": 1000 * statistics.median(seconds), "unit": "ms",
            "budget": None if budget is None else 1000 * budget, "bytes": None}
