"""inside/rules.py, select.py: what a rule does to which numbers, whatever the pieces, the batch and the way as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword import reference
from nextword.inside.rules import Add, Intervention, Mean, Scale, Value, Zero, from_json, interventions
from nextword.models.trace import Trace
from strategies import random_model, run, tiny_config

HEADS, EMBD, TOKENS = 3, 15, 9
STEPS = ["attn.q", "attn.k", "attn.v", "attn.scores", "attn.weights", "attn.z", "attn.out", "resid_pre", "resid_mid",
         "ln_1", "mlp.fc", "mlp.act", "mlp.out", "resid_post"]  # fmt: skip
NAMES = ["wte", "wpe", "embed", "ln_f", "logits", *(f"h.{layer}.{step}" for layer in range(2) for step in STEPS)]


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config())


@pytest.fixture(scope="module")
def shapes(model):
    with nextword.trace(model) as t:
        run(model, [list(range(TOKENS))])
    return {name: t[name].shape for name in t}


def some(size):
    return st.none() | st.lists(st.integers(-size, size - 1), min_size=1, max_size=4, unique_by=lambda i: i % size)


@st.composite
def rules(draw, shapes, kinds=(Zero, Mean, Scale, Add, Value), **fixed):
    """A rule for a model's activation of TOKENS tokens."""
    kind, name = draw(st.sampled_from(kinds)), draw(st.sampled_from(NAMES))
    if kind is Mean and name.endswith(("scores", "weights")):
        name = "h.1.attn.z"
    shape = shapes[name]
    where = {"heads": draw(some(shape[0])) if len(shape) == 3 else None, "positions": draw(some(TOKENS)),
             "columns": draw(some(shape[-1])), **fixed}  # fmt: skip
    if kind in (Scale, Add):
        where["factor"] = draw(st.floats(-2, 2, width=32))
    if kind in (Add, Value):
        sizes = [shape[0]] * (len(shape) == 3) + [TOKENS, shape[-1]]
        chosen = [where[one] for one in ("heads",) * (len(shape) == 3) + ("positions", "columns")]
        sizes = [size if one is None else len(one) for size, one in zip(sizes, chosen, strict=True)]
        axes = draw(st.sampled_from([(), (sizes[-1],), tuple(sizes)]))
        seed = draw(st.integers(0, 99))
        where["value"] = np.random.default_rng(seed).standard_normal(axes).astype(np.float32)
    return kind(name, **where)


def by_hand(rule, x):
    """What a rule does to an activation of one text in one pass, number by number."""
    y, square = x.copy(), rule.name.endswith(("scores", "weights"))

    def chosen(field, size):
        given = getattr(rule, field)
        return list(range(size)) if given is None else [i % size for i in given]

    heads = list(enumerate(chosen("heads", x.shape[0]))) if x.ndim == 3 else [(None, None)]
    for i, head in heads:
        for j, row in enumerate(chosen("positions", x.shape[-2])):
            for k, column in enumerate(chosen("columns", x.shape[-1])):
                if square and column > row:
                    continue
                at = (row, column) if head is None else (head, row, column)
                value = getattr(rule, "value", None)
                if value is not None and value.ndim:
                    value = value[(j, k) if head is None else (i, j, k)] if value.ndim > 1 else value[k]
                y[at] = {"zero": lambda old, _: np.float32(0), "scale": lambda old, _: old * np.float32(rule.factor),
                         "add": lambda old, new: old + np.float32(rule.factor) * new, "value": lambda _, new: new,
                         "mean": lambda *_, at=at: x[(*at[:-2], slice(None), at[-1])].mean(dtype=np.float64),
                         }[rule.how](x[at], value)  # fmt: skip
    return y


def ran(model, rules_of_it, parts, names=(), slots=1, prompt=TOKENS):
    """Logits of a text cut into parts, and the trace."""
    cache = model.cache(slots)
    cache.prompts[:] = prompt
    with nextword.trace(model, list(names), replace=rules_of_it) as t:
        return run(model, parts, cache), t


IDS = [5, 1, 36, 0, 7, 7, 20, 3, 11]


