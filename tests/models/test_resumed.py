"""Model.resumed: a run that begins at a layer has the bits of the whole run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_recorded import Weights

import nextword
from made_up import MadeUp, MadeUpConfig
from nextword import reference
from nextword.inside.rules import Zero
from strategies import models, random_model, run, tiny_config, token_ids


def entering(t, model, layer):
    """What went into a layer, of a trace."""
    last = f"h.{model.layers - 1}.resid_post"
    return t.whole(f"h.{layer}.resid_pre" if layer < model.layers else last)


@given(model=models(), data=st.data())
def test_a_run_from_any_layer_has_the_bits_of_the_whole(isa, model, data):
    ids = data.draw(token_ids(model))
    with nextword.trace(model, "h.*.resid_*") as t:
        whole = run(model, [ids])
    layer, cut = data.draw(st.integers(0, model.layers)), data.draw(st.integers(0, len(ids)))
    x, cache = entering(t, model, layer), model.cache(1)
    found = [model.resumed(layer, x[:cut], cache), model.resumed(layer, x[cut:], cache)]
    np.testing.assert_array_equal(np.concatenate(found), whole)
    assert cache.lengths.tolist() == [len(ids)]
    assert cache.patched.all()


def test_variants_in_a_batch_have_the_bits_of_each_alone(isa):
    model, ids = random_model(tiny_config()), [5, 1, 36, 0, 7]
    with nextword.trace(model, "h.1.resid_pre") as t:
        run(model, [ids])
    x, name = t["h.1.resid_pre"], "h.1.attn.z"
    rules = [Zero(name, heads=head, sequences=head) for head in range(model.heads)]
    ends = np.arange(1, model.heads + 1) * len(ids) - 1
    with nextword.trace(model, [], replace=rules):
        found = model.resumed(1, np.tile(x, (model.heads, 1)), model.cache(model.heads, len(ids)),
                              fresh=[len(ids)] * model.heads, rows=ends)
    for head in range(model.heads):
        with nextword.trace(model, [], replace=[Zero(name, heads=head)]):
            np.testing.assert_array_equal(found[head], run(model, [ids])[-1])


def test_a_text_goes_on_where_the_layers_below_are_in_the_cache(isa):
    model, ids = random_model(tiny_config()), [5, 1, 36, 0, 7]
    cache = model.cache(1)
    with nextword.trace(model, "h.1.resid_pre") as t:
        run(model, [ids], cache)
    expected = run(model, [[3]], cache)
    cache.lengths[0] = 3
    model.resumed(1, t["h.1.resid_pre"][3:], cache)
    np.testing.assert_array_equal(run(model, [[3]], cache), expected)


def test_numpy_and_any_architecture_begin_at_a_layer():
    for model in (random_model(tiny_config(), ops=reference), MadeUp(Weights(3), MadeUpConfig())):
        with nextword.trace(model, "h.1.resid_pre") as t:
            whole = model([np.array([1, 2, 3])], model.cache(1, 32))
        np.testing.assert_array_equal(model.resumed(1, t["h.1.resid_pre"], model.cache(1, 32)), whole)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"layer": 3}, ValueError, r"resumed: layer must be 0 \.\. 2, got 3"),
        ({"layer": True}, ValueError, "layer must be .*, got True"),
        ({"x": np.zeros((2, 14), "f")}, ValueError, r"x must be float32 \[tokens, 15\], got float32 \[2, 14\]"),
        ({"x": np.zeros((2, 15))}, ValueError, r"got float64 \[2, 15\]"),
        ({"x": [[0.0] * 15]}, ValueError, "got list"),
        ({"fresh": [1]}, ValueError, r"fresh must be counts that sum to the 2 rows of x, got \[1\]"),
        ({"fresh": [3, -1]}, ValueError, "fresh must be counts"),
        ({"fresh": [1, 1], "slots": [0, 0]}, ValueError, "slots must be one for each of the 2 sequences"),
        ({"rows": [2]}, IndexError, r"rows must be 0 \.\. 1, got 2 \.\. 2"),
        ({"layer": 2, "x": np.zeros((25, 15), "f")}, IndexError, "x must fit into the 24 tokens .* got 25"),
    ],
    ids=str,
)  # fmt: skip
def test_what_no_layer_takes_is_an_error_and_the_cache_stays(changes, error, message):
    model = random_model(tiny_config())
    cache = model.cache(2)
    with pytest.raises(error, match=message):
        model.resumed(**{"layer": 1, "x": np.zeros((2, 15), np.float32), "cache": cache, **changes})
    assert cache.lengths.tolist() == [0, 0]
    assert not cache.patched.any()
