"""Beam search token for token as in transformers; groups and contrastive search as in its versions that have them, and
as published."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.decoding.beams import beam_search
from nextword.decoding.contrastive import contrastive_search
from nextword.models.gpt2 import GPT2

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')

# Two OpenMP runtimes, torch's and ours, would wait for each other's threads on a small machine.
torch.set_num_threads(1)

HAS_CONTRASTIVE = hasattr(transformers.generation.utils.GenerationMixin, "_contrastive_search")
HAS_GROUPS = hasattr(transformers.generation.utils.GenerationMixin, "_group_beam_search")  # moved to the hub since


@st.composite
def pairs(draw):
    """(their model, ours) with the same random weights."""
    heads = draw(st.integers(1, 3))
    config = {
        "n_layer": draw(st.integers(1, 3)),
        "n_head": heads,
        "n_embd": heads * draw(st.sampled_from([3, 8, 17, 33])),
        "vocab_size": draw(st.sampled_from([40, 64, 201])),  # above the candidates of any step
        "n_positions": 64,
        "eos_token_id": None,
        "bos_token_id": None,
    }
    torch.manual_seed(draw(st.integers(0, 2**16)))
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager", **config)).eval()
    size = draw(st.sampled_from([0.2, 0.5, 1.0]))  # of the logits: from even to sure of itself
    with torch.no_grad():
        for name, x in theirs.named_parameters():
            if x.ndim == 2:
                x.normal_(0, size if name.endswith("wte.weight") else x.shape[0] ** -0.5)
            else:
                x.add_(torch.randn_like(x) * 0.1)
    weights = {name.removeprefix("transformer."): x.numpy() for name, x in theirs.state_dict().items()}
    return theirs, GPT2(weights, config)


@st.composite
def searches(draw, groups=1):
    """Settings that both take, and end tokens."""
    beams = groups * draw(st.integers(1 if groups > 1 else 2, 5 if groups == 1 else 3))
    settings = {
        "num_beams": beams,
        "num_return_sequences": draw(st.integers(1, beams)),
        "length_penalty": draw(st.sampled_from([1.0, 0.0, -1.0, 0.6, 2.0])),
        "early_stopping": draw(st.sampled_from([False, True, "never"])),
        "max_new_tokens": draw(st.integers(1, 30)),
    }
    if groups > 1:
        settings |= {"num_beam_groups": groups, "diversity_penalty": draw(st.sampled_from([0.3, 1.0, 2.5]))}
    return settings, draw(eos_ids)


eos_ids = st.lists(st.integers(0, 39), max_size=4, unique=True)
prompts = st.lists(st.integers(0, 39), min_size=1, max_size=30)


def their_search(model, prompt, eos, pad=0, **settings):
    """(new tokens, score) of each sequence, padding after an end token cut off."""
    given = torch.tensor(prompt)[None]
    with torch.no_grad():
        out = model.generate(given, attention_mask=torch.ones_like(given), eos_token_id=eos or None, pad_token_id=pad,
                             do_sample=False, return_dict_in_generate=True, output_scores=True, **settings)  # fmt: skip
    found = [row[len(prompt) :].tolist() for row in out.sequences]
    ends = [next((i for i, token in enumerate(row) if token in eos), len(row)) for row in found]
    return [(row[:end], score) for row, end, score in zip(found, ends, out.sequences_scores.tolist(), strict=True)]


def assert_same(beams, expected):
    assert [beam.tokens for beam in beams] == [tokens for tokens, _ in expected]
    for beam, (_, score) in zip(beams, expected, strict=True):
        # What their float32 sums lack is as much of the score as the sum is of it: logprob / length ** length_penalty.
        weight = beam.score / beam.logprob if beam.logprob else 1
        np.testing.assert_allclose(beam.score, score, rtol=1e-4, atol=1e-5 * max(1, weight))


@given(pairs(), searches(), prompts)
def test_beams_are_theirs_token_by_token(pair, search, prompt):
    theirs, ours = pair
    settings, eos = search
    assert_same(beam_search(ours, prompt, eos=eos, **settings).beams, their_search(theirs, prompt, eos, **settings))


@given(pairs(), searches(), prompts, st.sampled_from([1.3, 0.8]), st.lists(st.integers(0, 39), max_size=3))
def test_beams_are_theirs_where_processors_change_the_log_probabilities(pair, search, prompt, penalty, banned):
    theirs, ours = pair
    settings, eos = search

    def process(ids, logprobs):
        seen = np.unique(ids)
        x = logprobs[seen]
        logprobs[seen] = np.where(x < 0, x * np.float32(penalty), x / np.float32(penalty))
        logprobs[banned] = -np.inf
        return logprobs

    expected = their_search(theirs, prompt, eos, repetition_penalty=penalty, suppress_tokens=banned or None, **settings)
    assert_same(beam_search(ours, prompt, eos=eos, process=process, **settings).beams, expected)


# Diverse groups


def published(model, prompt, eos, banned, num_beams, num_return_sequences, length_penalty, early_stopping,
              max_new_tokens, num_beam_groups, diversity_penalty):  # fmt: skip
    """Diverse beam search written down plainly over their logits: (new tokens, score), best first."""
    size = num_beams // num_beam_groups
    groups = [{"open": [((), 0.0)], "ended": [], "done": False} for _ in range(num_beam_groups)]
    for length in range(1, max_new_tokens + 1):
        used = Counter()
        for group in groups:
            if group["done"]:
                continue
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *tokens] for tokens, _ in group["open"]])).logits[:, -1]
            logprobs = torch.log_softmax(logits, -1).double().numpy()
            candidates = []
            for (tokens, total), row in zip(group["open"], logprobs, strict=True):
                candidates += [(total + row[i] - diversity_penalty * used[i], (*tokens, i))
                               for i in range(len(row)) if i != banned]  # fmt: skip
            candidates.sort(reverse=True)
            candidates = candidates[: max(2, 1 + len(eos)) * size]
            group["open"] = [(t, s) for s, t in candidates if t[-1] not in eos][:size]
            group["ended"] += [(t[:-1], s / length**length_penalty) for s, t in candidates[:size] if t[-1] in eos]
            used.update(t[-1] for t, _ in group["open"])
            group["ended"] = sorted(group["ended"], key=lambda h: -h[1])[:size]
            if len(group["ended"]) == size:
                far = early_stopping == "never" and length_penalty > 0
                attainable = candidates[0][0] / (max_new_tokens if far else length) ** length_penalty
                group["done"] = early_stopping is True or group["ended"][-1][1] >= attainable
            if length == max_new_tokens and not group["done"]:
                group["ended"] += [(t, s / length**length_penalty) for t, s in group["open"]]
                group["ended"] = sorted(group["ended"], key=lambda h: -h[1])[:size]
    every = sorted((h for group in groups for h in group["ended"]), key=lambda h: -h[1])
    return [(list(tokens), score) for tokens, score in every[:num_return_sequences]]


def without(banned):
    def process(_, logprobs):
        logprobs[banned] = -np.inf
        return logprobs

    return process


@given(pairs(), st.integers(2, 3).flatmap(searches), prompts)
def test_groups_are_those_of_the_published_algorithm(pair, search, prompt):
    theirs, ours = pair
    settings, eos = search
    beams = beam_search(ours, prompt, eos=eos, **settings).beams
    assert_same_but_for_ties(beams, published(theirs, prompt, eos, None, **settings))


@pytest.mark.skipif(not HAS_GROUPS, reason=f"transformers {transformers.__version__} has no group beam search")
@given(pairs(), st.integers(2, 3).flatmap(searches), prompts)
def test_groups_are_theirs_token_by_token(pair, search, prompt):
    """Their groups that are done go on with the padding token, which later groups then avoid: nobody may take it."""
    theirs, ours = pair
    settings, eos = search
    pad = next(i for i in range(40) if i not in eos and i not in prompt)
    beams = beam_search(ours, prompt, eos=eos, process=without(pad), **settings).beams
    expected = their_search(theirs, prompt, eos, pad=pad, suppress_tokens=[pad], **settings)
    assert_same_but_for_ties(beams, expected)
    assert_same_but_for_ties(beams, published(theirs, prompt, eos, pad, **settings))


def assert_same_but_for_ties(beams, expected):
    """Two groups may find one text with one score; which of them comes first is nobody's promise."""

    def order(found):
        return sorted(found, key=lambda h: (-round(h[1], 4), h[0]))

    ours, theirs = order([(beam.tokens, beam.score) for beam in beams]), order(expected)
    assert [tokens for tokens, _ in ours] == [tokens for tokens, _ in theirs]
    np.testing.assert_allclose([s for _, s in ours], [s for _, s in theirs], rtol=1e-4, atol=1e-5)