@given(data=st.data())
def test_a_rule_does_what_the_same_function_does(isa, model, shapes, data):
    rule = data.draw(rules(shapes))
    found, t = ran(model, [rule], [IDS], [rule.name])
    expected, u = ran(model, {rule.name: lambda x: by_hand(rule, x)}, [IDS], [rule.name])
    np.testing.assert_array_equal(t[rule.name], u[rule.name])
    np.testing.assert_array_equal(found, expected)


@given(data=st.data())
def test_a_rule_survives_json(model, shapes, data):
    rule = data.draw(rules(shapes))
    again = from_json(json.loads(json.dumps(rule.to_json(), allow_nan=False)))
    assert type(again) is type(rule)
    assert again.to_json() == rule.to_json()
    assert interventions([rule.to_json()])[0].to_json() == rule.to_json()
    np.testing.assert_array_equal(ran(model, [again], [IDS])[0], ran(model, {rule.name: rule}, [IDS])[0])


@given(data=st.data(), cuts=st.sets(st.integers(1, TOKENS - 1)))
def test_a_rule_holds_over_chunks_and_single_tokens(isa, model, shapes, data, cuts):
    rule = data.draw(rules(shapes, kinds=(Zero, Scale, Add, Value)))
    ends = [0, *sorted(cuts), TOKENS]
    parts = [IDS[a:b] for a, b in pairwise(ends)]
    whole, t = ran(model, [rule], [IDS], [rule.name])
    cut, u = ran(model, [rule], parts, [rule.name])
    np.testing.assert_array_equal(cut, whole)
    np.testing.assert_array_equal(u.whole(rule.name), t[rule.name])


@given(data=st.data(), which=st.integers(0, 2))
def test_a_rule_for_one_text_of_a_batch_reaches_that_alone(isa, model, shapes, data, which):
    rule = data.draw(rules(shapes, sequences=[which]))
    texts = [np.array(IDS), np.array(IDS[::-1]), np.array([4] * TOKENS)]
    with nextword.trace(model, [], replace=[rule]):
        batch = model(texts, model.cache(3)).reshape(3, TOKENS, -1)
    for number, ids in enumerate(texts):
        alone = [replace(rule, sequences=None)] if number == which else []
        expected, _ = ran(model, alone, [ids.tolist()])
        np.testing.assert_array_equal(batch[number], expected)


@given(data=st.data(), position=st.integers(1, TOKENS - 1))
def test_a_rule_for_a_position_leaves_what_comes_before_it(isa, model, shapes, data, position):
    rule = data.draw(rules(shapes, kinds=(Zero, Scale), positions=[position]))
    np.testing.assert_array_equal(ran(model, [rule], [IDS])[0][:position], run(model, [IDS])[:position])


@given(data=st.data())
def test_numpy_is_told_the_same_numbers(model, shapes, data):
    rule = data.draw(rules(shapes, kinds=(Zero, Value), columns=None))
    exact = random_model(tiny_config(), ops=reference)
    (_, t), (_, u) = (ran(one, [rule], [IDS], [rule.name]) for one in (model, exact))
    touched = by_hand(rule, np.ones(shapes[rule.name], np.float32)) != 1  # no drawn number is 1
    np.testing.assert_array_equal(t[rule.name][touched], u[rule.name][touched])


def test_a_rule_that_reaches_nothing_changes_no_bit(model):
    plain = run(model, [IDS])
    for name in ("h.0.attn.scores", "h.0.attn.weights", "h.1.attn.z", "logits"):
        for nothing in ({"positions": [TOKENS]}, {"positions": []}, {"sequences": [1]}, {"columns": []}):
            np.testing.assert_array_equal(ran(model, [Zero(name, **nothing)], [IDS])[0], plain)


def test_several_rules_follow_one_another(model):
    name = "h.1.mlp.out"
    several = [Scale(factor=2), Add(value=1.0), Zero(positions=[0])]
    found, _ = ran(model, {name: several}, [IDS])

    def same(x):
        y = x * np.float32(2) + np.float32(1)
        y[0] = 0
        return y

    np.testing.assert_array_equal(found, ran(model, {name: same}, [IDS])[0])


