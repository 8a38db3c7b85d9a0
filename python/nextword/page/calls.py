"""The calls of the page: each takes what was sent and gives an answer of `answers.py`. They know nothing of HTTP."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nextword.inside.change import Change
from nextword.inside.measures import measured
from nextword.models.tap import shapes
from nextword.page import lens as lenses
from nextword.page.answers import Limits, ModelAnswer, Part, RunAnswer, Start, StepAnswer, TokenizeAnswer
from nextword.page.errors import Refused
from nextword.page.fields import BODY, PROMPT, WORD, Fields
from nextword.page.graph import form, made
from nextword.page.runs import Run, Runs
from nextword.page.steps import SEEDS, Event, generated, settings_of, step_answer
from nextword.page.stopping import in_turns
from nextword.page.texts import described, one_token, pieces_of, texts_of, typed
from nextword.page.view_answers import AblateAnswer
from nextword.text.merges import merge_order

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel

TOP = 100  # tokens of a list
LENS_POSITIONS = 64
NEW_TOKENS = 1000
RULES = 100  # interventions
PROMPTS = 64
WAITING = 4
MERGED = 64  # bytes of a piece whose merges are shown


class Page:
    """What the page of one language model answers. Calls are made one at a time.

    against: the page of another model, which the first is compared with. turn: what each pass waits for, where others
    compute, too.
    """

    def __init__(self, lm: LanguageModel, start: Start | None = None, against: Page | None = None,
                 turn: AbstractContextManager[Any] | None = None) -> None:
        self.lm = lm
        if turn is not None:
            self.lm = type(lm)(in_turns(lm.model, turn), lm.tokenizer, lm.source, lm.generation_config)
            self.lm.no_tokenizer = lm.no_tokenizer
        self.start: Start = start or {"prompt": "", "compare": None, "lang": None}
        self.against = against
        if against is not None:
            self.start = {**self.start, "against": against.name}
        self.runs = Runs(self.lm)

    # The model

    @property
    def name(self) -> str:
        """Of the model: that of its folder."""
        source = self.lm.source
        return "demo" if source is None or source.path is None else Path(source.path).name

    def model(self) -> ModelAnswer:
        """GET /api/model"""
        from nextword import _core

        model, lm = self.lm.model, self.lm
        parts = self._parts
        limits: Limits = {"body": BODY, "top": TOP, "lens_positions": LENS_POSITIONS, "new_tokens": NEW_TOKENS,
                          "words": WORD, "prompts": PROMPTS, "waiting": WAITING}
        inner = shapes(model)["h.0.mlp.act"][-1]
        return {"name": self.name,
                "kind": model.kind, "dtype": model.dtype, "kv_dtype": model.kv_dtype, "layers": model.layers,
                "heads": model.heads, "kv_heads": model.kv_heads, "width": model.width, "head_width": model.head_width,
                "inner": inner, "vocabulary": model.vocabulary, "window": model.window,
                "activation": model.activation, "form": form(model), "steps": made(model),
                "tokenizer": lm.tokenizer is not None, "beginning": len(lm.tokenizer.beginning) if lm.tokenizer else 0,
                "parameters": {"total": sum(part["count"] for part in parts), "parts": parts}, "limits": limits,
                "start": self.start, "version": _core.__version__}

    @cached_property
    def _parts(self) -> list[Part]:
        found: list[Part] = []
        for name, x in self.lm.model.tensors().items():
            numbers = [word for word in name.split(".") if word.isdigit()]
            found.append({"name": name, "shape": list(x.shape), "count": math.prod(x.shape),
                          "layer": int(numbers[0]) if numbers else None})
        return found

    # A prompt

    def tokenize(self, body: Any) -> TokenizeAnswer:
        """POST /api/tokenize"""
        fields = Fields("tokenize", body, ["prompt", "merges"])
        text, tokenizer = fields.text("prompt", PROMPT), self.lm.tokenizer
        if tokenizer is None:
            raise Refused("no_tokenizer", "tokenize: the model has no vocabulary; send ids to run")
        ids = tokenizer.encode(text, add_special_tokens=False)
        _, tokens, groups = described(tokenizer, ids)
        answer: TokenizeAnswer = {"prompt": text, "tokens": tokens, "groups": groups, "window": self.lm.model.window}
        if fields.flag("merges", False):
            answer["pieces"] = pieces_of(tokenizer, text, self._order, MERGED)
        return answer

    @cached_property
    def _order(self) -> Any:
        assert self.lm.tokenizer is not None
        return merge_order(self.lm.tokenizer)

    def ids_of(self, fields: Fields) -> list[int]:
        """The ids of `prompt` or `ids`; at least one, and no more than the window."""
        model, tokenizer = self.lm.model, self.lm.tokenizer
        if fields.has("ids"):
            ids = list(fields.integers("ids", 2**17, 0, model.vocabulary - 1))
        else:
            text = fields.text("prompt", PROMPT)
            if tokenizer is None:
                raise Refused("no_tokenizer", f"{fields.op}: the model has no vocabulary; send ids")
            ids = [*tokenizer.beginning, *tokenizer.encode(text, add_special_tokens=False)]
        if not ids:
            raise Refused("empty_prompt", f"{fields.op}: prompt must hold at least one token")
        if len(ids) > model.limit:
            raise Refused("too_long", f"{fields.op}: prompt must fit into the context window of {model.limit} tokens, "
                                      f"got {len(ids)}", tokens=len(ids), window=model.limit)
        return ids

    def run(self, body: Any) -> RunAnswer:
        """POST /api/run"""
        fields = Fields("run", body, ["prompt", "ids", "interventions", "lens", "next"])
        ids = self.ids_of(fields)
        rules = fields.objects("interventions", RULES)
        count = fields.integer("next", 1, TOP, 20)
        run = self.runs.of(ids, rules)
        tokenizer = self.lm.tokenizer
        shown, tokens, groups = described(tokenizer, ids)
        prompt = fields.text("prompt", PROMPT) if not fields.has("ids") else typed(tokenizer, ids) or shown
        following = lenses.words(run.last, lenses.best(run.last, count))
        asked = fields.raw("lens")
        view = None if asked is None else self._lens(run, asked)
        return {"run": run.id, "prompt": prompt, "tokens": tokens, "groups": groups, "window": self.lm.model.window,
                "names": run.names, "interventions": run.interventions,
                "changes": bool(rules) and not np.array_equal(run.last, self.runs.of(ids).last),
                "lens": view, "next": following, "texts": texts_of(tokenizer, (word["id"] for word in following))}

    def lens(self, name: str, body: Any) -> Any:
        """POST /api/run/R/lens"""
        return self._lens(self.runs[name], body)

    def _lens(self, run: Run, body: Any) -> Any:
        fields = Fields("lens", body, ["at", "positions", "top", "watch"])
        at = fields.one_of("at", ("resid_post", "resid_mid"), "resid_post")
        top, tokens = fields.integer("top", 1, TOP, 5), len(run.ids)
        positions = list(range(max(0, tokens - LENS_POSITIONS), tokens))
        if fields.has("positions"):
            positions = [p % tokens for p in fields.integers("positions", LENS_POSITIONS, -tokens, tokens - 1)]
        watch = self.token(fields, "watch") if fields.has("watch") else None
        return lenses.lens(run, at, positions, top, watch)

    def token(self, fields: Fields, argument: str) -> int:
        """The id of a word that is one token."""
        return one_token(fields.op, argument, fields.raw(argument), self.lm.tokenizer, self.lm.model.vocabulary)

    # What comes next

    def choose(self, name: str, body: Any) -> StepAnswer:
        """POST /api/run/R/choose"""
        run = self.runs[name]
        fields = Fields("choose", body, ["settings", "seed", "step", "candidates"])
        settings = settings_of(fields)
        seed = fields.integer("seed", 0, SEEDS, 0)
        step = fields.integer("step", 0, 2**31 - 1, 0)
        return step_answer(self.lm, run.ids, run.last, settings, seed, step, fields.integer("candidates", 1, TOP, 20))

    def generate(self, body: Any) -> Iterator[Event]:
        """POST /api/generate"""
        fields = Fields("generate", body, ["prompt", "ids", "settings", "seed", "explain", "interventions"])
        ids = self.ids_of(fields)
        settings = settings_of(fields, seed=fields.integer("seed", 0, SEEDS, 0))
        if settings.max_new_tokens > NEW_TOKENS:
            raise Refused("bad_argument", f"generate: max_new_tokens must be at most {NEW_TOKENS}, got "
                                          f"{settings.max_new_tokens}", argument="max_new_tokens")
        rules = self.runs.of(ids, fields.objects("interventions", RULES)).inside.interventions
        return generated(self.lm, ids, settings, fields.integer("explain", 0, TOP, 0), rules)

    def ablate(self, name: str, body: Any) -> AblateAnswer:
        """POST /api/run/R/ablate"""
        run = self.runs[name]
        fields = Fields("ablate", body, ["interventions", "top", "target"])
        top = fields.integer("top", 1, TOP, 20)
        other = self.runs.of(run.ids, [*run.interventions, *fields.objects("interventions", RULES)])
        before, after = run.last, other.last
        change = Change(self.lm, tuple(run.ids), tuple(other.inside.interventions), before, after)
        moved = change.movers(top)
        target = self.token(fields, "target") if fields.has("target") else int(before.argmax())
        told = {*lenses.best(before, top), *lenses.best(after, top), target}
        sides = [lenses.words(x, sorted(told, key=lambda t, x=x: (-x[t], t)))  # type: ignore[misc]
                 for x in (before, after)]
        return {"run": other.id, "before": sides[0], "after": sides[1], "kl": change.kl,
                "movers": [{"id": one.token, "before": one.before, "after": one.after, "logit": one.logit}
                           for one in moved],
                "target": {"id": target, "logit": change.logit(target),
                           "logprob": measured("logprob", target, before)(after)
                           - measured("logprob", target, before)(before)},
                "changes": not np.array_equal(before, after),
                "texts": texts_of(self.lm.tokenizer, told | {one.token for one in moved})}
