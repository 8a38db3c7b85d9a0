"""inside/cell.py: every number of every activation agrees with what its sources make, and each source is a cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword.inside.rules import Zero
from strategies import models, random_model, tiny_config, token_ids


def places(rng, shape, count=4):
    return {tuple(int(rng.integers(n)) for n in shape) for _ in range(count)}


@given(st.data())
def test_a_number_lies_within_the_bound_of_what_its_sources_make(isa, data):
    model = data.draw(models())
    x = nextword.LanguageModel(model).inside(data.draw(token_ids(model)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    assert set(model.steps()) == set(x.names)
    for name in x.names:
        for at in places(rng, x.shape(name)):
            one = x.cell(name, at)
            assert one.value == x[name][at]
            assert one.value == one.exact or abs(one.value - one.exact) <= one.bound, one
            assert one.bound <= 1e-2 * (1 + np.abs(one.terms).sum()), "a bound that says nothing"
            for source in one.sources[:: max(1, len(one.sources) // 5)]:
                assert x.cell(source.name, source.index).value == source.value, (one, source)


def test_a_bound_is_no_larger_than_rounding_can_make_it():
    """A few units of float32 for each number that goes in, so that a wrong source cannot hide in it."""
    x = nextword.load().inside("Once upon a time")
    for name in ("h.2.attn.scores", "h.2.attn.weights", "h.2.attn.z", "h.2.resid_mid", "h.2.ln_1", "h.2.mlp.act"):
        at = (1, 3, 2) if len(x.shape(name)) == 3 else (3, 2)
        one = x.cell(name, at)
        assert one.bound <= 8 * (len(one.sources) + 8) * 2.0**-24 * max(1.0, np.abs(one.terms).sum()), name
    assert x.cell("logits", (4, 7)).bound <= 1e-3


def test_weights_are_cells_without_sources_and_have_the_numbers_of_the_file():
    model = random_model(tiny_config())
    x = nextword.LanguageModel(model).inside([1, 2, 3])
    for name, tensor in model.tensors().items():
        whole = tensor if isinstance(tensor, np.ndarray) else model.ops.unpack(tensor)
        whole = whole.T if name in ("wte.weight", "lm_head.weight") else whole
        rng = np.random.default_rng(1)
        for at in places(rng, whole.shape):
            one = x.cell(name, at)
            assert (one.value, one.sources) == (whole[at], [])


def test_a_walk_from_a_logit_ends_at_weights():
    x = nextword.LanguageModel(random_model(tiny_config())).inside([3, 1, 4, 1])
    seen, at = [], ("logits", (3, 5))
    while at:
        seen.append(at[0])
        sources = x.cell(*at).sources
        inner = [s for s in sources if s.name in x]
        at = (inner[-1].name, inner[-1].index) if inner else (sources[0].name, sources[0].index) if sources else None
    assert seen[0] == "logits"
    assert seen[-1] in x.model.tensors()


def test_what_the_mask_hides_says_so():
    x = nextword.LanguageModel(random_model(tiny_config())).inside([3, 1, 4])
    hidden = x.cell("h.0.attn.scores", (1, 0, 2))
    assert (hidden.value, hidden.sources) == (-np.inf, [])
    assert "does not see" in hidden.formula
    assert x.cell("h.0.attn.weights", (1, 0, 2)).value == 0


def test_what_an_intervention_put_there_says_so_and_the_rest_is_followed():
    lm = nextword.LanguageModel(random_model(tiny_config()))
    x = lm.inside([3, 1, 4], [Zero("h.0.attn.z", heads=[1])])
    assert "intervention" in x.cell("h.0.attn.z", (1, 2, 3)).formula
    assert x.cell("h.0.attn.z", (1, 2, 3)).value == 0
    assert x.cell("h.0.attn.z", (0, 2, 3)).sources
    out = x.cell("h.0.attn.out", (2, 3))
    assert abs(out.value - out.exact) <= out.bound


@pytest.mark.parametrize(
    ("name", "index", "error", "said"),
    [("h.9.ln_1", (0, 0), KeyError, "neither an activation nor a weight"),
     ("h.0.ln_1", (0,), IndexError, "index must be 2 integers"),
     ("h.0.ln_1", 3, IndexError, "index must be 2 integers"),
     ("h.0.ln_1", (0, 15), IndexError, "axis 1, must be -15 .. 14, got 15"),
     ("h.0.attn.q", (0, 3, 0), IndexError, "axis 1, must be -3 .. 2, got 3"),
     ("h.0.ln_1", (0, "a"), TypeError, "must be an integer"),
     ("wte.weight", (37, 0), IndexError, "axis 0, must be -37 .. 36, got 37"),
     ("h.0.ln_1", None, TypeError, "index must be integers")],
)  # fmt: skip
def test_a_place_that_is_none_is_one_clear_error(name, index, error, said):
    x = nextword.LanguageModel(random_model(tiny_config())).inside([3, 1, 4])
    with pytest.raises(error, match=said):
        x.cell(name, index)


def test_a_cell_is_shown_with_its_text_escaped():
    shown = nextword.load().inside("Once").cell("logits", (0, 5))._repr_html_()
    assert "<script" not in shown
    assert "made of" in shown


def test_a_cell_is_made_and_shown_with_its_name_first():
    one = nextword.load().inside("Once").cell("logits", (0, 3))
    assert repr(one).startswith(f"Cell(name='logits', index=(0, 3), value={one.value!r}, formula='sum over k of ")
    assert type(one).__match_args__[:3] == ("name", "index", "value")
