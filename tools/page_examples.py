"""An example of each call of the page and its answer, from the demo model: tests/page/examples/*.json.

    python tools/page_examples.py [FOLDER]

A file holds call, body or query, and answer; of binary answers the header `X-Tensor` and the body in base64; of streams
the events. For who writes the browser's side, and for the tests that hold both sides to one shape.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import nextword
from nextword.files.json_text import json_text
from nextword.page.calls import Page
from nextword.page.errors import Refused
from nextword.page.table import CALLS, READS, RUN_CALLS, RUN_STREAMS, STREAMS

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "page" / "examples"
PROMPT = "Once upon a time there was a little"
BODIES: dict[str, Any] = {
    "tokenize": {"prompt": "Das Hausboot 😀", "merges": True},
    "neighbours": {"word": " king", "count": 3},
    "analogy": {"a": " king", "b": " man", "c": " woman", "exclude": True, "count": 3},
    "similarity": {"words": [" king", " queen", " garden"]},
    "compare": {"prompts": ["The doctor said that", "The nurse said that"], "continuations": [" he", " she"]},
}
RUN_BODIES: dict[str, Any] = {
    "lens": {"at": "resid_mid", "positions": [-2, -1], "top": 3, "watch": " girl"},
    "choose": {"settings": {"temperature": 0.8, "top_k": 5, "frequency_penalty": 0.5}, "seed": 7, "step": 0,
               "candidates": 6},
    "ablate": {"interventions": [{"name": "h.3.attn.z", "how": "zero", "heads": [2]}], "top": 3},
    "cell": {"name": "h.3.attn.scores", "index": [2, 5, 4]},
    "attribute": {"target": " girl", "against": None, "position": -1, "by": "part"},
    "neurons": {"layer": 3, "position": -1, "top": 2},
}
QUERIES: dict[str, dict[str, dict[str, str]]] = {
    "tensor": {"tensor_f32": {"name": "h.3.attn.weights", "head": "2", "rows": "-1:"},
               "tensor_u8": {"name": "h.0.attn.q", "head": "0", "as": "u8", "max": "8"}},
    "heads": {"heads": {"size": "8"}},
}
STREAM_BODIES: dict[str, Any] = {
    "generate": {"prompt": PROMPT, "settings": {"temperature": 0.8, "max_new_tokens": 2}, "seed": 1, "explain": 3},
}
RUN_STREAM_BODIES: dict[str, Any] = {
    "scan": {"over": "heads", "target": " girl", "measure": "logit"},
    "patch": {"other": "", "at": "resid_post", "over": "position", "measure": [" girl", " boy"]},
}


def examples(page: Page) -> dict[str, dict[str, Any]]:
    """name -> an example."""
    body = {"prompt": PROMPT, "lens": {"top": 2}, "next": 5}
    answer: Any = CALLS["run"](page, body)
    run = str(answer["run"])
    other = CALLS["run"](page, {"prompt": "Once upon a time there was a pretty"})["run"]
    found: dict[str, dict[str, Any]] = {"model": {"call": "GET /api/model", "answer": page.model()},
                                        "run": {"call": "POST /api/run", "body": body, "answer": answer}}
    for name in CALLS:
        if name != "run":
            found[name] = {"call": f"POST /api/{name}", "body": BODIES[name],
                           "answer": CALLS[name](page, BODIES[name])}
    for name in RUN_CALLS:
        found[name] = {"call": f"POST /api/run/{run}/{name}", "body": RUN_BODIES[name],
                       "answer": RUN_CALLS[name](page, run, RUN_BODIES[name])}
    for name, queries in QUERIES.items():
        for file, query in queries.items():
            binary = READS[name](page, run, query)
            found[file] = {"call": f"GET /api/run/{run}/{name}", "query": query, "header": binary.header,
                           "base64": base64.b64encode(binary.data).decode()}
    for name in STREAMS:
        found[name] = {"call": f"POST /api/{name}", "body": STREAM_BODIES[name],
                       "events": list(STREAMS[name](page, STREAM_BODIES[name]))}
    for name in RUN_STREAMS:
        sent = {**RUN_STREAM_BODIES[name], **({"other": other} if name == "patch" else {})}
        found[name] = {"call": f"POST /api/run/{run}/{name}", "body": sent,
                       "events": list(RUN_STREAMS[name](page, run, sent))}
    try:
        CALLS["run"](page, {"prompt": ""})
    except Refused as error:
        found["error"] = {"call": "POST /api/run", "body": {"prompt": ""}, "status": error.status,
                          "answer": error.answer()}
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in examples(Page(nextword.load())).items():
        folder.joinpath(f"{name}.json").write_text(json_text(one, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
