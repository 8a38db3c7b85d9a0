"""Generation under a regular expression or a JSON schema, and what the constraint took away."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from nextword import Sampling
from nextword.decoding.grammar import Grammar
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, run, tiny_config

pytest.importorskip("llguidance", reason="needs llguidance: pip install 'nextword[grammar]'")


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "seed": 4}, {"temperature": 1.0, "top_k": 3, "seed": 5}])
@pytest.mark.parametrize("regex", [r" (a|the) (king|queen)\.", r"[0-9]{4}", r"(ab)+c", r"Grüße(, [äöü]+)?!"])
def test_a_text_matches_its_expression(demo, regex, settings):
    out = demo.generate("Once upon a time there was", regex=regex, max_new_tokens=60, **settings)
    if out.finish_reason == "stop":
        assert re.fullmatch(regex, out.text)
    else:  # the limit cut it: it can still become a match
        grammar = Grammar(demo.tokenizer, regex=regex)
        for token in out.tokens:
            grammar.accept(token)
    assert len(out.removed_mass) in (len(out.tokens), len(out.tokens) + 1)
    assert all(0 <= mass <= 1 for mass in out.removed_mass)


def test_a_finite_expression_ends_by_itself(demo):
    out = demo.generate("The king said:", regex=" (yes|no)", max_new_tokens=20)
    assert (out.text in (" yes", " no"), out.finish_reason) == (True, "stop")


def test_json_fits_its_schema(demo):
    schema = {"type": "object", "properties": {"name": {"enum": ["Ann", "Tom"]}, "age": {"type": "integer",
              "minimum": 1, "maximum": 99}}, "required": ["name", "age"], "additionalProperties": False}
    for seed in range(4):
        out = demo.generate("A child:", json_schema=schema, temperature=1.0, seed=seed, max_new_tokens=80)
        found = json.loads(out.text)
        assert found["name"] in ("Ann", "Tom")
        assert 1 <= found["age"] <= 99
    assert demo.generate("A child:", json_schema=json.dumps(schema), max_new_tokens=80).finish_reason == "stop"


def test_the_removed_mass_is_the_probability_of_what_was_forbidden(demo):
    prompt = demo.tokenizer.encode("Once upon a time there was a")
    out = demo.generate(prompt, regex=" (king|queen)", max_new_tokens=9, explain=5, temperature=1.0, seed=2)
    grammar, text = Grammar(demo.tokenizer, regex=" (king|queen)", end=demo.config.eos_token_id), list(prompt)
    for step, mass in zip(out.steps, out.removed_mass, strict=True):
        logits = run(demo.model, [text])[-1].astype(np.float64)
        p = np.exp(logits - logits.max())
        assert mass == pytest.approx(1 - p[grammar.mask()].sum() / p.sum(), abs=1e-5)
        assert step.removed_mass == mass
        assert any(c.cut_by == "grammar" for c in step.candidates)
        text.append(step.token)
        if step.token != demo.config.eos_token_id:
            grammar.accept(step.token)


def test_rows_have_expressions_of_their_own(demo):
    settings = [Sampling(regex=" [a-f]+\\.", max_new_tokens=30), Sampling(max_new_tokens=5), Sampling(regex=" no")]
    together = demo.generate(["He said"] * 3, sampling=settings)
    alone = [demo.generate("He said", sampling=one) for one in settings]
    assert [g.tokens for g in together] == [g.tokens for g in alone]
    assert together[1].removed_mass is None


def test_an_expression_that_the_other_rules_make_impossible_is_an_error(demo):
    with pytest.raises(ValueError, match="allows no token after '' that the other rules leave"):
        demo.generate("He said", regex="x", bad_words=["x"])


def test_a_wrong_expression_is_an_error_before_anything_runs(demo):
    with pytest.raises(ValueError, match=r"Grammar: regex '\('"):
        demo.generate("He said", regex="(")


def test_a_model_without_a_vocabulary_takes_no_expression():
    lm = LanguageModel(random_model(tiny_config()))
    for settings in ({"regex": "a"}, {"json_schema": {}}):
        with pytest.raises(ValueError, match="need a vocabulary"):
            lm.generate([1], max_new_tokens=2, **settings)