def test_positions_count_through_generated_tokens_and_back_from_the_prompts_end(demo):
    name, ids = "h.2.mlp.out", list(range(300, 340))
    with nextword.trace(demo, name, replace=[Zero(name, positions=[-1, 3, 42])]) as t:
        demo.generate(ids, max_new_tokens=5, temperature=0)
    silent = ~t.whole(name).any(axis=1)
    assert np.flatnonzero(silent).tolist() == [3, 39, 42]


@pytest.mark.parametrize("how", [{"n": 3, "temperature": 1, "seed": 0}, {"num_beams": 3}, {"draft": "lookup"}], ids=str)
def test_rows_that_begin_alike_each_have_their_own_prompts_end(demo, how):
    """Nothing that they share is read where a rule may hold for one of them alone."""
    ids, rule = list(range(300, 340)), Zero("h.1.resid_post", positions=[-1, -30])
    with nextword.trace(demo, [], replace=[rule]):
        alone = demo.logits(ids, last_only=True)
    assert not np.array_equal(alone, demo.logits(ids, last_only=True))
    with nextword.trace(demo, "logits", replace=[rule]) as t:
        demo.generate(ids, max_new_tokens=2, **{"temperature": 0, **how})
    first = next(x for x in t.all("logits") if len(x))
    np.testing.assert_array_equal(first[0], alone.reshape(-1))


def test_a_batch_of_prompts_of_several_lengths_counts_back_from_each_end(demo):
    prompts, rule = [list(range(300, 340)), list(range(300, 380))], Zero("h.1.resid_post", positions=[-1])
    with nextword.trace(demo, [], replace=[rule]):
        alone = [demo.generate(one, max_new_tokens=4, temperature=0).tokens for one in prompts]
        together = [one.tokens for one in demo.generate(prompts, max_new_tokens=4, temperature=0)]
    assert together == alone


def test_a_session_counts_back_from_the_end_of_its_text(demo):
    ids, rule = list(range(300, 340)), Zero("h.3.resid_post", positions=[-1])
    with nextword.trace(demo, [], replace=[rule]):
        session = demo.session()
        session.feed(ids)
        np.testing.assert_array_equal(session.logits, demo.logits(ids, last_only=True).reshape(-1))


# The mean


def test_the_mean_is_the_prompts_and_goes_on_with_generated_tokens(demo):
    name, ids = "h.1.attn.z", [281, 290, 300, 17]
    with nextword.trace(demo, name) as plain:
        demo.logits(ids)
    mean = plain[name].mean(axis=1, dtype=np.float64).astype(np.float32)
    with nextword.trace(demo, name, replace=[Mean(name, heads=[2])]) as t:
        demo.generate(ids, max_new_tokens=4, temperature=0)
    z = t.whole(name)
    np.testing.assert_array_equal(z[2], np.repeat(mean[2:3], 7, axis=0))
    assert np.ptp(z[1], axis=0).any()


def test_the_mean_of_a_prompt_in_pieces_is_an_error_that_says_what_to_pass(model):
    with pytest.raises(RuntimeError, match=r"Mean: h\.0\.ln_1 must be of a prompt that is read in one pass.*Value"):
        ran(model, [Mean("h.0.ln_1")], [IDS[:4], IDS[4:]])
    with pytest.raises(ValueError, match=r"Mean: h\.0\.attn\.scores must be another activation"):
        ran(model, [Mean("h.0.attn.scores")], [IDS])


