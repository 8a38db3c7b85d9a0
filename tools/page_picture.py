"""Take the picture of the page that README.md shows, docs/images/explain.png, with Debian's chromium by playwright.

    python tools/page_picture.py

The walk of a prompt with one attention score opened in the inspector, 1440 px wide, light, in 256 colours.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from urllib.parse import urlencode

import nextword

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "explain.png"
PROMPT = "Once upon a time there was a little"
VIEW = {"theme": "light", "lang": "en", "layer": 3, "head": 2, "open": "attention",
        "cell": json.dumps({"name": "h.3.attn.scores", "index": [2, 8, 4]})}
WIDTH, HEIGHT, COLOURS = 1440, 1000, 256


def main() -> None:
    from PIL import Image
    from playwright.sync_api import sync_playwright

    page = nextword.explain_page(nextword.load(), PROMPT, open_browser=False)
    try:
        with sync_playwright() as api:
            browser = api.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            view = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
            view.goto(f"{page.address}&{urlencode(VIEW)}")
            view.wait_for_selector(".inspector .terms")
            view.wait_for_selector("#inside-attention .row-table")
            view.wait_for_load_state("networkidle")
            view.evaluate("scrollTo(0, 0); document.activeElement.blur()")
            taken = Image.open(io.BytesIO(view.screenshot()))
            browser.close()
    finally:
        page.stop()
    taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
