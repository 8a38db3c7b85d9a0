"""A model's program against its graph, bit for bit, for GPT-2 and for an architecture that C++ has never heard of."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from noisy import rounding_bound

import made_up
import nextword
from made_up import MadeUp, MadeUpConfig
from nextword import LanguageModel, reference
from nextword.arithmetic.formats import DTYPES
from nextword.models.random_weights import RandomWeights
from strategies import kv_dtypes, models

FORMS = ("gelu_tanh", "gelu_erf", "quick_gelu", "relu", "silu", "tanh")


class Weights(RandomWeights):
    """Numbers large enough that each step of the graph shows in the logits, biases and norms of any size."""

    def made(self, name, shape):
        rng = np.random.default_rng([self.seed, len(name), *name.encode()])
        x = rng.standard_normal(shape).astype(np.float32)
        if len(shape) == 2 and name != "tokens":
            return x / np.float32(shape[0] ** 0.5)
        return x if len(shape) == 2 else np.float32(name.endswith("weight")) + x / 8


@st.composite
def made_up_models(draw, **settings):
    sizes = st.sampled_from([1, 5, 8, 32, 33])
    width = st.sampled_from([5, 20, 64])
    config = MadeUpConfig(draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(sizes), draw(width), draw(sizes) + 1,
                          draw(st.integers(2, 70)), draw(st.sampled_from(FORMS)))  # fmt: skip
    settings = settings or {"dtype": draw(st.sampled_from(DTYPES)), "kv_dtype": draw(kv_dtypes)}
    return MadeUp(Weights(draw(st.integers(0, 2**16))), config, **settings)


@st.composite
def passes(draw, model, room):
    """Ragged batches one after the other over three slots of so many tokens: (ids, slots, rows) of each."""
    held, found = [0, 0, 0], []
    for _ in range(draw(st.integers(1, 4))):
        slots = draw(st.permutations(range(3)))[: draw(st.integers(0, 3))]
        lengths = [draw(st.integers(0, min(40, room - held[slot]))) for slot in slots]
        for slot, n in zip(slots, lengths, strict=True):
            held[slot] += n
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        batch = [rng.integers(0, model.vocabulary, n) for n in lengths]
        tokens = sum(lengths)
        some = st.lists(st.integers(0, max(0, tokens - 1)), max_size=45 if tokens else 0)
        found.append((batch, slots, draw(st.one_of(st.none(), some))))
    return found


def logits(model, batches, cache):
    return [model(*batch[:1], cache, *batch[1:]) for batch in batches]


def check(model, data):
    """Recorded, called under a tap that looks at nothing, and under one that looks at all."""
    prefix = data.draw(st.sampled_from([0, 0, 32])) if model.limit >= 64 else 0
    own = min(64, model.limit - prefix)
    ids = np.random.default_rng(1).integers(0, model.vocabulary, prefix)
    before = [model.encoded(ids) if prefix else None for _ in range(3)]
    batches = data.draw(passes(model, own))
    found = logits(model, batches, model.cache(3, prefix + own, before[0]))
    for names, first in (([], before[1]), ("*", before[2])):
        with nextword.trace(model, names=names):
            expected = logits(model, batches, model.cache(3, prefix + own, first))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@given(models(), st.data())
def test_gpt2_has_the_same_bits_recorded_and_called(isa, model, data):
    check(model, data)


@given(made_up_models(), st.data())
def test_a_made_up_architecture_has_the_same_bits_recorded_and_called(isa, model, data):
    check(model, data)


@given(made_up_models(dtype="float32"), st.data())
def test_a_made_up_architecture_is_that_of_numpy_within_what_rounding_explains(isa, model, data):
    weights = Weights(data.draw(st.integers(0, 9)))
    rng = np.random.default_rng(2)
    batches = [([rng.integers(0, model.vocabulary, n) for n in (9, 3)], [1, 0], None) for _ in range(2)]

    def by(ops=None):
        one = MadeUp(weights, model.config, **({"ops": ops} if ops else {}))
        return np.concatenate(logits(one, batches, one.cache(2, 32)))

    expected = by(reference)
    bound = rounding_bound(by, expected)
    assert np.abs(by() - expected).max() <= bound
    assume(bound < 0.1 * np.abs(expected).max())  # else it tells nothing


def test_an_architecture_is_a_short_file_and_nothing_else():
    assert len(Path(made_up.__file__).read_text().splitlines()) < 80
    kinds = [kind for kind, *_ in MadeUp(Weights(), MadeUpConfig(layers=1)).program().operations()]
    assert kinds == ["embedding", "matmul", "append", "attention", "matmul_residual", "layer_norm", "matmul_activated",
                     "matmul", "multiply", "matmul", "add", "layer_norm", "gather", "layer_norm", "matmul"]  # fmt: skip


def test_all_that_is_done_with_a_model_is_done_with_any_architecture():
    config = MadeUpConfig()
    lm, exact = (LanguageModel(MadeUp(Weights(3), config, ops=ops)) for ops in (nextword.ops, reference))
    ids = [5, 3, 8, 1]
    for task in (
        lambda lm: lm.generate(ids, max_new_tokens=30, temperature=0).tokens,
        lambda lm: lm.generate([ids, ids[:2]], max_new_tokens=9, draft="lookup")[1].tokens,
        lambda lm: lm.generate(ids, max_new_tokens=9, draft="int8").tokens,
        lambda lm: lm.generate(ids, max_new_tokens=5, num_beams=3).tokens,
    ):
        assert task(lm) == task(exact)


def test_a_model_tells_its_operations_and_the_seconds_of_each():
    model = nextword.load(dtype="int8").model
    names = [one.name for one in model.operations()]
    assert len(names) == 36
    weights = sum(one.bytes for one in model.operations())
    assert weights == sum(layer.weight.nbytes for layer in [*model.linears(), model.head])
    a_token = sum(one.products for one in model.operations() if one.rows == "tokens")
    assert a_token == sum(np.prod(layer.weight.shape) for layer in model.linears())
    cache, seconds = model.cache(1, 256), np.zeros(36)
    plain = model([np.arange(200)], model.cache(1, 256))
    for ids in (np.arange(200), np.array([1])):  # many rows; few, which one team of threads takes
        before, start = seconds.copy(), time.perf_counter()
        found = model([ids], cache, seconds=seconds)
        assert seconds.sum() - before.sum() < time.perf_counter() - start
        assert (seconds >= before).all()
        assert (seconds > before).any()
        if len(ids) > 1:
            np.testing.assert_array_equal(found, plain)
    with nextword.trace(model), pytest.raises(ValueError, match="model: seconds are those of a program's operations"):
        model([np.array([1])], cache, seconds=seconds)
    assert cache.lengths.tolist() == [201]
    with pytest.raises(ValueError, match="model: operations are those of a program"):
        MadeUp(Weights(), MadeUpConfig(), ops=reference).operations()


def test_a_graph_that_decides_by_values_is_refused_at_its_first_use_and_leaves_no_half_of_it():
    class Decides(MadeUp):
        def graph(self, inputs, past, tap):
            x = self.embed(inputs.ids, inputs.places, tap)
            return self.head(self.norm(x[inputs.wanted])) if x[0, 0] > 0 else None

    class Peeks(MadeUp):
        def graph(self, inputs, past, tap):
            if len(inputs.ids) > 1:
                return super().graph(inputs, past, tap)
            return self.head(self.norm(self.embed(inputs.ids, inputs.places, tap)))

    for kind in (Decides, Peeks):
        model = kind(Weights(), MadeUpConfig())
        for _ in range(2):
            cache = model.cache(1, 32)
            with pytest.raises(TypeError, match="recorder: "):
                model([np.array([1, 2])], cache)
            assert cache.lengths.tolist() == [0]
            assert model._program is None