# Contrastive search


def published_contrastive(model, prompt, eos, alpha, top_k, count):
    """Contrastive search written down plainly over their logits and hidden states."""
    tokens = []
    while len(tokens) < count:
        with torch.no_grad():
            ids = torch.tensor([*prompt, *tokens])
            p, best = torch.softmax(model(ids[None]).logits[0, -1], -1).topk(top_k)
            both = torch.cat([ids.repeat(top_k, 1), best[:, None]], 1)
            h = torch.nn.functional.normalize(model(both, output_hidden_states=True).hidden_states[-1], dim=-1)
            similar = (h[:, :-1] @ h[:, -1, :, None]).amax(1)[:, 0]
        tokens.append(int(best[((1 - alpha) * p - alpha * similar).argmax()]))
        if tokens[-1] in eos:
            return tokens[:-1]
    return tokens


@given(pairs(), prompts, st.sampled_from([0.0, 0.3, 0.6, 0.9]), st.integers(2, 6), st.integers(1, 20), eos_ids)
def test_contrastive_search_is_the_published_one(pair, prompt, alpha, top_k, count, eos):
    theirs, ours = pair
    settings = {"penalty_alpha": alpha, "top_k": top_k, "max_new_tokens": count}
    found = contrastive_search(ours, prompt, eos=eos, **settings).tokens
    assert found == published_contrastive(theirs, prompt, eos, alpha, top_k, count)
    if HAS_CONTRASTIVE and alpha:
        given = torch.tensor(prompt)[None]
        out = theirs.generate(given, attention_mask=torch.ones_like(given), eos_token_id=eos or None, pad_token_id=0,
                              **settings)[0, len(prompt) :].tolist()  # fmt: skip
        assert found == (out[:-1] if out[-1] in eos else out)