# Errors


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        (3, TypeError, "intervention: expected an object"),
        ({"how": "zero"}, ValueError, "name must be that of an activation, got None"),
        ({"name": "x"}, ValueError, "how must be one of zero, mean, scale, add, value, got None"),
        ({"name": "x", "how": ["zero"]}, ValueError, "how must be one of"),
        ({"name": "x", "how": "zero", "head": [1]}, ValueError, "zero has the fields .*heads.*, got 'head'"),
        ({"name": "x", "how": "zero", "factor": 2}, ValueError, "got 'factor'"),
        ({"name": "x", "how": "scale"}, ValueError, "factor must be there for scale"),
        ({"name": "x", "how": "value"}, ValueError, "value must be there for value"),
        ({"name": "x", "how": "zero", "heads": 1}, TypeError, "heads must be a list of integers, got 1"),
        ({"name": "x", "how": "zero", "heads": [1.5]}, TypeError, "heads must be an integer or several, got "),
        ({"name": "x", "how": "zero", "positions": [True]}, TypeError, "positions must be an integer or several"),
        ({"name": "x", "how": "zero", "columns": "12"}, TypeError, "columns must be a list of integers, got '12'"),
        ({"name": "x", "how": "zero", "sequences": [-1]}, ValueError, "sequences must be >= 0"),
        ({"name": "x", "how": "scale", "factor": "2"}, TypeError, "Scale: factor must be a number, got '2'"),
        ({"name": "x", "how": "scale", "factor": float("nan")}, ValueError, "factor must be finite as float32"),
        ({"name": "x", "how": "scale", "factor": 1e39}, ValueError, "factor must be finite as float32"),
        ({"name": "x", "how": "value", "value": [[1], [2, 3]]}, TypeError, "Value: value must be numbers"),
        ({"name": "x", "how": "value", "value": None}, TypeError, "Value: value must be numbers"),
        ({"name": "x", "how": "add", "value": [1e39]}, ValueError, "Add: value must be finite as float32"),
        ({"name": "x", "how": "value", "value": [[[[1]]]]}, TypeError, "at most 3 axes"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_rule_is_an_error_that_names_the_field(told, error, message):
    with pytest.raises(error, match=message):
        from_json(told)
    with pytest.raises(error, match=rf"interventions\[1\]: .*{message}"):
        interventions([{"name": "x", "how": "zero"}, told])


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (Zero("h.0.attn.z", heads=3), IndexError, r"Zero: heads of h\.0\.attn\.z must be -3 \.\. 2, got 3"),
        (Zero("h.0.attn.out", heads=0), ValueError, r"heads must be left out, as h\.0\.attn\.out is not by head"),
        (Zero("h.0.ln_1", columns=[0, -16]), IndexError, r"columns of h\.0\.ln_1 must be -15 \.\. 14, got -16"),
        (Zero("h.0.ln_1", positions=-10), IndexError, r"positions of h\.0\.ln_1 must be >= -9, got -10"),
        (Zero("h.0.attn.scores", columns=-10), IndexError, r"columns of h\.0\.attn\.scores must be >= -9, got -10"),
        (Value("h.0.ln_1", value=[1, 2]), ValueError, r"value for h\.0\.ln_1 must be a number, \[15\] or .*got \[2\]"),
        (Value("h.0.attn.z", value=np.ones((9, 5))), ValueError, r"must be .*3 heads, positions, 5\], got \[9, 5\]"),
        (Value("h.0.ln_1", value=np.ones((2, 15)), positions=[1]), ValueError, r"1 positions, 15\], got \[2, 15\]"),
        (Zero("h.7.ln_1"), KeyError, r"h\.7\.ln_1"),
    ],
    ids=str,
)  # fmt: skip
def test_a_rule_that_does_not_fit_its_activation_is_an_error_that_names_the_field(model, rule, error, message):
    with pytest.raises(error, match=message):
        ran(model, [rule], [IDS])


def test_rules_are_named_once(model):
    with pytest.raises(ValueError, match="must name its activation"):
        nextword.trace(model, replace=[Zero()])
    with pytest.raises(ValueError, match=r"replace has a rule for h\.1\.ln_1 under h\.0\.ln_1"):
        nextword.trace(model, replace={"h.0.ln_1": Zero("h.1.ln_1")})
    with pytest.raises(TypeError, match="replace must be a mapping by name, or rules, got 3 among these"):
        nextword.trace(model, replace=[3])
    with pytest.raises(ValueError, match="name must be that of an activation to be told as JSON"):
        Zero().to_json()
    with pytest.raises(TypeError, match="name must be that of an activation, got 3"):
        Zero(3)
    assert issubclass(Value, Intervention)


def test_a_rule_without_the_tokens_of_its_rows_is_an_error(model):
    tap = Trace(model, [], [Zero("logits")])
    with pytest.raises(ValueError, match="the rule for logits needs the tokens of its rows"):
        tap("logits", np.zeros((1, 3), np.float32))
