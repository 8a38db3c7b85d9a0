"""What the page asks while one looks around in one run, as far as a file can hold the answers.

There are as many activations' cells as numbers in a run, and as many changes as rules: a file holds those that the page
leads to first. The page says of others that they are not in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nextword.page.calls import Page
from nextword.page.view import View

WATCHED = 8  # next words whose lens, parts and logits are there
POSITIONS = 24  # the last ones, which the page shows
NEURONS = 16  # layers and positions whose neurons are there
CELLS = 192  # numbers that can be followed, of attention
SWITCHES = 64  # heads that can be switched off, of models that have no more
ROOTS = 120  # numbers on the way from a logit to a weight

Call = tuple[str, dict[str, Any]]


def switched(page: Page, view: View, run: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Interventions that can be chosen in the file: one head or one layer off, as each is a run of its own only for
    short prompts and small models."""
    model = page.lm.model
    if view.interventions or model.layers * model.heads > SWITCHES or len(run["tokens"]) > POSITIONS:
        return
    for layer in range(model.layers):
        for head in range(model.heads):
            yield [{"name": f"h.{layer}.attn.z", "heads": [head], "how": "zero"}]
        for name in ("attn.out", "mlp.out"):
            yield [{"name": f"h.{layer}.{name}", "how": "zero"}]


def asked(page: Page, run: Mapping[str, Any]) -> Iterator[Call]:
    """The calls about a run, and about its words: NAME or run/R/NAME, and the body."""
    tokens, layers, of = len(run["tokens"]), page.lm.model.layers, f"run/{run['run']}"
    first, watched = max(0, tokens - POSITIONS), [word["id"] for word in run["next"][:WATCHED]]
    yield f"{of}/choose", {"settings": {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0}, "seed": 1, "step": 0,
                           "candidates": 20}
    for at in ("resid_post", "resid_mid"):
        for target in watched:
            yield f"{of}/lens", {"at": at, "positions": list(range(first, tokens)), "top": 5, "watch": target}
    for by in ("part", "head"):
        places = [*((target, tokens - 1) for target in watched), *((watched[0], at) for at in range(first, tokens - 1))]
        for target, position in places:
            yield f"{of}/attribute", {"target": target, "against": None, "position": position, "by": by}
    for position in range(tokens - 1, max(first, tokens - 1 - NEURONS // layers) - 1, -1):
        for layer in range(layers):
            yield f"{of}/neurons", {"layer": layer, "position": position, "top": 20}
    for name, index in cells(page, run, first, watched):
        yield f"{of}/cell", {"name": name, "index": index}
    yield "tokenize", {"prompt": run["prompt"], "merges": True}
    for token in dict.fromkeys(token["id"] for token in run["tokens"][first:]):
        yield "neighbours", {"word": token, "count": 10}


def cells(page: Page, run: Mapping[str, Any], first: int, watched: list[int]) -> Iterator[tuple[str, list[int]]]:
    """Numbers that can be followed: the way of the first word's logit along its largest terms; the others' logits;
    what the last token looks at, in every head."""
    model, last = page.lm.model, len(run["tokens"]) - 1
    yield from roots(page, run["run"], last, watched[0])
    for target in watched[1:]:
        yield "logits", [last, target]
    count = 0
    for layer in range(model.layers - 1, -1, -1):
        for what in ("weights", "scores"):
            for head in range(model.heads):
                for key in range(last, first - 1, -1):
                    if (count := count + 1) > CELLS:
                        return
                    yield f"h.{layer}.attn.{what}", [head, last, key]


def roots(page: Page, run: str, last: int, token: int) -> Iterator[tuple[str, list[int]]]:
    """From a logit to the numbers that it is made of, breadth first: of each the factors of its largest
    term, and the sources that are single numbers."""
    inside = page.runs[run].inside
    todo: list[tuple[str, tuple[int, ...]]] = [("logits", (last, token))]
    seen = {*todo}
    while todo and len(seen) < ROOTS:
        name, index = todo.pop(0)
        yield name, list(index)
        found = inside.cell(name, index)
        largest = found.largest(1)[0][0] if len(found.terms) else 0
        by_name: dict[str, list[tuple[int, ...]]] = {}
        for source in found.sources:
            by_name.setdefault(source.name, []).append(source.index)
        for of, places in list(by_name.items())[:4]:
            if len(places) > len(found.terms):  # of a whole row, such as a norm's: the number in the same place
                after = (of, index if index in places else places[0])
            else:
                after = (of, places[largest if largest < len(places) else 0])
            if after not in seen:
                seen.add(after)
                todo.append(after)
