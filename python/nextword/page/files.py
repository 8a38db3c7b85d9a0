"""The page's static files, read once: what a request names is looked up among them, never in a folder.

The texts of a language lie in one file and go out in two: "text/de/first.json" has those of the first screen,
"text/de/later.json" those of what is opened later.
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
            for name, data in _parts(path.relative_to(FOLDER).as_posix(), path.read_bytes()):
                tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
                found[name] = File(data, TYPES[path.suffix], tag)
    return found


def _parts(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """What a file goes out as: itself, or the texts of a language in two parts."""
    if not name.startswith("text/"):
        yield name, data
        return
    texts = json.loads(data)
    for part, is_first in ("first", True), ("later", False):
        kept = {key: text for key, text in texts.items() if (key.split(".")[0] in FIRST) == is_first}
        yield f"{name.removesuffix('.json')}/{part}.json", json.dumps(kept, ensure_ascii=False).encode()


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
