"""What a user does with a model, with each kind of architecture: texts, drafts, grammars, searches, sessions, scores,
choices, the engine, the server, looking inside and the calls of the page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from byte_vocabulary import byte_tokenizer
from nextword import Sampling
from nextword.page.calls import Page
from nextword.page.table import READS
from nextword.tasks.language_model import LanguageModel
from small_llama import OWN, small_config, small_llama
from strategies import random_model, tiny_config

sys.path.append(str(Path(__file__).resolve().parents[1] / "serve"))

END, TEXT = 256, "the king said that the king "
GPT2 = {"vocab_size": 257, "n_positions": 96, "eos_token_id": END}
LLAMA = {"vocab_size": 257, "max_position_embeddings": 96, "eos_token_id": END}


@pytest.fixture(scope="module", params=["gpt2", *OWN])
def lm(request, tmp_path_factory):
    """A model of random weights over bytes."""
    tokenizer = byte_tokenizer(tmp_path_factory.mktemp("bytes"))
    if request.param == "gpt2":
        return LanguageModel(random_model(tiny_config(**GPT2), seed=3), tokenizer)
    return LanguageModel(small_llama(small_config(request.param, **LLAMA), seed=3), tokenizer)


def test_greedy_text_is_the_best_token_after_token(lm):
    ids = lm.tokenizer.encode(TEXT)
    expected = []
    for _ in range(12):
        expected.append(int(lm.logits([*ids, *expected])[-1].argmax()))
    assert lm.generate(ids, max_new_tokens=12, eos=None).tokens == expected
    assert lm.generate([ids, ids[5:]], max_new_tokens=12, eos=None)[0].tokens == expected


@pytest.mark.parametrize("kv_dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
def test_drafts_change_no_token(lm, dtype, kv_dtype):
    model = lm.model.quantised(dtype)
    model.kv_dtype = kv_dtype
    quantised, settings = LanguageModel(model, lm.tokenizer), {"max_new_tokens": 16, "eos": None}
    expected = quantised.generate(TEXT, **settings).tokens
    assert quantised.generate(TEXT, draft="lookup", **settings).tokens == expected
    found = quantised.generate(TEXT, draft=lm, **settings)
    assert found.tokens == expected
    assert found.drafted >= found.accepted


def test_a_grammar_is_kept(lm):
    pytest.importorskip("llguidance", reason="needs llguidance: pip install 'nextword[grammar]'")
    out = lm.generate(TEXT, regex=r"(yes|no)( [0-9]){2}", max_new_tokens=20, temperature=1.0, seed=1)
    assert re.fullmatch(r"(yes|no)( [0-9]){2}", out.text)


def test_searches_end_with_as_many_tokens_as_asked(lm):
    beams = lm.generate(TEXT, num_beams=3, n=3, max_new_tokens=6, eos=None)
    assert [len(one.tokens) for one in beams] == [6, 6, 6]
    assert beams[0].score >= beams[1].score >= beams[2].score
    assert len(lm.generate(TEXT, penalty_alpha=0.6, top_k=4, max_new_tokens=6, eos=None).tokens) == 6


def test_a_session_goes_on_with_the_text_of_the_whole_and_comes_back_from_its_file(lm, tmp_path):
    settings = {"max_new_tokens": 5, "eos": None}
    session = lm.session(TEXT)
    session.generate(**settings)
    session.save(tmp_path / "saved")
    ids = session.tokens + lm.tokenizer.encode("and ")
    expected = lm.generate(ids, **settings).tokens
    for one in (session, lm.resume(tmp_path / "saved"), session.fork()):
        one.rewind_to(len(ids) - 4)
        one.feed("and ")
        assert one.generate(**settings).tokens == expected


def test_scores_and_choices_are_those_of_the_logits(lm):
    scored = lm.score(TEXT)
    ids = [scored.start, *scored.tokens]
    logs = lm.model.ops.log_probabilities(lm.logits(ids)[:-1], np.array(ids[1:]))[0]
    np.testing.assert_array_equal(scored.logprobs, logs)
    found = lm.choose(TEXT, ["a", "bc"])
    prompt = lm.tokenizer.encode(TEXT)
    for one, text in zip(found, ("a", "bc"), strict=True):
        more = lm.tokenizer.encode(text)
        rows = lm.logits([*prompt, *more])[len(prompt) - 1 : -1]
        assert one.logprobs.tolist() == lm.model.ops.log_probabilities(rows, np.array(more))[0].tolist()


def test_an_engine_gives_the_texts_of_the_model(lm):
    prompts = [lm.tokenizer.encode(TEXT[n:]) for n in range(3)]
    expected = [lm.generate(ids, max_new_tokens=6, eos=None).tokens for ids in prompts]
    with lm.engine(slots=2) as engine:
        jobs = [engine.submit(ids, Sampling(max_new_tokens=6), eos=None) for ids in prompts]
        assert [job.result()[0].tokens for job in jobs] == expected


def test_a_server_answers_with_the_text_of_the_model(lm):
    from serving import serving

    expected = lm.generate(TEXT, max_new_tokens=6).text
    with serving({"m": lm}) as server, server.client() as client:
        body = {"model": "m", "prompt": TEXT, "max_tokens": 6, "temperature": 0}
        answer = client.post("/v1/completions", json=body).json()
    assert answer["choices"][0]["text"] == expected


def test_all_that_looks_inside_has_an_answer(lm):
    x = lm.inside(TEXT)
    assert set(lm.model.steps()) == set(x.names)
    lens = x.lens(top=2, watch="k")
    assert (x.lens_logits(-1) == x.logits[-1]).all()
    assert lens.tokens.shape == (lm.model.layers + 1, len(x.ids), 2)
    for by in ("part", "head", "neuron", "source"):
        found = x.attribution("k", against="q", by=by)
        assert abs(found.parts.sum() - found.logit) <= found.bound <= 1e-2 * (1 + np.abs(found.parts).sum())
    heads = x.head_outputs(1)
    out = x["h.1.attn.out"]
    assert (np.abs(np.asarray(heads).sum(0, dtype=np.float64) + heads.bias - out) <= heads.bound).all()
    assert x.attention().value_weighted().shape == (lm.model.layers, lm.model.heads, len(x.ids), len(x.ids))
    np.testing.assert_allclose(x.attention().rollout().sum(-1), 1, rtol=1e-5)
    for neuron in x.neurons(1, top=3):
        assert neuron.activation == x["h.1.mlp.act"][-1, neuron.neuron]
    short = "the king"
    assert lm.ablations(short, over="heads").values.shape == (lm.model.layers, lm.model.heads)
    changed = lm.ablate(short, heads=[(1, 0)], mlps=[0])
    assert (changed.logits_before != changed.logits_after).any()
    for at, heads_of in (("attn.z", lm.model.heads), ("attn.k", lm.model.kv_heads), ("attn.v", lm.model.kv_heads)):
        patched = lm.patch(short, "the kong", at=at, over="head", measure=("a", "b"))
        assert patched.values.shape == (lm.model.layers, heads_of)
    assert lm.heads("previous", text=short).values.shape == (lm.model.layers, lm.model.heads)


def test_every_call_of_the_page_has_an_answer(lm):
    page = Page(lm)
    told = page.model()
    assert (told["kind"], told["heads"], told["inner"]) == (lm.model.kind, lm.model.heads, 23)
    assert told["activation"]
    run = page.run({"prompt": TEXT, "lens": {"at": "resid_mid", "positions": [-1], "top": 3}, "next": 5})
    from nextword.page import views

    name = run["run"]
    assert len(views.neurons(page, name, {"layer": 1, "position": -1, "top": 3})["neurons"]) == 3
    assert views.attribute(page, name, {"target": "k", "by": "head"})["parts"]
    for activation in page.runs[name].names:
        READS["tensor"](page, name, {"name": activation})
        views.cell(page, name, {"name": activation, "index": [0] * len(page.runs[name].names[activation])})
    READS["heads"](page, name, {"size": "8"})
