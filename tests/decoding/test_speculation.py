"""speculation.py: a draft changes nothing but the number of passes, whoever guesses, whatever is asked."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword import Sampling
from nextword.decoding.draft_model import DraftModel
from nextword.decoding.drafting import WIDE, Asked, Pace
from nextword.decoding.lookup import LONGEST, Index
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.row import Row
from nextword.decoding.rules import Rules
from nextword.models.gpt2 import GPT2
from nextword.tasks.language_model import LanguageModel
from strategies import Script, models, random_model, random_tensors, run, settings_of_rows, tiny_config

WINDOW = 48
SHAPE = tiny_config(n_positions=WINDOW)


def near(model, config, size, seed=0):
    """A model whose matrices are another's but for some noise, so that it is often right and often wrong."""
    rng = np.random.default_rng(seed)
    tensors = random_tensors(config, 5)
    return GPT2({name: x + size * rng.standard_normal(x.shape).astype(np.float32) for name, x in tensors.items()},
                model.config)  # fmt: skip


@pytest.fixture(scope="module")
def tiny():
    """A model of random weights without a vocabulary; its window is 48 tokens."""
    return LanguageModel(random_model(SHAPE, seed=5))


@pytest.fixture(scope="module")
def drafts(tiny):
    """What may draft, by how good it is."""
    return {
        "none": None,
        "lookup": "lookup",
        "always right": tiny,
        "often right": near(tiny.model, SHAPE, 0.03),
        "seldom right": LanguageModel(near(tiny.model, SHAPE, 0.3)),
        "a stranger": random_model(tiny_config(n_layer=1, n_head=1, n_embd=8), seed=1),
        "a narrow window": random_model(tiny_config(n_positions=7), seed=5),
        "a window of one token": random_model(tiny_config(n_positions=1), seed=2),
        "a wide window": random_model(tiny_config(n_positions=2 * WINDOW), seed=5),
        "its int8 copy": "int8",
        "its int4 copy": "int4",
    }


NAMES = ("lookup", "always right", "often right", "seldom right", "a stranger", "a narrow window",
         "a window of one token", "a wide window", "its int8 copy", "its int4 copy")  # fmt: skip


def told(out):
    """All of a generation but its timings and counts."""
    steps = out.steps and [(s.token, s.probability, s.kept, s.drawn, s.removed_mass, s.candidates) for s in out.steps]
    return (out.text, out.tokens, out.prompt_tokens, out.finish_reason, out.seed, out.logprobs, out.removed_mass, steps)


# A draft changes nothing


@given(
    prompts=st.lists(st.lists(st.integers(0, 36), min_size=1, max_size=30), min_size=1, max_size=4),
    settings=st.lists(settings_of_rows(), min_size=4, max_size=4),
    name=st.sampled_from(NAMES),
    overflow=st.sampled_from(["error", "stop", "slide"]),
    more=st.integers(0, 40),
    explain=st.booleans(),
)
def test_a_text_does_not_depend_on_its_draft(isa, tiny, drafts, prompts, settings, name, overflow, more, explain):
    fresh = more if overflow != "error" else min(more, 6)
    settings = [Sampling(**s).changed(max_new_tokens=s["max_new_tokens"] + fresh) for s in settings[: len(prompts)]]
    common = {"sampling": settings, "on_overflow": overflow, "explain": explain, "eos": 11}
    plain, drafted = (tiny.generate(prompts, **common, draft=drafts[n]) for n in ("none", name))
    for a, b in zip(plain, drafted, strict=True):
        assert told(a) == told(b)
        assert (a.drafted, a.accepted) == (None, None)
        assert 0 <= b.accepted <= b.drafted
        assert b.accepted <= len(b.tokens)


