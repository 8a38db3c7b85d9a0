"""The page as one HTML document: its modules and texts, and the numbers of one prompt or a frame's way to them.

The modules lie in an import map as `data:` URLs and are those that the server gives, byte for byte. The numbers are
JSON in a script of no executable type, in which no text can end the script. Where there is no JavaScript, tokens, lens
and next words are there as plain HTML.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextword.files import whole
from nextword.files.json_text import json_text
from nextword.page.calls import Page
from nextword.page.errors import Refused
from nextword.page.files import IMPORT_MAP, files, index
from nextword.page.stored import stored
from nextword.page.view import View, without_vocabulary

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel

POLICY = ("default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:; "
          "base-uri 'none'; form-action 'none'")
PREFIX = "/page/"  # of addresses in the page
LATER = "later.css"  # the style sheet that the page fetches itself; it stands before the other


def write(lm: LanguageModel, prompt: str, path: Path, *, lang: str | None = None, compare: str | None = None) -> int:
    """Write the file of a prompt; returns its bytes. Raises ValueError for a prompt that cannot be run."""
    return write_view("explain", lm, View(prompt, compare=compare, lang=lang), path)


def write_view(op: str, lm: LanguageModel, view: View, path: Path) -> int:
    """Write the file of a view; returns its bytes. Raises OSError where it cannot be written, before all else, and
    NoVocabularyError for a model that has none."""
    if lm.tokenizer is None:
        raise without_vocabulary(op, lm)
    whole.write(op, {path: lambda part: part.write_bytes(file_of(lm, view).encode())})
    return path.stat().st_size


def document(lm: LanguageModel, prompt: str, *, lang: str | None = None, compare: str | None = None) -> str:
    """The file of a prompt, as text."""
    return file_of(lm, View(prompt, compare=compare, lang=lang))


def file_of(lm: LanguageModel, view: View) -> str:
    """The file of a view, as text. Raises ValueError for a prompt that cannot be run."""
    page = Page(lm, view.start())
    try:
        if view.compare:
            page.run({"prompt": view.compare})
    except Refused as error:
        raise ValueError(str(error).replace("run: prompt", "explain: compare")) from None
    try:
        data, run = stored(page, view)
    except Refused as error:
        raise ValueError(str(error)) from None
    return _assembled({"transport": "file", "view": view.fragment(), **data}, plain(run))


def frame(fragment: str) -> str:
    """The page for a frame in a notebook, which asks its parent for the numbers. fragment: of its `View`."""
    return _assembled({"transport": "frame", "view": fragment}, "")


def _assembled(data: dict[str, Any], body: str) -> str:
    """The page with all that it loads, and its data. body: what stands in it until it draws itself."""
    every = files()
    texts = {name: json.loads(file.data) for name, file in every.items() if name.endswith(".json")}
    found = IMPORT_MAP.sub(lambda _: _import_map(json.loads(IMPORT_MAP.findall(index())[0])["imports"]), index())
    found = re.sub(r'<link rel="stylesheet" href="/page/([\w./-]+)">',
                   lambda link: f"<style>\n{''.join(every[name].data.decode() for name in (LATER, link[1]))}</style>",
                   found)
    found = re.sub(r'<script type="module" src="/page/([\w./-]+)"></script>',
                   lambda script: f'{_data({**data, "files": texts})}\n'
                                  f'<script type="module">import "page/{script[1]}";</script>', found)
    found = re.sub(r'<link rel="modulepreload" href="[^"]+">\n', "", found)  # the map holds them
    found = found.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
                                    '<meta name="referrer" content="no-referrer">', 1)
    return re.sub(r'(<div id="app">).*(</div>)', lambda app: app[1] + body + app[2], found, count=1, flags=re.S)


def _import_map(imports: Mapping[str, str]) -> str:
    """The map with each module in the place of its address."""
    every = files()
    names = {name: address.removeprefix(PREFIX) for name, address in imports.items() if not name.endswith("/")}
    for name, address in imports.items():
        if name.endswith("/"):
            below = address.removeprefix(PREFIX)
            names |= {name + path[len(below) :]: path for path in every
                      if path.startswith(below) and path.endswith(".js")}
    urls = {name: f"data:text/javascript;base64,{base64.b64encode(every[path].data).decode()}"
            for name, path in names.items()}
    return f'<script type="importmap">{json.dumps({"imports": urls})}</script>'


def _data(data: Any) -> str:
    """JSON in a script that nothing runs: what could end it, or a line of it, is escaped."""
    text = json_text(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="nextword-data">{text}</script>'


def plain(run: Mapping[str, Any]) -> str:
    """Tokens, lens and next words as HTML without a script, until the page draws itself."""
    tokens, view = run["tokens"], run["lens"]
    head = "".join(f"<th>{_text(tokens[p]['text'])}</th>" for p in view["positions"])
    rows = "".join(f"<tr><th>{_text(name)}</th>" + "".join(
        f"<td>{_text(view['texts'][str(ids[0])])} {shares[0]:.3f}</td>" for ids, shares in zip(row, p, strict=True))
        + "</tr>" for name, row, p in zip(view["names"], view["ids"], view["p"], strict=True))
    chips = "".join(f"<tr><td>{i}</td><td>{_text(token['text'])}</td><td>{token['id']}</td><td>{token['bytes']}</td>"
                    "</tr>" for i, token in enumerate(tokens))
    words = "".join(f"<tr><td>{_text(run['texts'][str(word['id'])])}</td><td>{word['logit']:.4g}</td>"
                    f"<td>{word['p']:.4g}</td></tr>" for word in run["next"])
    return (f"<main><h1>nextword</h1><p>{_text(run['prompt'])}</p>"
            f"<h2>Token</h2><table><tr><th>#</th><th>Token</th><th>id</th><th>bytes</th></tr>{chips}</table>"
            f"<h2>Logit-Linse · Logit lens</h2><table><tr><th></th>{head}</tr>{rows}</table>"
            f"<h2>Nächstes Wort · Next word</h2><table><tr><th>Token</th><th>Logit</th><th>p</th></tr>{words}</table>"
            "</main>")


def _text(text: str) -> str:
    """A text in HTML; a blank is seen."""
    return html.escape(text.replace(" ", "␣") if text.startswith(" ") or text.endswith(" ") else text)
