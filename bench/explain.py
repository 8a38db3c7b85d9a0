"""How long the page of `nextword explain` waits for its server, and how large its file is.

    python bench/explain.py [--model PATH | --shape gpt2] [--dtype D] [--tokens 12,256] [--rounds 5] [--browser]
                            [--json FILE]

--shape gpt2 takes random weights of GPT-2 124M, whose times are those of the trained ones; --browser adds what is seen
in a browser (explain_browser.py).

A row: the median of a call over a socket on this machine, its budget where it has one, and the bytes of the answer.
Before the clock starts the answers are held against the library's: the next words, and a tensor bit for bit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from typing import Any

import httpx

import nextword
from nextword.page.calls import Page
from nextword.page.server import Server
from nextword.page.single import document

# seconds of a run, by layers of the model and tokens; of the scan, by layers
RUNS = {(4, 12): 0.015, (12, 12): 0.120, (12, 256): 1.0, (12, 1024): 2.5}
SCANS = {4: 0.3, 12: 10.0}
FILES = {4: 3e6, 12: 8e6}  # bytes of the file of 12 tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--shape", choices=["gpt2"])
    parser.add_argument("--dtype")
    parser.add_argument("--tokens", default="12,256", type=lambda text: [int(x) for x in text.split(",")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    lm = random_model(args.dtype) if args.shape else nextword.load(args.model, args.dtype)
    server, ready = Server(Page(lm)), threading.Event()
    thread = threading.Thread(target=lambda: server.run(ready.set))
    thread.start()
    ready.wait(60)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"X-Nextword-Key": server.key},
                          timeout=600, trust_env=False) as client:
            rows = [row for tokens in args.tokens for row in of_tokens(lm, client, tokens, args.rounds)]
        if args.browser:
            import explain_browser

            model = [f"--{name}={value}" for name, value in (("model", args.model), ("dtype", args.dtype)) if value]
            rows += explain_browser.rows(server.address, lm.tokenizer is not None, args.rounds, model)
    finally:
        server.stop()
        thread.join()
    if lm.tokenizer is not None:
        rows.append(of_file(lm))
    for row in rows:
        budget = f"budget {row['budget']:>10,.4g}" if row["budget"] else ""
        tokens = f"{row['tokens']} tokens" if row["tokens"] else ""
        print(f"{row['what']:<28}{tokens:>13}  {row['value']:>12,.4g} {row['unit']:<6}{budget}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump({"model": repr(lm), "dtype": lm.model.dtype, "rows": rows}, out, indent=1)


def random_model(dtype: str | None) -> nextword.LanguageModel:
    """GPT-2 124M with random weights, without a vocabulary."""
    from nextword.models.gpt2 import GPT2, GPT2Config
    from nextword.models.random_weights import RandomWeights

    return nextword.LanguageModel(GPT2(RandomWeights(), GPT2Config(eos_token_id=None), dtype=dtype or "float32"))


def of_tokens(lm: Any, client: httpx.Client, tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Rows for prompts of so many tokens. Each round has a prompt of its own, so that none is kept from before."""
    layers = lm.model.layers

    def ids(round_: int) -> list[int]:
        return [(7 * i + 13 * round_ + 300) % lm.model.vocabulary for i in range(tokens)]

    body = {"lens": {"top": 5}}
    first = client.post("/api/run", json={"ids": ids(-1), **body}).json()
    best = nextword.ops.top(lm.logits(ids(-1), last_only=True), 20).tolist()
    assert [word["id"] for word in first["next"]] == best
    name = f"h.{layers - 1}.attn.weights"
    found = client.get(f"/api/run/{first['run']}/tensor", params={"name": name, "head": 0})
    assert found.content == lm.inside(ids(-1))[name][0].tobytes()

    runs = [timed(lambda i=i: client.post("/api/run", json={"ids": ids(i), **body})) for i in range(rounds)]
    run = runs[-1][1].json()["run"]
    heads = [timed(lambda: client.get(f"/api/run/{run}/heads?size=32")) for _ in range(rounds)]
    cells = [timed(lambda: client.post(f"/api/run/{run}/cell", json={"name": "logits", "index": [-1, 5]}))
             for _ in range(rounds)]
    found_rows = [row("run, with lens", tokens, runs, RUNS.get((layers, tokens))), row("heads", tokens, heads),
                  row("cell of a logit", tokens, cells)]
    if tokens <= 64:
        scans = [timed(lambda: client.post(f"/api/run/{run}/scan", json={"over": "heads"})) for _ in range(rounds)]
        found_rows.append(row("scan of all heads", tokens, scans, SCANS.get(layers)))
    return found_rows


def timed(call: Any) -> tuple[float, httpx.Response]:
    """Seconds, and the answer."""
    started = time.perf_counter()
    answer = call()
    seconds = time.perf_counter() - started
    answer.raise_for_status()
    return seconds, answer


def row(what: str, tokens: int, rounds: list[tuple[float, httpx.Response]],
        budget: float | None = None) -> dict[str, Any]:
    return {"what": what, "tokens": tokens, "value": 1000 * statistics.median(seconds for seconds, _ in rounds),
            "unit": "ms", "budget": None if budget is None else 1000 * budget, "bytes": len(rounds[-1][1].content)}


def of_file(lm: Any) -> dict[str, Any]:
    """The size of the file of a prompt of 12 tokens."""
    text = "".join(lm.tokenizer.decode([i]) for i in range(300, 312))
    size = len(document(lm, text).encode())
    return {"what": "the file", "tokens": 12, "value": size / 1e6, "unit": "MB",
            "budget": FILES[lm.model.layers] / 1e6 if lm.model.layers in FILES else None, "bytes": size}


if __name__ == "__main__":
    main()
