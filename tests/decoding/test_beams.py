"""beams.py: what a search finds, how hypotheses end, what the cache holds meanwhile, the tree, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword.decoding.beam_tree import BeamCandidate, BeamStep, render_tree
from nextword.decoding.beams import Beam, BeamResult, Path, Slots, beam_search
from nextword.models.passes import CHUNK
from nextword.tasks.language_model import LanguageModel
from strategies import Script, models, random_model, run, tiny_config, token_ids

seeds = st.integers(0, 2**16)
stopping = st.sampled_from([False, True, "never"])


@pytest.fixture(scope="module")
def tiny():
    """A model of random weights whose window is 24 tokens."""
    return random_model(tiny_config(), seed=5)


def log_softmax(logits):
    x = logits.astype(np.float64)
    return x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) - x.max(-1, keepdims=True)


def steps_of(model, prompt, texts):
    """The log-probability of each token of each text after the prompt, everything encoded anew."""
    batch = [np.array([*prompt, *tokens[:-1]]) for tokens in texts]
    logits = model(batch, model.cache(len(batch), max(map(len, batch))))
    ends = np.cumsum([len(ids) for ids in batch])
    return [np.take_along_axis(log_softmax(logits[end - len(tokens) : end]), np.array(tokens)[:, None], 1)[:, 0]
            for end, tokens in zip(ends, texts, strict=True)]  # fmt: skip


# What is found


@given(st.data(), models(), st.integers(1, 12))
def test_one_beam_is_greedy_decoding(data, model, count):
    prompt = data.draw(token_ids(model))
    eos = data.draw(st.integers(0, model.vocabulary - 1))
    found = beam_search(model, prompt, num_beams=1, max_new_tokens=count, eos=eos).beams
    greedy = LanguageModel(model).generate(prompt, max_new_tokens=count, eos=eos, on_overflow="stop")
    assert [beam.tokens for beam in found] == [greedy.tokens]
    assert found[0].finish_reason == greedy.finish_reason


@given(seeds, st.integers(2, 4), st.integers(1, 3), st.sampled_from([0.0, 1.0, -0.5, 2.0]), stopping)
def test_as_many_beams_as_there_are_texts_find_the_best_of_all(seed, vocabulary, count, penalty, early):
    model = random_model(tiny_config(vocab_size=vocabulary, n_layer=1), seed)
    prompt, beams = [0, 1], vocabulary**count
    texts = [list(text) for text in itertools.product(range(vocabulary), repeat=count)]
    scores = sorted((sum(path) / count**penalty for path in steps_of(model, prompt, texts)), reverse=True)
    found = beam_search(model, prompt, num_beams=beams, num_return_sequences=beams, max_new_tokens=count,
                        length_penalty=penalty, early_stopping=early).beams  # fmt: skip
    np.testing.assert_allclose([beam.score for beam in found], scores, atol=1e-5)
    assert sorted(beam.tokens for beam in found) == texts


@given(seeds, st.integers(2, 4), st.integers(1, 3), st.sampled_from([0.0, 0.7, 1.0, 2.0, -1.0]))
def test_with_an_end_token_too_the_best_of_all_texts_is_found(seed, vocabulary, count, penalty):
    model, prompt, eos = random_model(tiny_config(vocab_size=vocabulary, n_layer=1), seed), [1], 0
    inner = range(1, vocabulary)
    ended = [(*t, eos) for n in range(count) for t in itertools.product(inner, repeat=n)]
    every = [*ended, *itertools.product(inner, repeat=count)]
    scores = [sum(path) / len(path) ** penalty for path in steps_of(model, prompt, every)]
    found = beam_search(model, prompt, num_beams=vocabulary**count, max_new_tokens=count, eos=eos,
                        length_penalty=penalty, early_stopping="never").beams[0]  # fmt: skip
    np.testing.assert_allclose(found.score, max(scores), atol=1e-5)
    text = (*found.tokens, *[eos] * (found.finish_reason == "stop"))
    np.testing.assert_allclose(scores[every.index(text)], max(scores), atol=1e-5)


@given(st.data(), models(), st.integers(2, 6), stopping, st.floats(-1, 2), st.integers(1, 3))
def test_scores_are_the_true_log_probabilities_best_first(isa, data, model, size, early, penalty, groups):
    prompt = data.draw(token_ids(model))
    eos = data.draw(st.lists(st.integers(0, model.vocabulary - 1), max_size=2))
    beams = size * groups
    found = beam_search(model, prompt, num_beams=beams, num_return_sequences=beams, max_new_tokens=15, eos=eos,
                        early_stopping=early, length_penalty=penalty, num_beam_groups=groups).beams  # fmt: skip
    assert 1 <= len(found) <= beams
    assert [beam.score for beam in found] == sorted((beam.score for beam in found), reverse=True)
    for beam in found:
        ended = [[*beam.tokens, end] for end in eos] if beam.finish_reason == "stop" else [beam.tokens]
        paths = [steps_of(model, prompt, [tokens])[0] for tokens in ended]
        assert any(np.allclose(beam.logprobs, true, rtol=1e-6, atol=2e-6) for true in paths)
        assert beam.logprob == sum(beam.logprobs)
        assert beam.score == beam.logprob / len(beam.logprobs) ** penalty
        assert not set(beam.tokens) & set(eos)
    if groups == 1 and len(set(eos)) < 2:  # two end tokens may end the same text, and groups find it each
        assert len({(*beam.tokens, beam.finish_reason) for beam in found}) == len(found)


def test_equal_probabilities_take_the_lower_beam_then_the_lower_id():
    model = Script(b"", 1)  # every byte equally probable, the end token more
    found = beam_search(model, [0], num_beams=3, num_return_sequences=3, max_new_tokens=2, process=lambda _, x: 0 * x)
    assert [beam.tokens for beam in found.beams] == [[0, 0], [0, 1], [0, 2]]


# Diverse groups


def test_groups_without_a_penalty_find_the_same(tiny):
    alone = beam_search(tiny, [1, 2], num_beams=3, num_return_sequences=3, max_new_tokens=9, length_penalty=0.3).beams
    groups = beam_search(tiny, [1, 2], num_beams=6, num_return_sequences=6, max_new_tokens=9, length_penalty=0.3,
                         num_beam_groups=2).beams  # fmt: skip
    assert groups == [beam for beam in alone for _ in range(2)]


def test_a_large_penalty_keeps_groups_apart_at_every_position(tiny):
    found = beam_search(tiny, [1, 2], num_beams=4, num_return_sequences=4, max_new_tokens=10, num_beam_groups=4,
                        diversity_penalty=1000.0).beams  # fmt: skip
    assert all(len(set(column)) == 4 for column in zip(*(beam.tokens for beam in found), strict=True))
    greedy = LanguageModel(tiny).generate([1, 2], max_new_tokens=10, eos=None).tokens
    assert found[0].tokens == greedy


# How hypotheses end


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return byte_tokenizer(tmp_path_factory.mktemp("bytes"))


def text_of(ids):
    return bytes(i for i in ids if i < 256).decode("utf-8", "replace")


def test_a_stop_string_across_tokens_ends_a_hypothesis_and_its_text(vocabulary):
    found = beam_search(Script(b"one two three", 1), [1], num_beams=2, max_new_tokens=12, stop=["tw", "wo t"],
                        decode=vocabulary.decode, early_stopping=True, length_penalty=0.0).beams[0]  # fmt: skip
    assert (found.text, found.tokens, found.finish_reason) == ("one ", list(b"one tw"), "stop")


@given(st.text("abc", min_size=1, max_size=2), seeds, st.integers(1, 4))
def test_no_text_contains_a_stop_string(stop, seed, beams):
    model = random_model(tiny_config(vocab_size=5), seed)

    def decode(ids):
        return "".join("abc\n-"[i] for i in ids)

    found = beam_search(model, [1, 2, 3], num_beams=beams, num_return_sequences=beams, max_new_tokens=10, stop=stop,
                        decode=decode).beams  # fmt: skip
    for beam in found:
        whole = decode(beam.tokens)
        assert beam.text == whole.split(stop)[0]
        assert (beam.finish_reason == "stop") == (stop in whole)
        assert stop not in whole[:-1]


def test_a_stop_id_is_among_the_tokens_and_an_end_token_is_not(vocabulary):
    settings = {"num_beams": 2, "max_new_tokens": 9, "early_stopping": True, "decode": text_of, "length_penalty": 0.0}
    by_stop = beam_search(Script(b"abc", 1), [1], stop=ord("c"), **settings).beams[0]
    assert (by_stop.text, by_stop.tokens, by_stop.finish_reason) == ("ab", list(b"abc"), "stop")
    by_end = beam_search(Script(b"abc", 1), [1], eos=256, **settings).beams[0]
    assert (by_end.text, by_end.tokens, by_end.finish_reason) == ("abc", list(b"abc"), "stop")
    assert (len(by_stop.logprobs), len(by_end.logprobs)) == (3, 4)


def test_an_id_without_a_text_is_a_replacement_character(demo):
    vocabulary, wanted = demo.tokenizer, [281, 5000, 290, 5000]
    model = random_model(tiny_config(vocab_size=5001))

    def process(ids, _):
        return np.where(np.arange(5001) == wanted[len(ids) - 1], 0, -np.inf).astype(np.float32)

    settings = {"num_beams": 2, "max_new_tokens": 4, "decode": vocabulary.decode, "process": process}
    text = f"{vocabulary.decode([281])}\ufffd{vocabulary.decode([290])}"
    assert beam_search(model, [1], **settings).beams[0].text == f"{text}\ufffd"
    assert beam_search(model, [1], stop="\ufffd", **settings).beams[0].tokens == [281, 5000]


def test_early_stopping_ends_with_the_first_full_set_of_hypotheses(tiny):
    settings = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 20, "eos": [3, 4, 5, 6]}
    steps = {early: len(beam_search(tiny, [1, 2], early_stopping=early, **settings).tree)
             for early in (True, False, "never")}  # fmt: skip
    assert steps[True] <= steps[False] <= steps["never"]


@pytest.mark.parametrize(("prompt", "reason", "count"), [(4, "length", 20), (5, "length", 20), (6, "context", 19),
                                                         (24, "context", 1)])  # fmt: skip
def test_a_search_ends_where_the_context_window_is_full(tiny, prompt, reason, count):
    ids = list(range(prompt))
    for groups in (1, 3):
        found = beam_search(tiny, ids, num_beams=3, num_return_sequences=3, max_new_tokens=20, num_beam_groups=groups)
        assert [(len(beam.tokens), beam.finish_reason) for beam in found.beams] == [(count, reason)] * 3


def test_no_new_tokens_is_one_empty_hypothesis(tiny):
    found = beam_search(tiny, [1], max_new_tokens=0, decode=text_of)
    assert found == BeamResult([Beam([], "", 0.0, 0.0, [], "length")], [])


# The hook


def test_process_sees_each_open_beam_once_and_its_values_are_summed(tiny):
    seen = []

    def process(ids, logprobs):
        assert logprobs.dtype == np.float32
        np.testing.assert_allclose(np.exp(logprobs, dtype=np.float64).sum(), 1, atol=1e-5)
        seen.append(ids)
        logprobs[:] = 7  # its own to write to
        return np.arange(37, dtype=np.float32) - 40

    found = beam_search(tiny, [5, 6], num_beams=2, num_return_sequences=2, max_new_tokens=3, process=process)
    assert seen == [[5, 6], [5, 6, 36], [5, 6, 35], [5, 6, 36, 36], [5, 6, 36, 35]]
    assert [beam.tokens for beam in found.beams] == [[36, 36, 36], [36, 36, 35]]
    assert found.beams[1].logprobs == [-4, -4, -5]


def test_a_process_that_changes_nothing_changes_nothing(tiny):
    settings = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 12, "eos": 3}
    plain = beam_search(tiny, [1, 2], **settings)
    assert beam_search(tiny, [1, 2], process=lambda _, x: x, **settings) == plain


def test_a_banned_token_never_comes_and_few_allowed_ones_leave_few_beams(tiny):
    def only(*allowed):
        def process(ids, logprobs):
            banned = np.ones(37, bool)
            banned[list(allowed)] = False
            logprobs[banned] = -np.inf
            return logprobs

        return process

    found = beam_search(tiny, [1], num_beams=6, num_return_sequences=6, max_new_tokens=3, process=only(4, 9))
    assert len(found.beams) == 6
    assert {token for beam in found.beams for token in beam.tokens} == {4, 9}
    assert [len(step.candidates) for step in found.tree] == [2, 4, 8]
    one = beam_search(tiny, [1], num_beams=6, num_return_sequences=6, max_new_tokens=3, process=only(4))
    assert [beam.tokens for beam in one.beams] == [[4, 4, 4]]


# The cache


@given(st.data(), models(), st.integers(1, 6), st.integers(1, 3))
def test_the_bits_of_a_beam_are_those_of_its_tokens_alone(isa, data, model, size, groups):
    prompt = data.draw(token_ids(model))
    found = beam_search(model, prompt, num_beams=size * groups, num_return_sequences=size * groups, max_new_tokens=12,
                        num_beam_groups=groups, diversity_penalty=0.5 * (groups > 1)).beams  # fmt: skip
    for beam in found:
        def process(ids, logprobs, tokens=beam.tokens):
            banned = np.arange(len(logprobs)) != tokens[len(ids) - len(prompt)]
            logprobs[banned] = -np.inf
            return logprobs

        alone = beam_search(model, prompt, num_beams=1, max_new_tokens=12, process=process).beams[0]
        assert alone.tokens == beam.tokens
        if groups == 1:
            assert alone == beam


@given(st.data(), st.integers(1, 6), st.integers(1, 40))
def test_any_choice_of_parents_leaves_each_beam_its_own_past(data, beams, length):
    """Slots hold what a cache would that had encoded each beam by itself."""
    model = random_model(tiny_config(n_layer=1, n_positions=100))
    prompt = data.draw(st.lists(st.integers(0, 36), min_size=1, max_size=50))
    slots = Slots(model, prompt, beams, 50)
    first = slots.prefill()
    np.testing.assert_array_equal(first[0], run(model, [prompt])[-1])
    paths = [Path([data.draw(st.integers(0, 36))], [], 0.0, 0) for _ in range(data.draw(st.integers(1, beams)))]
    rng = np.random.default_rng(data.draw(seeds))
    for _ in range(min(length, 49)):
        logits = slots.step(paths)
        assert len({path.slot for path in paths}) == len(paths)
        for row, path in enumerate(paths):
            assert path.row == row
            assert slots.held[path.slot] == path.tokens
        row = rng.integers(len(paths))
        np.testing.assert_array_equal(logits[row], run(model, [[*prompt, *paths[row].tokens]])[-1])
        parents = rng.integers(0, len(paths), rng.integers(1, beams + 1))
        paths = [Path([*paths[p].tokens, int(rng.integers(0, 37))], [], 0.0, paths[p].slot) for p in parents]


def test_beams_that_stay_copy_nothing_and_the_others_what_they_do_not_share(tiny, monkeypatch):
    slots = Slots(tiny, [1, 2, 3], 3, 20)
    slots.prefill()
    copies = []
    inner = slots.cache.copy
    monkeypatch.setattr(slots.cache, "copy", lambda *range: (copies.append(range), inner(*range)))
    a, b, c = (Path([token], [], 0.0, 0) for token in (4, 5, 6))
    slots.step([a, b, c])
    assert copies == [(0, 1, 3, 0), (0, 2, 3, 0)]  # the prompt, into each new slot
    copies.clear()
    a, b, c = (Path([*path.tokens, 7], [], 0.0, path.slot) for path in (c, b, a))
    slots.step([a, b, c])  # another order alone moves nothing
    assert copies == []
    children = [Path([*b.tokens, token], [], 0.0, b.slot) for token in (8, 9)]
    slots.step(children)
    assert copies == [(1, 0, 5, 3)]  # prompt and two tokens, none of them shared beyond the prompt
    copies.clear()
    d = Path([*children[0].tokens, 10], [], 0.0, children[0].slot)
    e = Path([*children[0].tokens, 11], [], 0.0, children[0].slot)
    slots.step([d, e])
    assert copies == [(1, 0, 6, 5)]  # the slot of the other child shares all but the last


@pytest.mark.parametrize("tokens", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_a_long_prompt_goes_through_the_model_in_chunks_with_the_same_bits(tokens):
    model = random_model(tiny_config(n_layer=1, n_positions=2 * CHUNK + 9))
    ids = np.random.default_rng(0).integers(0, 37, tokens)
    np.testing.assert_array_equal(Slots(model, ids.tolist(), 2, 1).prefill()[0], run(model, [ids])[-1])


# The tree


@given(st.data(), models(), st.integers(1, 5), st.integers(1, 3), stopping)
def test_the_tree_leads_to_every_hypothesis(data, model, size, groups, early):
    prompt = data.draw(token_ids(model))
    eos = data.draw(st.lists(st.integers(0, model.vocabulary - 1), max_size=2))
    beams = size * groups
    found = beam_search(model, prompt, num_beams=beams, num_return_sequences=beams, max_new_tokens=8, eos=eos,
                        num_beam_groups=groups, early_stopping=early)  # fmt: skip
    ended, paths = [], [((), 0.0)]
    for step in found.tree:
        kept = []
        for c in step.candidates:
            tokens, logprob = paths[c.parent]
            assert c.logprob <= logprob
            assert np.isclose(c.score, c.logprob / (len(tokens) + 1))
            if c.fate == "kept":
                kept.append(((*tokens, c.token), c.logprob))
            elif c.fate == "finished":
                ended.append(((*tokens, c.token), c.logprob, c.score))
        assert len(kept) <= beams
        paths = kept
    assert paths == []
    for beam in found.beams:
        assert any(tokens[: len(beam.tokens)] == (*beam.tokens,) and logprob == beam.logprob and score == beam.score
                   and len(tokens) == len(beam.logprobs) for tokens, logprob, score in ended)  # fmt: skip
    text = render_tree(found.tree, str)
    assert len(text.splitlines()) >= len({tuple(beam.tokens) for beam in found.beams}) > 0
    assert text.count("score") == len(ended)


def test_a_tree_is_drawn_with_its_branches():
    def candidate(parent, token, logprob, fate):
        return BeamCandidate(parent, token, logprob, logprob / 2, fate)

    tree = [
        BeamStep([candidate(0, 0, -1.0, "kept"), candidate(0, 1, -2.0, "kept"), candidate(0, 2, -3.0, "dropped")]),
        BeamStep([candidate(0, 3, -1.5, "kept"), candidate(1, 4, -2.25, "kept"), candidate(1, 0, -2.5, "finished")]),
        BeamStep([candidate(0, 1, -1.75, "finished"), candidate(0, 2, -1.875, "finished")]),
    ]
    assert render_tree(tree, lambda ids: "".join("abcde"[i] for i in ids)) == "\n".join([
        "├─ 'ad'  -1.50",
        "│  ├─ 'b'  -1.75  score -0.88",
        "│  └─ 'c'  -1.88  score -0.94",
        "└─ 'b'  -2.00",
        "   ├─ 'e'  -2.25  left",
        "   └─ 'a'  -2.50  score -1.25",
    ])  # fmt: skip
    assert render_tree([], str) == ""


# Bad input


@pytest.mark.parametrize(("settings", "message"), [
    ({"num_beams": 0}, "beam_search: num_beams must be an integer >= 1, got 0"),
    ({"num_beams": 2.0}, "beam_search: num_beams must be an integer >= 1, got 2.0"),
    ({"num_beams": True}, "beam_search: num_beams must be an integer >= 1, got True"),
    ({"num_return_sequences": 0}, "beam_search: num_return_sequences must be an integer >= 1, got 0"),
    ({"num_beams": 2, "num_return_sequences": 3},
     "beam_search: num_return_sequences must be at most num_beams, got 3 and 2"),
    ({"num_beam_groups": 0}, "beam_search: num_beam_groups must be an integer >= 1, got 0"),
    ({"num_beam_groups": 3}, "beam_search: num_beam_groups must divide num_beams, got 3 and 4"),
    ({"num_beam_groups": 2, "diversity_penalty": -1.0}, "beam_search: diversity_penalty must be >= 0, got -1.0"),
    ({"diversity_penalty": 0.5}, "beam_search: diversity_penalty needs num_beam_groups of 2 or more, got 0.5 and 1 "),
    ({"diversity_penalty": "a"}, "beam_search: diversity_penalty must be a number, got 'a'"),
    ({"length_penalty": np.nan}, "beam_search: length_penalty must be finite, got nan"),
    ({"length_penalty": np.inf}, "beam_search: length_penalty must be finite, got inf"),
    ({"length_penalty": -400.0}, "beam_search: length_penalty must leave .* a number, got -400.0 and 40"),
    ({"length_penalty": None}, "beam_search: length_penalty must be a number, got None"),
    ({"early_stopping": "always"}, 'beam_search: early_stopping must be False, True or "never", got \'always\''),
    ({"early_stopping": 1}, 'beam_search: early_stopping must be False, True or "never", got 1'),
    ({"max_new_tokens": -1}, "beam_search: max_new_tokens must be an integer >= 0, got -1"),
    ({"stop": "x"}, "beam_search: stop strings need decode"),
    ({"stop": [""]}, "beam_search: stop must hold non-empty strings or token ids"),
    ({"stop": [1.5]}, "beam_search: stop must hold non-empty strings or token ids"),
])  # fmt: skip
def test_a_setting_out_of_range_is_an_error_that_names_it(tiny, settings, message):
    with pytest.raises(ValueError, match=message):
        beam_search(tiny, [1], **settings)


@pytest.mark.parametrize(("prompt", "settings", "error", "message"), [
    ([], {}, ValueError, "prompt_ids must be 1 .. 24 tokens .*, got 0"),
    ([0] * 25, {}, ValueError, "prompt_ids must be 1 .. 24 tokens .*, got 25"),
    ([37], {}, IndexError, "prompt_ids must hold token ids 0 .. 36, got 37"),
    ([1], {"eos": [0, -1]}, IndexError, "eos must hold token ids 0 .. 36, got -1"),
    ([1], {"eos": ["a"]}, IndexError, "eos must hold token ids 0 .. 36, got 'a'"),
    ([1], {"stop": 37}, IndexError, "stop must hold token ids 0 .. 36, got 37"),
])  # fmt: skip
def test_ids_that_are_none_are_an_error(tiny, prompt, settings, error, message):
    with pytest.raises(error, match=f"beam_search: {message}"):
        beam_search(tiny, prompt, **settings)


def test_not_a_number_is_an_error_and_no_answer(tiny):
    broken = random_model(tiny_config())
    nowhere = {"logits": lambda x: x * np.float32(np.nan)}
    with pytest.raises(ValueError, match="beam_search: the largest logit must be finite, got nan"):  # noqa: SIM117
        with nextword.trace(broken, names=[], replace=nowhere):
            beam_search(broken, [1])
    for bad, message in (
        (lambda _, x: x * np.nan, "process must return numbers or -inf, got nan"),
        (lambda _, x: np.full_like(x, np.inf), "process must return numbers or -inf, got inf"),
        (lambda _, x: x[:5], r"process must return float32 \[37\], got float32 \[5\]"),
        (lambda _, x: x.astype(np.float64), r"process must return float32 \[37\], got float64 \[37\]"),
        (lambda ids, x: x - np.inf if len(ids) == 3 else x, "no token may follow after 2 new ones"),
    ):
        with pytest.raises(ValueError, match=f"beam_search: {message}"):
            beam_search(tiny, [1], process=bad)
