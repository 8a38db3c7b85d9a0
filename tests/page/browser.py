"""A browser and a server for the tests of the page: Debian's chromium by playwright, skipped where one is absent."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from urllib.parse import urlencode

import pytest

CHROMIUM = shutil.which("chromium")
PROMPT = "Once upon a time there was a little"


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


@contextlib.contextmanager
def browsing():
    """A browser, without a sandbox as root needs it."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser, address, *, ready="section.station, section.card", width=1280, motion="reduce",
           **view):
    """A page at a view of the address; it collects what a test must not find in `page.faults`."""
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion=motion,
                                  locale="en-US")
    page = context.new_page()
    page.faults, page.foreign, origin = [], [], address.split("#")[0]
    page.on("console", lambda said: page.faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda one: None if one.url.startswith((origin, "data:")) else page.foreign.append(one.url))
    page.goto(f"{address}&{urlencode(view)}")
    page.wait_for_selector(ready)
    return page
