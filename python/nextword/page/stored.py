"""What a file of the page holds of one prompt: the answers to the calls that the page makes, and its activations.

Answers stand under the call as the page writes it, "POST /api/run {...}"; a call that is not there is refused by the
page with the code "not_in_file". Activations stand whole, so that every row of them can be shown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nextword.page.calls import Page
from nextword.page.table import CALLS, READS, RUN_CALLS

FLOATS = 3 * 2**20  # bytes of activations in float32 that a file holds; of more, float16
HALVES = 5 * 2**20  # bytes of activations in float16 that a file holds at most; the rest is left out
WATCHED = 8  # next words whose lens and parts are there
LENS = 24  # positions of the lens that the page shows
# What of a layer goes into the file first.
ORDER = ("logits", "weights", "resid_post", "resid_mid", "resid_pre", "q", "k", "v", "z", "out", "scores", "act", "fc")


def stored(page: Page, prompt: str, compare: str | None = None) -> dict[str, Any]:
    """The data of a file. Raises Refused for a prompt that cannot be run."""
    answers: dict[str, Any] = {"GET /api/model": page.model()}
    answer = _ask(page, answers, "run", _run_body(prompt))
    if compare:
        _ask(page, answers, "run", _run_body(compare))
    run = str(answer["run"])
    for path, body in _calls(page, answer):
        if path in CALLS:
            _ask(page, answers, path, body)
        else:
            answers[_name(f"run/{run}/{path}", body)] = RUN_CALLS[path](page, run, body)
    heads = READS["heads"](page, run, {"size": "32"})
    answers[f"GET /api/run/{run}/heads?size=32"] = {"header": heads.header,
                                                    "base64": base64.b64encode(heads.data).decode()}
    tensors, left_out = _tensors(page, run)
    return {"transport": "file", "run": run, "answers": answers, "tensors": tensors, "left_out": left_out}


def _run_body(prompt: str) -> dict[str, Any]:
    return {"prompt": prompt, "interventions": [], "lens": {"at": "resid_post", "positions": None, "top": 5},
            "next": 20}


def _name(path: str, body: Any) -> str:
    """The call as the page writes it: its JSON has the fields in the page's order, and no blanks."""
    return f"POST /api/{path} {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}"


def _ask(page: Page, answers: dict[str, Any], path: str, body: Any) -> Any:
    answers[_name(path, body)] = found = CALLS[path](page, body)
    return found


def _calls(page: Page, run: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the page asks of this run while one looks around in it."""
    tokens, layers = len(run["tokens"]), page.lm.model.layers
    watched = [word["id"] for word in run["next"][:WATCHED]]
    yield "choose", {"settings": {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0}, "seed": 1, "step": 0,
                     "candidates": 20}
    for at in ("resid_post", "resid_mid"):
        for target in watched:
            yield "lens", {"at": at, "positions": list(range(tokens))[-LENS:], "top": 5, "watch": target}
    for by in ("part", "head"):
        for target in watched:
            yield "attribute", {"target": target, "against": None, "position": tokens - 1, "by": by}
        for position in range(max(0, tokens - LENS), tokens - 1):
            yield "attribute", {"target": watched[0], "against": None, "position": position, "by": by}
    for layer in range(layers):
        yield "neurons", {"layer": layer, "position": tokens - 1, "top": 20}
    if page.lm.tokenizer is not None:
        yield "tokenize", {"prompt": run["prompt"], "merges": True}
    for token in dict.fromkeys(token["id"] for token in run["tokens"][-LENS:]):
        yield "neighbours", {"word": token, "count": 10}


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
