"""joined.py and what a trace keeps: pieces of a text joined, parts selected, memory reckoned before a pass."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.inside.select import Select
from nextword.machine import memory
from nextword.models.passes import CHUNK
from nextword.models.tap import shapes
from strategies import models, random_model, run, tiny_config, token_ids

IDS = [5, 1, 36, 0, 7, 7, 20, 3, 11]


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config())


@given(model=models(), data=st.data())
def test_pieces_joined_have_the_bits_of_the_whole(model, data):
    ids = data.draw(token_ids(model))
    with nextword.trace(model) as whole:
        logits = run(model, [ids])
    ends = [0, *sorted(data.draw(st.sets(st.integers(1, max(1, len(ids) - 1))))), len(ids)]
    with nextword.trace(model) as cut:
        found = run(model, [ids[a:b] for a, b in pairwise(ends) if a < b])
    np.testing.assert_array_equal(found, logits)
    assert [*cut] == [*whole]
    for name in whole:
        np.testing.assert_array_equal(cut.whole(name), whole[name], err_msg=name)
        np.testing.assert_array_equal(cut.positions(name), np.arange(len(ids)))


def test_a_prompt_longer_than_a_chunk_is_joined():
    model = random_model(tiny_config(n_positions=CHUNK + 40, n_layer=1))
    ids = np.arange(CHUNK + 30) % 37
    lm = nextword.LanguageModel(model)
    with nextword.trace(lm, ["*.weights", "*.scores", "ln_f"]) as t:
        lm.logits(ids)
    with nextword.trace(model, ["*.weights", "*.scores", "ln_f"]) as once:
        model([ids], model.cache())
    assert len(t.all("ln_f")) == 2
    for name in once:
        np.testing.assert_array_equal(t.whole(name), once[name])


def test_generated_tokens_follow_the_prompt(demo):
    with nextword.trace(demo, ["h.*.attn.weights", "h.3.resid_post", "logits"]) as t:
        text = demo.generate([281, 290, 300], max_new_tokens=5, temperature=0).tokens
    with nextword.trace(demo, ["h.*.attn.weights", "h.3.resid_post"]) as once:
        demo.logits([281, 290, 300, *text[:-1]])
    for name in once:
        np.testing.assert_array_equal(t.whole(name), once[name])
    assert t.positions("logits").tolist() == [2, 3, 4, 5, 6]


def test_each_text_of_a_batch_and_of_a_block_is_told_by_its_number(model):
    texts, cache = [[1, 2, 3], [4], [5, 6]], model.cache(3)
    with nextword.trace(model, ["h.1.attn.*", "resid_post"]) as t:
        model([np.array(ids) for ids in texts], cache)
        model([np.array([7]), np.array([8, 9])], cache, [2, 0])
        run(model, [[6, 6]])
        cache.forget(1)
        model([np.array([4, 4])], cache, [1])
    expected = [[1, 2, 3, 8, 9], [4], [5, 6, 7], [6, 6], [4, 4]]
    for name in ("h.1.attn.z", "h.1.attn.scores", "h.1.attn.out"):
        for number, ids in enumerate(expected):
            with nextword.trace(model, name) as alone:
                run(model, [ids])
            np.testing.assert_array_equal(t.whole(name, number), alone[name])
        np.testing.assert_array_equal(t.whole(name, -1), t.whole(name, 4))
        with pytest.raises(ValueError, match=r"text must be given, as 5 ran while h\.1\.attn.* pass 0 \.\. 4"):
            t.whole(name)
        for wrong in (5, -6):
            with pytest.raises(IndexError, match=f"text must be one of the 5 that ran .* got {wrong}"):
                t.whole(name, wrong)


def test_a_token_that_runs_again_has_its_last_row(model):
    cache = model.cache(1)
    with nextword.trace(model, "h.*") as t:
        run(model, [IDS[:4], [9, 9, 9]], cache)
        cache.lengths[0] = 5  # two tokens of a draft were wrong
        run(model, [[2]], cache)
    with nextword.trace(model, "h.*") as alone:
        run(model, [[*IDS[:4], 9, 2]])
    for name in alone:
        np.testing.assert_array_equal(t.whole(name), alone[name])


def some(size):
    return st.none() | st.lists(st.integers(-size, size - 1), max_size=4, unique_by=lambda i: i % size)


@given(data=st.data(), cut=st.integers(1, len(IDS) - 1))
def test_what_is_kept_is_the_selected_part(model, data, cut):
    with nextword.trace(model) as t:
        logits = run(model, [IDS])
    name = data.draw(st.sampled_from([*t]))
    x, tokens = t[name], len(IDS)
    heads, positions, columns = data.draw(some(x.shape[0])), data.draw(some(tokens)), data.draw(some(x.shape[-1]))
    keep = Select(heads=heads if x.ndim == 3 else None, positions=positions, columns=columns)
    cache = model.cache(1)
    cache.prompts[0] = tokens
    with nextword.trace(model, keep={name: keep}) as u:
        np.testing.assert_array_equal(run(model, [IDS[:cut], IDS[cut:]], cache), logits)
    expected = x if keep.heads is None else x[[*keep.heads]]
    rows = list(range(tokens)) if positions is None else sorted({i % tokens for i in positions})
    expected = expected[..., rows, :]
    if columns is not None:
        expected = expected[..., columns]
    elif rows and name.endswith(("scores", "weights")):
        expected = expected[..., : rows[-1] + 1]
    if rows:
        np.testing.assert_array_equal(u.whole(name), expected)
    assert u.positions(name).tolist() == rows
    assert all(one.base is None or one.base.nbytes == one.nbytes for one in u.all(name))
    other = next(one for one in t if one != name)
    np.testing.assert_array_equal(u.whole(other), t[other])


def test_a_function_keeps_what_it_gives_and_the_first_pattern_counts(model):
    keep = {"h.0.attn.weights": lambda w: w[:, -1], "*.weights": Select(heads=0)}
    with nextword.trace(model, "*.weights", keep=keep) as t:
        run(model, [IDS])
    with nextword.trace(model, "*.weights") as whole:
        run(model, [IDS])
    np.testing.assert_array_equal(t["h.0.attn.weights"], whole["h.0.attn.weights"][:, -1])
    assert t["h.0.attn.weights"].base is None
    np.testing.assert_array_equal(t["h.1.attn.weights"], whole["h.1.attn.weights"][:1])
    with pytest.raises(ValueError, match=r"h\.0\.attn\.weights was kept by a function, whose rows are not known"):
        t.whole("h.0.attn.weights")
    with pytest.raises(TypeError, match="trace: keep must be patterns with a Select or a function each"):
        nextword.trace(model, keep={"*": 3})


def test_what_is_recorded_must_fit_into_memory_before_the_pass_begins(monkeypatch):
    model = random_model(tiny_config(n_positions=CHUNK, n_layer=3, n_head=15))
    ids, needed = np.arange(CHUNK) % 37, 4 * 3 * 15 * CHUNK**2  # 45 maps of a megabyte
    monkeypatch.setattr(memory, "SMALL", 10**6)
    monkeypatch.setattr(memory, "available", lambda: needed - 1)
    cache = model.cache(1)
    with (
        nextword.trace(model, "*.attn.weights") as t,
        pytest.raises(MemoryError, match=r"trace: recording 3 activations of 512 tokens .* keep a part .* keep="),
    ):
        model([ids], cache)
    assert len(t) == 0
    assert cache.lengths[0] == 0
    for keep in (Select(heads=[0, 3]), lambda w: w[:, -1]):
        with nextword.trace(model, "*.attn.weights", keep={"*": keep}):
            model([ids], model.cache(1), rows=[])
    monkeypatch.setattr(memory, "available", lambda: needed)
    with nextword.trace(model, "*.attn.weights") as t:
        model([ids], model.cache(1), rows=[])
    assert sum(x.nbytes for name in t for x in t.all(name)) == needed


def test_shapes_are_those_of_a_text_of_one_token(model):
    with nextword.trace(model) as t:
        model([np.array([3])], model.cache(1), rows=[])
    assert shapes(model) == {name: t[name].shape for name in t}