@given(st.data())
def test_models_of_any_shape_draft_for_each_other(data):
    model = data.draw(models())
    size, window = model.vocabulary, model.limit
    shape = tiny_config(vocab_size=size, n_positions=data.draw(st.integers(1, 80), "draft's window"))
    draft = data.draw(st.sampled_from(["lookup", model, random_model(shape, 3)]), "draft")
    prompt = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=window), "prompt")
    lm, settings = LanguageModel(model), {
        "max_new_tokens": data.draw(st.integers(0, 40), "new"), "temperature": data.draw(st.sampled_from([0.0, 1.0])),
        "seed": 3, "logprobs": 1, "on_overflow": data.draw(st.sampled_from(["stop", "slide"]), "overflow"),
    }  # fmt: skip
    assert told(lm.generate(prompt, **settings, draft=draft)) == told(lm.generate(prompt, **settings))


@pytest.mark.parametrize("settings", [
    {"temperature": 0}, {"temperature": 1, "seed": 2}, {"temperature": 1, "seed": 5, "stop": [" the", "e."]},
    {"frequency_penalty": 0.5, "max_new_tokens": 50, "logit_bias": {" king": 3.0}}, {"no_repeat_ngram_size": 2},
])  # fmt: skip
@pytest.mark.parametrize("draft", ["lookup", "itself"])
def test_a_stream_yields_the_same_pieces(isa, demo, settings, draft):
    drafter = demo if draft == "itself" else draft
    settings = {"seed": 0, **settings}
    plain, drafted = (demo.stream("Es war einmal", **settings, draft=d) for d in (None, drafter))
    assert list(plain) == list(drafted)
    assert told(plain.result) == told(drafted.result)
    ids, ids_too = (LanguageModel(demo.model).stream([281, 290], max_new_tokens=30, draft=d) for d in (None, drafter))
    assert list(ids) == list(ids_too)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_drafts_of_full_length_change_no_bit(isa, demo, temperature):
    settings = {"temperature": temperature, "seed": 1, "max_new_tokens": 180, "logprobs": 2}
    plain, drafted = (demo.generate("Es war einmal", **settings, draft=d) for d in (None, demo))
    assert told(plain) == told(drafted)
    assert drafted.drafted == drafted.accepted >= sum(range(4, 17))  # drafts of 4, 5, ... 16 tokens


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 5}, {"logit_bias": {" king": 4.0}}])
@pytest.mark.parametrize("regex", [r" (a|the) (king|queen)\.", r"[0-9]{12}", r"(ab)+c"])
def test_a_draft_keeps_to_the_grammar_and_changes_nothing(demo, regex, settings):
    pytest.importorskip("llguidance", reason="needs llguidance: pip install 'nextword[grammar]'")
    common = {"regex": regex, "max_new_tokens": 30, "explain": 3, "seed": 0, **settings}
    plain, looked_up, foreseen = (demo.generate("There was", **common, draft=d) for d in (None, "lookup", demo))
    assert told(plain) == told(looked_up) == told(foreseen)
    assert foreseen.accepted == foreseen.drafted > 0


def test_several_texts_of_a_prompt_and_the_best_of_them_are_the_same(tiny, drafts):
    prompt, settings = list(range(36)), {"temperature": 1.0, "seed": 4, "max_new_tokens": 12}
    for more in ({"n": 5}, {"n": 2, "best_of": 6}):
        plain, drafted = (tiny.generate(prompt, **settings, **more, draft=d) for d in (None, drafts["often right"]))
        assert [told(one) for one in plain] == [told(one) for one in drafted]


def test_a_prefix_store_goes_with_a_draft(tiny, drafts):
    store, settings = PrefixCache(tiny.model), {"max_new_tokens": 10, "seed": 0}
    prompt = np.random.default_rng(0).integers(0, 37, 36).tolist()
    for ids in (prompt, [*prompt[:-1], 3]):
        drafted = tiny.generate(ids, prefix=store, draft=drafts["often right"], **settings)
        assert told(drafted) == told(tiny.generate(ids, **settings))
    assert store.lookup(prompt) == len(prompt)


