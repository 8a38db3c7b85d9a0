"""A browser and a server for the tests of the page: Debian's chromium by playwright, skipped where one is absent."""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

import nextword

CHROMIUM = shutil.which("chromium")
PROMPT = "Once upon a time there was a little"
STATIONS = "tokens,embedding,attention,mlp,stream,chance,next"
LANGUAGES = ["en", "de"]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TEXTS = Path(nextword.__file__).parent / "page" / "static" / "text"


@contextlib.contextmanager
def serving(*arguments):
    """`nextword explain` on a free port; gives the address that it prints."""
    for library in ("starlette", "uvicorn"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra serve)")
    command = [sys.executable, "-m", "nextword", "explain", "--no-browser", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


_shared = {"users": 0}  # playwright is started once in a process


@contextlib.contextmanager
def browsing():
    """A browser, without a sandbox as root needs it; one for all who browse at the same time."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    if not _shared["users"]:
        api.expect.set_options(timeout=30_000)  # as all other waits: how busy a machine is decides no test
        _shared["playwright"] = api.sync_playwright().start()
        _shared["browser"] = _shared["playwright"].chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    _shared["users"] += 1
    try:
        yield _shared["browser"]
    finally:
        _shared["users"] -= 1
        if not _shared["users"]:
            _shared["browser"].close()
            _shared["playwright"].stop()


def opened(browser, address, *, ready="section.station, section.card", width=1280, motion="reduce",
           **view):
    """A page at a view of the address; it collects what a test must not find in `page.faults`."""
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion=motion,
                                  locale="en-US")
    page = context.new_page()
    page.faults, page.foreign, page.asked, origin = [], [], set(), address.split("#")[0]
    page.on("request", lambda one: page.asked.add(one))
    page.on("requestfinished", lambda one: page.asked.discard(one))
    page.on("requestfailed", lambda one: page.asked.discard(one))
    page.on("console", lambda said: page.faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda one: None if one.url.startswith((origin, "data:")) else page.foreign.append(one.url))
    page.goto(f"{address}&{urlencode(view)}")
    if ready:
        page.wait_for_selector(ready)
    return page


def visit(page, **view):
    """Another view in a page that is open, with nothing left of what was chosen in the one before."""
    page.evaluate("""async fields => {
        const key = new URLSearchParams(location.hash.slice(1)).get("key");
        const go = view => new Promise(done => {
            const now = `#${new URLSearchParams({ key, ...view })}`;
            if (location.hash === now) { done(); return; }
            addEventListener("hashchange", () => requestAnimationFrame(() => setTimeout(done)), { once: true });
            location.hash = now;
        });
        await go({ screen: fields.screen === "bench" ? "walk" : "bench", lang: fields.lang });
        await go(fields); }""", {name: str(value) for name, value in view.items()})


def set_view(page, **fields):
    """Change some fields of the view that a page shows."""
    page.evaluate("fields => { const now = new URLSearchParams(location.hash.slice(1));"
                  " for (const name in fields) now.set(name, fields[name]); location.hash = now; }", fields)


# Nothing is awaited: no grey field, no prompt that is read, no station in view whose module has not come.
CALM = """() => !document.querySelector("main .skeleton, [aria-busy=true], .busy") && document.querySelector("main > *")
    && [...document.querySelectorAll(".station:not(:has(.summary))")].every(one => {
        const box = one.getBoundingClientRect(); return box.bottom < 0 || box.top > innerHeight; })"""


def settled(page, seconds=30):
    """Wait until a page that `opened` gave asks for nothing more, and shows what it asked for."""
    until, calm = time.monotonic() + seconds, 0
    while calm < 3:
        assert time.monotonic() < until, f"still awaited: {[one.url for one in page.asked]}"
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        calm = calm + 1 if not page.asked and page.evaluate(CALM) else 0


def texts(lang):
    """A function that gives the page's text of a key in a language."""
    table = json.loads((TEXTS / f"{lang}.json").read_text("utf-8"))

    def text(key, **values):
        found = table[key]
        for name, value in values.items():
            found = found.replace(f"{{{name}}}", str(value))
        return found

    return text


def page_numbers():
    """tools/page_numbers.py as a module."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
    try:
        return importlib.import_module("page_numbers")
    finally:
        sys.path.pop(0)


def shown(text):
    """A token's text as the page writes it."""
    return text.replace(" ", "·").replace("\n", "⏎")


def four(value):
    """A number as the page writes it."""
    return format(float(value), ".4g")


def signed(value):
    """A number whose sign is always seen."""
    return ("+" if value > 0 else "") + four(value)