def test_contrastive_search_of_a_trained_model_is_the_published_one(trained):
    theirs, lm = trained
    for text in PROMPTS:
        prompt = lm.tokenizer.encode(text)
        found = contrastive_search(lm.model, prompt, max_new_tokens=25).tokens
        assert found == published_contrastive(theirs, prompt, [], 0.6, 4, 25)


# A trained model


@pytest.fixture(scope="module")
def trained():
    """(their model, ours): the one that ships with the package."""
    theirs = transformers.GPT2LMHeadModel.from_pretrained(nextword.DEMO, dtype=torch.float32).eval()
    return theirs, nextword.load()


PROMPTS = ["Once upon a time", "Es war einmal ein", "The old king said", "\n\n", "And they lived happily ever"]
SETTINGS = [
    {"num_beams": 2},
    {"num_beams": 4, "length_penalty": 0.5},
    {"num_beams": 5, "early_stopping": True, "num_return_sequences": 5},
    {"num_beams": 8, "early_stopping": "never", "length_penalty": 2.0, "num_return_sequences": 3},
    {"num_beams": 3, "length_penalty": -1.0, "repetition_penalty": 1.2, "num_return_sequences": 3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_trained_models_beams_are_theirs(trained, prompt, settings):
    theirs, lm = trained
    assert_same_search(theirs, lm, prompt, settings)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_starter_models_beams_are_theirs(shared, prompt):
    folder = shared("starter_model")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    assert_same_search(theirs, nextword.load(folder), prompt, {"num_beams": 4, "num_return_sequences": 4})


def assert_same_search(theirs, lm, prompt, settings):
    prompt, end = lm.tokenizer.encode(prompt), lm.tokenizer.encode(".")[0]
    penalty = settings.get("repetition_penalty")

    def process(ids, logprobs):
        seen = np.unique(ids)
        logprobs[seen] *= np.float32(penalty)
        return logprobs

    eos = [lm.config.eos_token_id, end]  # a full stop, so that hypotheses end
    expected = their_search(theirs, prompt, eos, max_new_tokens=40, **settings)
    own = {name: x for name, x in settings.items() if name != "repetition_penalty"}
    beams = beam_search(lm.model, prompt, eos=eos, max_new_tokens=40, process=process if penalty else None, **own).beams
    assert_same(beams, expected)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("early", [False, True, "never"])
def test_stop_strings_end_where_theirs_do(trained, prompt, early):
    theirs, lm = trained
    tokenizer = transformers.GPT2Tokenizer.from_pretrained(nextword.DEMO)
    ids, stop = lm.tokenizer.encode(prompt), ["he", ", a", "."]
    settings = {"num_beams": 4, "num_return_sequences": 4, "early_stopping": early, "max_new_tokens": 30}
    expected = their_search(theirs, ids, [], stop_strings=stop, tokenizer=tokenizer, **settings)
    beams = beam_search(lm.model, ids, stop=stop, decode=lm.tokenizer.decode, **settings).beams
    assert_same(beams, [(tokens[: len(beam.tokens)], score)  # theirs are filled up to the longest
                        for beam, (tokens, score) in zip(beams, expected, strict=True)])  # fmt: skip
    assert all((beam.finish_reason == "stop") == (beam.text != lm.tokenizer.decode(beam.tokens)) for beam in beams)