def test_the_users_functions_see_the_models_logits_once_a_token_and_no_draft(tiny):
    seen = []

    def processor(x):
        seen.append(x.tobytes())
        return x - x[len(seen) % 37]

    calls = []
    for draft in (None, tiny):
        tiny.generate([1, 2, 3], temperature=2.0, seed=1, max_new_tokens=20, processors=processor, draft=draft)
        calls.append(list(seen))
        seen.clear()
    assert calls[0] == calls[1]
    assert len(calls[0]) == 20


def chi_square(counts, p):
    expected = counts.sum() * p
    return float(((counts - expected) ** 2 / expected).sum())


def test_drafted_tokens_follow_the_models_distribution():
    """Of 4,000 texts, how often each pair of tokens came, against the product of the model's probabilities.

    The statistic is about chi-square with one degree of freedom fewer than cells; it is held to its mean and five
    standard deviations of that distribution, sqrt(2 degrees).
    """
    config = tiny_config(vocab_size=5, n_positions=8)
    model, texts = random_model(config, seed=9), 4000
    lm = LanguageModel(model)
    draft = random_model(config, seed=9)
    draft.head.bias = np.float32([0.8, -0.8, 0.4, 0, -0.4])  # it would draw from quite another distribution
    counts, tallied = np.zeros((5, 5)), np.zeros(2)
    for start in range(0, texts, 8):
        for out in lm.generate([[1, 2]] * 8, temperature=2.0, seed=list(range(start, start + 8)), max_new_tokens=3,
                               draft=draft):  # fmt: skip
            counts[out.tokens[1], out.tokens[2]] += 1
            tallied += out.drafted, out.accepted
    assert 0.2 * texts < tallied[1] < tallied[0]  # many were right and many were not

    def chances(ids):
        x = run(model, [ids])[-1].astype(np.float64) / 2.0
        return np.exp(x - x.max()) / np.exp(x - x.max()).sum()

    first = chances([1, 2])
    second = [chances([1, 2, a]) for a in range(5)]
    pairs = sum(first[a] * second[a][:, None] * np.array([chances([1, 2, a, b]) for b in range(5)]) for a in range(5))
    cells = [(counts[a, b], pairs[a, b]) for a in range(5) for b in range(5) if texts * pairs[a, b] >= 5]
    rare = [(counts[a, b], pairs[a, b]) for a in range(5) for b in range(5) if texts * pairs[a, b] < 5]
    if rare:
        cells.append((sum(c for c, _ in rare), sum(p for _, p in rare)))
    found, p = np.array(cells).T
    degrees = len(cells) - 1
    assert degrees >= 10
    assert chi_square(found, p) < degrees + 5 * math.sqrt(2 * degrees)
    assert chi_square(np.roll(found, 1), p) > degrees + 5 * math.sqrt(2 * degrees)  # which sees a difference


# What drafting saves


def passes(lm, prompt, **settings):
    """The generation and how many tokens went through the model at each pass after the prompt's."""
    with nextword.trace(lm, names="wte") as t:
        out = lm.generate(prompt, **settings)
    return out, [len(x) for x in t.all("wte")][1:]


@pytest.mark.parametrize("settings", [
    {}, {"temperature": 1.5, "seed": 7}, {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.3, "seed": 1},
    {"logit_bias": {3: 2.0}, "no_repeat_ngram_size": 2}, {"frequency_penalty": 1.0, "min_new_tokens": 9},
])  # fmt: skip
def test_a_model_that_drafts_for_itself_is_always_right(tiny, settings):
    double = random_model(SHAPE, seed=5)
    out, fresh = passes(tiny, [1, 2, 3], max_new_tokens=30, eos=4, **settings, draft=double)
    assert out.accepted == out.drafted
    if out.finish_reason == "length":
        assert fresh == [5, 6, 7, 8, 3]  # the last token, and 4, 5, 6, 7 drafted ones, then as many as may still come
        assert out.drafted == 24


