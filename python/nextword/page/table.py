"""Every call of the page by its path: what answers it. The same over HTTP, in a notebook and in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nextword.page import scans, views, words
from nextword.page.calls import Page
from nextword.page.errors import Refused
from nextword.page.steps import Event
from nextword.page.tensors import Binary, heads, tensor

Query = Mapping[str, str]

# POST /api/NAME
CALLS: dict[str, Callable[[Page, Any], Any]] = {
    "tokenize": Page.tokenize,
    "run": Page.run,
    "neighbours": words.neighbours,
    "analogy": words.analogy,
    "similarity": words.similarity,
    "compare": words.compare,
}
# POST /api/run/R/NAME
RUN_CALLS: dict[str, Callable[[Page, str, Any], Any]] = {
    "lens": Page.lens,
    "choose": Page.choose,
    "ablate": Page.ablate,
    "cell": views.cell,
    "attribute": views.attribute,
    "neurons": views.neurons,
}


def read_tensor(page: Page, run: str, query: Query) -> Binary:
    """GET /api/run/R/tensor"""
    known("tensor", query, ("name", "head", "rows", "cols", "as", "max"))
    return tensor(page.runs[run], name=query.get("name", ""), head=number("tensor", query, "head"),
                  rows=query.get("rows"), cols=query.get("cols"), form=query.get("as", "f32"),
                  most=number("tensor", query, "max"))


def read_heads(page: Page, run: str, query: Query) -> Binary:
    """GET /api/run/R/heads"""
    known("heads", query, ("size",))
    size = number("heads", query, "size")
    return heads(page.runs[run], 32 if size is None else size)


# GET /api/run/R/NAME
READS: dict[str, Callable[[Page, str, Query], Binary]] = {"tensor": read_tensor, "heads": read_heads}
# POST /api/NAME and /api/run/R/NAME that answer with events
STREAMS: dict[str, Callable[[Page, Any], Iterator[Event]]] = {"generate": Page.generate}
RUN_STREAMS: dict[str, Callable[[Page, str, Any], Iterator[Event]]] = {"scan": scans.scan, "patch": scans.patch}


def known(op: str, query: Query, names: tuple[str, ...]) -> None:
    """Raises Refused for a parameter of another name."""
    for name in query:
        if name not in names:
            raise Refused("bad_argument", f"{op}: {name[:40]!r} must be one of {', '.join(names)}", argument=name[:40])


def number(op: str, query: Query, name: str) -> int | None:
    """A whole number, None where it is not given."""
    given = query.get(name)
    if given is None:
        return None
    digits = given.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise Refused("bad_argument", f"{op}: {name} must be a whole number, got {given[:20]!r}", argument=name)
    return int(given)
