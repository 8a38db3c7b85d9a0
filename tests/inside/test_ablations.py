"""ablations.py: each entry has the bits of one part switched off by itself; cost, progress, stopping, isolation."""

from __future__ import annotations

import _thread
import re
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import PrefixCache
from nextword.inside.ablations import MEASURES, OVERS
from nextword.inside.measures import kl_divergence, measured
from nextword.models import random_model as of_gpt2_shape
from nextword.tasks.language_model import LanguageModel
from strategies import models, random_model, tiny_config, token_ids

GIRL = "Once upon a time there was a little"
IDS = [5, 1, 36, 0, 5]


@pytest.fixture(scope="module")
def tiny():
    return LanguageModel(random_model(tiny_config()))


def one_by_one(lm, ids, over, layer, how):
    """Each part of a layer switched off alone."""
    if over == "layers":
        return [lm.ablate(ids, attentions=layer, how=how), lm.ablate(ids, mlps=layer, how=how)]
    if over == "heads":
        return [lm.ablate(ids, heads=(layer, head), how=how) for head in range(lm.model.heads)]
    neurons = lm.model.blocks[0].mlp_out.weight.shape[0]
    return [lm.ablate(ids, neurons=(layer, neuron), how=how) for neuron in range(neurons)]


@given(models(), st.sampled_from(OVERS), st.sampled_from(MEASURES), st.sampled_from(["zero", "mean"]), st.data())
def test_each_entry_has_the_bits_of_one_part_off_by_itself(model, over, measure, how, data):
    """Whatever the format of weights and caches."""
    lm, ids = LanguageModel(model), data.draw(token_ids(model, most=9))
    layer = data.draw(st.integers(0, model.layers - 1))
    target = data.draw(st.integers(0, model.vocabulary - 1))
    found = lm.ablations(ids, target, over, measure, layers=[layer], how=how)
    changes = one_by_one(lm, ids, over, layer, how)
    number = measured(measure, target, changes[0].logits_before)
    expected = [number(one.logits_after) - number(one.logits_before) for one in changes]
    assert found.values.tolist() == [expected]


@given(st.integers(0, 99), st.integers(1, 12))
def test_a_layer_scanned_alone_has_the_row_that_it_has_among_all(seed, length):
    lm = LanguageModel(random_model(tiny_config(n_layer=3), seed))
    ids = np.random.default_rng(seed).integers(0, 37, length)
    every = lm.ablations(ids)
    some = lm.ablations(ids, layers=[2, 0])
    np.testing.assert_array_equal(some.values, every.values[[2, 0]])
    assert (some.rows, every.rows) == (("2", "0"), ("0", "1", "2"))


def test_without_a_target_the_most_probable_token_is_watched(tiny):
    found = tiny.ablations(IDS)
    best = int(tiny.logits(IDS, last_only=True).argmax())
    assert found.target == best
    np.testing.assert_array_equal(found.values, tiny.ablations(IDS, best).values)
    assert found.before == float(tiny.logits(IDS, last_only=True)[best])


def test_the_divergence_is_at_least_0_and_needs_no_target(tiny):
    found = tiny.ablations(IDS, measure="kl", over="neurons")
    assert found.before == 0
    assert (found.values >= 0).all()
    np.testing.assert_array_equal(found.values, tiny.ablations(IDS, 3, measure="kl", over="neurons").values)
    assert kl_divergence(np.float32([0, 0]), np.float32([0, -np.inf])) == np.inf
    assert kl_divergence(np.float32([0, -np.inf]), np.float32([0, 0])) == pytest.approx(np.log(2), rel=1e-15)


def test_the_strongest_head_of_the_demo(demo):
    found = demo.ablations(GIRL, " girl")
    assert found.top_entries(1)[0][:2] == ("3", "2")
    assert round(found.values[3, 2], 2) == 0.79
    assert repr(found) == "Ablations(heads switched off for ' girl': 4 layers x 4 heads, change of the logit)"
    assert "heads switched off" in found._repr_html_()


def seconds(scan):
    """The time of all threads at work together: on a machine of its own a scan takes no longer."""
    start = time.process_time()
    scan()
    return time.process_time() - start


def test_all_heads_of_the_demo_take_less_than_a_tenth_of_a_second(demo):
    assert min(seconds(lambda: demo.ablations(GIRL, " girl")) for _ in range(3)) < 0.1


def test_all_heads_of_gpt2_124m_take_less_than_five_seconds():
    lm = LanguageModel(of_gpt2_shape())
    assert seconds(lambda: lm.ablations(list(range(12)), 7)) < 5


def test_progress_is_told_and_may_end_it(tiny):
    seen = []
    tiny.ablations(IDS, progress=lambda *both: seen.append(both))
    assert seen == [(done, 6) for done in range(1, 7)]

    def stop(done, total):
        raise KeyboardInterrupt

    before = tiny.ablations(IDS).values
    with pytest.raises(KeyboardInterrupt):
        tiny.ablations(IDS, progress=stop)
    np.testing.assert_array_equal(tiny.ablations(IDS).values, before)


def test_ctrl_c_ends_a_scan(demo):
    seen, timer = [], threading.Timer(0.1, _thread.interrupt_main)

    def progress(done, total):
        seen.append((done, total))
        if done == 1:
            timer.start()

    with pytest.raises(KeyboardInterrupt):
        demo.ablations(GIRL, over="neurons", progress=progress)
    timer.join()
    assert seen[-1][0] < seen[-1][1] == 4096


def test_sessions_stores_and_other_threads_are_not_disturbed(demo):
    settings = {"max_new_tokens": 12, "temperature": 1, "seed": 3}
    expected = demo.generate(GIRL, **settings).tokens
    store, session, ended = PrefixCache(demo.model), demo.session(GIRL), threading.Event()
    first = session.generate(**settings).tokens
    seen = []

    def generate():
        while not ended.is_set():
            seen.append(demo.generate(GIRL, **settings).tokens)

    other = threading.Thread(target=generate)
    other.start()
    try:
        values = [demo.ablations(GIRL, " girl").values for _ in range(3)]
        assert demo.generate(GIRL, prefix=store, **settings).tokens == expected
        demo.ablate(GIRL, attentions=[0])
        assert demo.generate(GIRL, prefix=store, **settings).tokens == expected
        session.rewind(len(first))
        assert session.generate(**settings).tokens == first
    finally:
        ended.set()
        other.join()
    assert seen
    assert all(one == expected for one in seen)
    assert all((one == values[0]).all() for one in values)


@pytest.mark.parametrize(("settings", "error", "message"), [
    ({"over": "words"}, ValueError, "ablations: over must be one of heads, layers, neurons, got 'words'"),
    ({"measure": "p"}, ValueError, "ablations: measure must be one of logit, logprob, kl, got 'p'"),
    ({"how": "off"}, ValueError, "ablations: how must be one of zero, mean, got 'off'"),
    ({"layers": [2]}, IndexError, "ablations: layers must be -2 .. 1, got 2"),
    ({"target": 37}, IndexError, "ablations: target must be a token id 0 .. 36, got 37"),
    ({"target": "he"}, ValueError, "ablations: a text needs"),
])  # fmt: skip
def test_errors_name_the_argument(tiny, settings, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        tiny.ablations(IDS, **settings)


def test_a_scan_that_would_take_too_long_is_refused_before(demo):
    with pytest.raises(ValueError, match=r"^ablations: expected 1,048,576 tokens through the model at most, got 4,096 "
                       r"runs of 300, which are 1,228,800; pass fewer layers, or shorten the prompt"):
        demo.ablations([7] * 300, over="neurons")