def test_a_draft_ends_where_the_text_would(tiny):
    double, settings = random_model(SHAPE, seed=5), {"temperature": 1.5, "seed": 7, "max_new_tokens": 30}
    tokens = tiny.generate([1, 2, 3], **settings).tokens
    at = next(i for i, token in enumerate(tokens) if token not in tokens[:i] and i >= 8)
    for ends in ({"eos": tokens[at]}, {"stop": tokens[at]}):
        out, fresh = passes(tiny, [1, 2, 3], **settings, **ends, draft=double)
        assert out.finish_reason == "stop"
        assert sum(fresh) == at  # the last pass holds no token that could not be followed
        assert out.drafted == out.accepted == at - len(fresh)


def test_a_repetition_is_looked_up():
    out = LanguageModel(Script(b"la" * 12, 1)).generate([120], draft="lookup")
    assert (bytes(out.tokens), out.finish_reason) == (b"la" * 12, "stop")
    # "l", "a", "l" come without; then 4, 5 and 6 right ones, each time with one more, and of 7 the 3 that are left.
    assert (out.drafted, out.accepted) == (4 + 5 + 6 + 7, 4 + 5 + 6 + 3)


def test_rows_share_what_a_pass_takes_well(tiny):
    for rows, fresh in ((1, 5), (8, 32), (16, 32), (17, 17), (40, 40)):
        prompts = [[i % 37, 2 * i % 37, 3] for i in range(rows)]
        _, sizes = passes(tiny, prompts, max_new_tokens=7, draft=random_model(SHAPE, seed=5))
        assert sizes[0] == fresh
        assert max(sizes) <= max(WIDE, rows)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_draft_model_that_has_no_answer_is_not_asked_on(tiny, temperature):
    draft, settings = random_model(SHAPE, seed=5), {"temperature": temperature, "seed": 1, "max_new_tokens": 9}
    draft.head.bias = np.full(37, np.nan, np.float32)
    out = tiny.generate([1, 2, 3], **settings, draft=draft)
    assert told(out) == told(tiny.generate([1, 2, 3], **settings))
    assert out.drafted == 0


def test_a_draft_model_encodes_a_token_once(tiny):
    double = random_model(SHAPE, seed=5)
    with nextword.trace(double, names="wte") as t:
        tiny.generate([1, 2, 3], max_new_tokens=20, temperature=1.0, seed=1, draft=double)
    # Prompt and first token, then each guess but the last; what the model added to a draft comes with that last one.
    assert [len(x) for x in t.all("wte")] == [4, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]


def test_a_draft_model_encodes_what_rows_share_once(tiny):
    draft, prompt = random_model(SHAPE, seed=1), list(range(36))
    with nextword.trace(draft, names="wte") as t:
        tiny.generate(prompt, n=4, temperature=1.0, seed=2, max_new_tokens=3, draft=draft)
    first, second, *rest = (len(x) for x in t.all("wte"))
    assert (first, second) == (36, 4)  # the prompt once, then each row's own first token
    assert max(rest, default=0) <= 8


