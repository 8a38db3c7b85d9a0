"""The page's static files, read once: what a request names is looked up among them, never in a folder."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "static"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".mjs": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".json": "application/json; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
         ".txt": "text/plain; charset=utf-8"}
INDEX = "index.html"
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
            data = path.read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            found[path.relative_to(FOLDER).as_posix()] = File(data, TYPES[path.suffix], tag)
    return found


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
