"""The page's static files, read once: what a request names is looked up among them, never in a folder.

The texts of a language lie in one file and go out in two: "text/de/first.json" has those of the first screen,
"text/de/later.json" those of what is opened later. The page names the modules of its first screen before the first of
them runs, so that they come side by side, not each once another asks for it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "static"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".mjs": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".json": "application/json; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
         ".txt": "text/plain; charset=utf-8"}
INDEX = "index.html"
# The first words of the keys of all texts on the first screen.
FIRST = frozenset({"and", "close", "error", "file", "follow", "footer", "head", "headline", "help", "language", "layer",
                   "live", "missing", "model", "nav", "play", "print", "prompt", "river", "skip", "step", "stop",
                   "theme", "title", "tokens", "tour", "walk"})  # fmt: skip
STARTS = ("main.js", "tokens.js")  # the modules that the first screen begins with
IMPORT = re.compile(r'(?:^|;)(?:import|export)\b[^;"]*\bfrom ?"([^"]+)"', re.M)
IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.S)


class File(NamedTuple):
    """A file's content, its type for HTTP, and a tag that tells contents apart."""

    data: bytes
    kind: str
    tag: str


@cache
def files() -> dict[str, File]:
    """The files by their paths below `static`, with "/"; those of other types than a page has are left out."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and path.suffix in TYPES:
            for name, data in _sent(path.relative_to(FOLDER).as_posix(), path.read_bytes()):
                tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
                found[name] = File(data, TYPES[path.suffix], tag)
    return found


def _sent(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """What a file goes out as: itself, the page with its modules named, or the texts of a language in two parts."""
    if name == INDEX:
        links = "".join(f'<link rel="modulepreload" href="{address}">\n' for address in _first_modules(data.decode()))
        yield name, data.replace(b'<script type="module"', links.encode() + b'<script type="module"')
        return
    if not name.startswith("text/"):
        yield name, data
        return
    texts = json.loads(data)
    for part, is_first in ("first", True), ("later", False):
        kept = {key: text for key, text in texts.items() if (key.split(".")[0] in FIRST) == is_first}
        yield f"{name.removesuffix('.json')}/{part}.json", json.dumps(kept, ensure_ascii=False).encode()


def _first_modules(html: str) -> list[str]:
    """Addresses of the modules of the first screen: the first ones, and what they import, followed."""
    imports = json.loads(IMPORT_MAP.findall(html)[0])["imports"]
    found: dict[str, None] = {}

    def follow(address: str) -> None:
        if address not in found:
            found[address] = None
            for name in IMPORT.findall((FOLDER / address.removeprefix(imports["page/"])).read_text("utf-8")):
                follow(imports.get(name) or imports["page/"] + name.removeprefix("page/"))

    for start in STARTS:
        follow(imports["page/"] + start)
    return list(found)


def index() -> str:
    """The page itself."""
    return files()[INDEX].data.decode()


def hashes(html: str) -> list[str]:
    """The sources for `script-src` of a Content-Security-Policy that allow the import maps that stand in a page.

    >>> hashes('<script type="importmap">{}</script>')
    ["'sha256-RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o='"]
    """
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in IMPORT_MAP.findall(html)]