# Who guesses


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 9), st.integers(0, 40))
def test_an_index_finds_what_followed_the_last_tokens(tokens, most, cut):
    index = Index()
    index.extend(tokens[:cut])
    index.extend(tokens[cut:])
    found = index.continuation(most)
    for length in range(min(LONGEST, len(tokens)), 0, -1):
        places = [at for at in range(length, len(tokens)) if tokens[at - length : at] == tokens[-length:]]
        if places:
            text = list(tokens)
            for i in range(most):
                text.append(text[places[-1] + i])
            assert found == text[len(tokens) :]
            return
    assert found == []


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=40))
def test_a_pace_follows_what_is_accepted(rounds):
    pace, before, made, kept = Pace(), 4, 0, 0
    for limit, right in rounds:
        drafted = min(limit, pace.length)
        accepted = min(right, drafted)
        pace.learn(drafted, accepted)
        if not drafted:
            assert pace.length == before
        elif accepted == drafted:
            assert pace.length == min(WIDE // 2, before + 1)
        else:
            assert pace.length == max(1, (before + accepted) // 2) <= before
        before, made, kept = pace.length, made + drafted, kept + accepted
        assert 1 <= pace.length <= WIDE // 2
    assert (pace.drafted, pace.accepted) == (made, kept)


@given(st.data())
def test_a_draft_models_guess_is_its_own_continuation(data):
    """However the text grew, whatever was guessed before, whichever rows were asked, and what they still see."""
    model = random_model(tiny_config(n_positions=80), seed=2)
    rows = [Row(data.draw(st.lists(st.integers(0, 36), min_size=1, max_size=40)), Sampling(max_new_tokens=40),
                Rules(Sampling(), 37)) for _ in range(data.draw(st.integers(1, 3), "rows"))]  # fmt: skip
    drafter, begins = DraftModel(model, len(rows), 80), [0] * len(rows)
    for _ in range(data.draw(st.integers(1, 5), "rounds")):
        begins = [data.draw(st.sampled_from([begin, (begin + len(row)) // 2]), "begin")
                  for row, begin in zip(rows, begins, strict=True)]  # fmt: skip
        asked = [Asked(slot, row, begins[slot], data.draw(st.integers(1, 6), "most"))
                 for slot, row in enumerate(rows) if data.draw(st.booleans(), "asked")]  # fmt: skip
        for one, guess in zip(asked, drafter.guess(asked), strict=True):
            ids = one.row.ids(one.begin).tolist()
            expected = LanguageModel(model).generate(ids, max_new_tokens=one.most).tokens
            assert guess == expected
            right = data.draw(st.integers(0, len(guess)), "right")
            for token in [*guess[:right], data.draw(st.integers(0, 36), "next")]:
                logits = np.zeros(37, np.float32)
                logits[token] = 1
                if one.row.finish is None:
                    one.row.take(logits)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_quantised_copy_is_the_model_loaded_in_that_dtype(isa, tied, dtype):
    config = tiny_config(tie_word_embeddings=tied)
    tensors = random_tensors(config, 3)
    model = GPT2(tensors, config)
    copy = model.quantised(dtype)
    ids = [3, 1, 4, 1, 5, 9]
    before = run(model, [ids])
    np.testing.assert_array_equal(run(copy, [ids]), run(GPT2(tensors, config, dtype=dtype), [ids]))
    np.testing.assert_array_equal(run(model, [ids]), before)
    assert copy.dtype == dtype
    assert (copy.head.weight is copy.embed.tokens) == tied
    assert copy.ln_f is model.ln_f
    assert copy.embed.positions is model.embed.positions
    assert copy.blocks[0].ln_1 is model.blocks[0].ln_1
    assert copy.blocks[0].qkv.bias is model.blocks[0].qkv.bias


def test_a_quantised_copy_drafts_and_is_made_once():
    ops, made = ModuleType("counting"), []
    vars(ops).update(vars(nextword.ops))
    ops.pack = lambda x, dtype="float32": made.append(dtype) or nextword.ops.pack(x, dtype)
    lm = LanguageModel(random_model(SHAPE, seed=5, ops=ops))
    made.clear()
    for _ in range(2):
        out = lm.generate([1, 2, 3], max_new_tokens=30, temperature=1.0, seed=3, draft="bfloat16")
        assert told(out) == told(lm.generate([1, 2, 3], max_new_tokens=30, temperature=1.0, seed=3))
        assert 0 < out.accepted <= out.drafted
    assert made == ["bfloat16"] * 9  # four matrices of each of two blocks, and the embedding that is also the head


# Sessions


@pytest.mark.parametrize("name", NAMES)
def test_a_session_goes_on_with_a_draft_as_without(tiny, drafts, name):
    settings = {"max_new_tokens": 25, "on_overflow": "slide", "temperature": 1.0, "seed": 3}
    drafted, plain = tiny.session([1, 2, 3]), tiny.session([1, 2, 3])
    for _ in range(3):
        assert told(drafted.generate(**settings, draft=drafts[name])) == told(plain.generate(**settings))
        assert drafted.tokens == plain.tokens
    drafted.rewind_to(10)
    np.testing.assert_array_equal(drafted.logits, run(tiny.model, [drafted.tokens])[-1])


def test_looking_at_a_session_does_not_disturb_a_drafted_stream(tiny, drafts):
    session, seen = tiny.session([1, 2]), []
    for token in session.stream(max_new_tokens=30, draft=drafts["often right"]):
        seen.append(token)
        np.testing.assert_array_equal(session.logits, run(tiny.model, [[1, 2, *seen]])[-1])
        assert session.fork().generate(max_new_tokens=2).tokens == tiny.generate([1, 2, *seen], max_new_tokens=2).tokens
    assert seen == tiny.generate([1, 2], max_new_tokens=30).tokens


@pytest.mark.parametrize("drafting", [False, True])
@pytest.mark.parametrize("when", range(7))
def test_an_interrupted_draft_leaves_a_session_that_goes_on(tiny, drafts, monkeypatch, drafting, when):
    session, draft = tiny.session([7] * 5), drafts["often right"]
    calls, model = iter(range(100)), GPT2.__call__

    def interrupted(self, *args, **settings):
        logits = model(self, *args, **settings)
        if (self is draft) == drafting and next(calls) == when:
            raise KeyboardInterrupt
        return logits

    with monkeypatch.context() as patch:
        patch.setattr(GPT2, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.generate(max_new_tokens=40, draft=draft)
    ids = session.tokens
    assert ids == [7] * 5 + tiny.generate([7] * 5, max_new_tokens=40).tokens[: len(ids) - 5]
    np.testing.assert_array_equal(session.logits, run(tiny.model, [ids])[-1])
    assert session.generate(max_new_tokens=3, draft=draft).tokens == tiny.generate(ids, max_new_tokens=3).tokens


# Errors of use


@pytest.mark.parametrize("search", [{"num_beams": 2}, {"penalty_alpha": 0.6}])
def test_a_search_takes_no_draft(tiny, search):
    with pytest.raises(ValueError, match="generate: draft goes with greedy decoding and sampling, not with a search"):
        tiny.generate([1], **search, draft="lookup")
    with pytest.raises(ValueError, match="generate: draft goes with greedy decoding and sampling, not with a search"):
        tiny.generate([[1], [2]], sampling=[Sampling(), Sampling(**search)], draft="lookup")


@pytest.mark.parametrize("draft", ["look up", "float32", "", 3, True, ["lookup"], b"lookup"])
def test_a_draft_that_is_none_is_an_error_that_says_what_is(tiny, draft):
    for call in (tiny.generate, tiny.stream):
        with pytest.raises(ValueError, match=r'draft must be "lookup", .*, a LanguageModel, a GPT2 or None, got '):
            call([1], draft=draft)


def test_a_draft_of_another_vocabulary_is_an_error(tiny, demo, tmp_path):
    with pytest.raises(ValueError, match=r"draft must have the model's vocabulary of 37 tokens, got another of 38"):
        tiny.generate([1], draft=random_model(tiny_config(vocab_size=38)))
    shape = tiny_config(vocab_size=4096)
    with pytest.raises(ValueError, match=r"draft must have the model's vocabulary of 4096 tokens, got another"):
        demo.generate("x", draft=LanguageModel(random_model(shape), byte_tokenizer(tmp_path)))
    same = LanguageModel(random_model(shape), nextword.load().tokenizer)
    assert demo.generate("x", max_new_tokens=9, draft=same).text == demo.generate("x", max_new_tokens=9).text
