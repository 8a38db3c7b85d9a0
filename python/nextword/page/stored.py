"""What a file of the page holds of one prompt: the answers to the calls that the page makes, and its activations.

Answers stand under the call as the page writes it, "POST /api/run {...}"; a call that is not there is refused by the
page with the code "not_in_file". Activations stand whole, so that every row of them can be shown. Which calls there
are, `browsed.py` says.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nextword.page.browsed import asked, switched
from nextword.page.calls import Page
from nextword.page.table import CALLS, READS, RUN_CALLS
from nextword.page.view import View

FLOATS = 3 * 2**20  # bytes of activations in float32 that a file holds; of more, float16
HALVES = 5 * 2**20  # bytes of activations in float16 that a file holds at most; the rest is left out
# What the page asks of a prompt, beside the prompt.
RUN = {"interventions": [], "lens": {"at": "resid_post", "positions": None, "top": 5}, "next": 20}
# What of a layer goes into the file first.
ORDER = ("logits", "weights", "resid_post", "resid_mid", "resid_pre", "q", "k", "v", "z", "out", "scores", "act", "fc")


def stored(page: Page, view: View) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data of a file, and the answer of the run that it shows. Raises Refused for a prompt that cannot be run."""
    answers: dict[str, Any] = {"GET /api/model": page.model()}
    body: dict[str, Any] = {"prompt": view.prompt, **RUN}
    run = _ask(page, answers, "run", body)
    if view.added:
        body = {**RUN, "ids": [*(token["id"] for token in run["tokens"]), *view.added]}
        run = _ask(page, answers, "run", body)
    if view.compare:
        _ask(page, answers, "run", {"prompt": view.compare, **RUN})
    for rules in [*([list(view.interventions)] if view.interventions else []), *switched(page, view, run)]:
        changed = _ask(page, answers, "run", {**body, "interventions": rules})
        _ask(page, answers, f"run/{run['run']}/ablate", {"interventions": rules, "top": 8})
        if view.interventions:
            run = changed
    for path, sent in asked(page, run):
        _ask(page, answers, path, sent)
    heads = READS["heads"](page, run["run"], {"size": "32"})
    answers[f"GET /api/run/{run['run']}/heads?size=32"] = {"header": heads.header,
                                                           "base64": base64.b64encode(heads.data).decode()}
    tensors, left_out = _tensors(page, run["run"])
    return {"run": run["run"], "answers": answers, "tensors": tensors, "left_out": left_out}, run


def _name(path: str, body: Any) -> str:
    """The call as the page writes it, without blanks; the order of fields does not matter to it."""
    return f"POST /api/{path} {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}"


def _ask(page: Page, answers: dict[str, Any], path: str, body: Mapping[str, Any]) -> Any:
    """The answer to a call, entered among those of the file; path: NAME, or run/R/NAME."""
    if _name(path, body) not in answers:
        *run, name = path.removeprefix("run/").split("/")
        answers[_name(path, body)] = RUN_CALLS[name](page, run[0], body) if run else CALLS[name](page, body)
    return answers[_name(path, body)]


def _tensors(page: Page, run: str) -> tuple[dict[str, Any], list[str]]:
    """The activations, and the names of those for which there is no room."""
    inside = page.runs[run].inside
    shapes = {name: (1, inside.shape(name)[1]) if name == "logits" else inside.shape(name) for name in inside.names}
    whole = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    dtype, left = ("f32", whole) if whole <= FLOATS else ("f16", HALVES)
    found: dict[str, Any] = {}
    for name in sorted(shapes, key=_rank):
        size = int(np.prod(shapes[name])) * (4 if dtype == "f32" or name == "logits" else 2)
        if size > left:
            continue
        left -= size
        own = "f32" if name == "logits" else dtype
        x = inside[name][-1:] if name == "logits" else inside[name]
        with np.errstate(over="ignore"):
            data = np.ascontiguousarray(x, "<f4" if own == "f32" else "<f2").tobytes()
        found[name] = {"shape": list(x.shape), "first": len(inside.ids) - 1 if name == "logits" else 0, "dtype": own,
                       "base64": base64.b64encode(data).decode()}
    return found, [name for name in shapes if name not in found]


def _rank(name: str) -> int:
    last = name.rpartition(".")[2]
    return ORDER.index(last) if last in ORDER else len(ORDER) - 3
