"""Write the numbers of the exercises that depend on the bundled model: tests/page/numbers.json, from the library.

    python tools/page_numbers.py [FILE]

Floats have the nine digits that tell a float32 from its neighbours. Every key names an exercise of the page's lessons.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import nextword
from nextword.files.json_text import json_text
from nextword.inside.rules import Zero

FILE = Path(__file__).resolve().parents[1] / "tests" / "page" / "numbers.json"
PROMPT = "Once upon a time there was a little"
TEXTS = ["Der Hund jagt die Katze", "Hausboot", " Hausboot", "😀"]
CATS = ["The cat drank the milk because it was hungry", "The cat drank the milk because it was sweet"]
ANALOGIES = {"royal": {"en": "king man woman", "de": "König Mann Frau"}, "family": {"en": "father man woman"}}
BIAS = {"en": (["The doctor said that", "The nurse said that"], [" he", " she", " they"]),
        "de": (["Der Mann sagte, daß", "Die Frau sagte, daß", "Der Arzt sagte, daß"], [" er", " sie", " es"])}
THINKER = "To date, the cleverest thinker of all time was"
TEMPERATURES, SEED, WORDS = (0, 0.7, 2), 1, 10
HEAD_OFF, LAYER_OFF = (3, 2), 3


def numbers(lm: nextword.LanguageModel) -> dict[str, Any]:
    """Exercise -> what it shows."""
    x, girl = lm.inside(PROMPT), " girl"
    watched = int(x.logits[-1].argmax())
    layer, head = HEAD_OFF
    scan = lm.ablations(PROMPT, girl, over="heads", measure="logit").values
    lens = x.lens(top=1, positions=[-1])
    parts = x.attribution(watched)
    return {
        "tokens": {text: _tokens(lm, text) for text in TEXTS},
        "rows": {text: _rows(lm, text) for text in CATS},
        "off": {
            "target": girl, "before": _next(lm, x), "scan": [[_nine(value) for value in row] for row in scan],
            "strongest": [int(at) for at in np.unravel_index(np.abs(scan).argmax(), scan.shape)],
            "head": _next(lm, lm.inside(PROMPT, [Zero(f"h.{layer}.attn.z", heads=[head])])),
            "attention": _next(lm, lm.inside(PROMPT, [Zero(f"h.{LAYER_OFF}.attn.out")])),
        },
        "lens": [[name, _text(lm, int(ids[0][0])), _nine(p[0][0])]
                 for name, ids, p in zip(lens.names, lens.tokens, lens.probabilities, strict=True)],
        "analogies": {name: {lang: _analogy(lm, words) for lang, words in each.items()}
                      for name, each in ANALOGIES.items()},
        "bias": {lang: _shares(lm, *asked) for lang, asked in BIAS.items()},
        "parts": {"target": _text(lm, watched), "logit": _nine(parts.logit), "bound": _nine(parts.bound),
                  "parts": [[name, _nine(value)] for name, value in zip(parts.names, parts.parts, strict=True)]},
        "texts": {format(t, "g"): lm.generate(THINKER, temperature=t, seed=SEED, max_new_tokens=WORDS).text
                  for t in TEMPERATURES},
    }


def _nine(value: Any) -> float:
    return float(format(float(value), ".9g"))


def _text(lm: nextword.LanguageModel, token: int) -> str:
    return lm.tokenizer.decode([token]) if lm.tokenizer else str(token)


def _tokens(lm: nextword.LanguageModel, text: str) -> list[Any]:
    """[id, bytes as hex] of each token."""
    assert lm.tokenizer is not None
    tokenizer = lm.tokenizer
    return [[token, tokenizer.token_bytes(token).hex()] for token in tokenizer.encode(text)]


def _rows(lm: nextword.LanguageModel, text: str) -> list[Any]:
    """Of every head of every layer, whom the last word looks at most, and its weight."""
    x = lm.inside(text)
    rows = np.stack([x[f"h.{layer}.attn.weights"][:, -1] for layer in range(lm.model.layers)])
    return [[[int(row.argmax()), _nine(row.max())] for row in heads] for heads in rows]


def _next(lm: nextword.LanguageModel, x: Any) -> list[Any]:
    """The three most probable next words: text, probability, logit."""
    logits = np.ascontiguousarray(x.logits[-1])
    p = nextword.ops.softmax(logits[None])[0]
    return [[_text(lm, int(t)), _nine(p[t]), _nine(logits[t])] for t in nextword.ops.top(logits, 3)]


def _analogy(lm: nextword.LanguageModel, words: str) -> dict[str, Any]:
    """The nearest tokens to a - b + c, without and with the three words."""
    asked = [f" {word}" for word in words.split()]
    near = {key: lm.analogy(*asked, exclude=key == "without") for key in ("without", "with")}
    return {"words": words.split(), **{key: [[text, _nine(value)] for text, value in
                                             zip(found.texts[:3], found.similarities[:3], strict=True)]
                                       for key, found in near.items()}}


def _shares(lm: nextword.LanguageModel, prompts: list[str], continuations: list[str]) -> dict[str, Any]:
    """Prompt -> share of each continuation."""
    probe = lm.compare(prompts, continuations)
    shares = [[_nine(share) for share in row] for row in probe.share]
    return {"continuations": continuations, "shares": dict(zip(prompts, shares, strict=True))}


def main() -> None:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    file.write_text(json_text(numbers(nextword.load()), ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
