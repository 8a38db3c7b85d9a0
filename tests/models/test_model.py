"""models/model.py and parts.py with a made-up architecture: what holds for any, one without a window among them."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nextword
from model_files import write_model
from nextword import LanguageModel, ops, reference
from nextword.files.weights import open_model
from nextword.models import model as model_module
from nextword.models.layers import Attention, Embedding, Linear
from nextword.models.model import Model
from nextword.models.parts import part_at, parts_of, places_of, replaced
from nextword.models.random_weights import RandomWeights
from nextword.tasks.fingerprint import model_fingerprint
from strategies import random_model, tiny_config

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


@dataclass(frozen=True)
class Sizes:
    """The configuration of the made-up architecture."""

    width: int = 12
    vocabulary: int = 37
    window: int | None = None

    @classmethod
    def from_dict(cls, config):
        return cls(**{name: value for name, value in config.items() if name != "model_type"})


class Plain(Model):
    """One layer of attention, without positions, between two tables of tokens."""

    Config = Sizes
    kind, title = "plain", "Plain"
    prefixes = ("body.",)
    constants = re.compile("clock")
    other_heads = re.compile(r"judge\.weight")

    def assemble(self, read):
        c, ops = self.config, self.ops
        self.layers, self.width, self.vocabulary, self.window = 1, c.width, c.vocabulary, c.window
        self.heads, self.head_width, self.widest = 2, c.width // 2, 5 * c.width
        self.end_ids, self.begin_id = (0,), 0
        tokens = read.matrix("tokens", c.vocabulary, c.width, ops.pack_transposed)
        self.embed = Embedding(ops, tokens, None, ("tokens", ""))
        self.mixing = [Linear(ops, *read.linear("mix", c.width, 3 * c.width))]
        self.attention = Attention(ops, 2, 0.5, "h.0.attn")
        self.norm = read.norm("norm", c.width, 1e-5)
        self.head = Linear(ops, read.matrix("head", c.vocabulary, c.width, ops.pack_transposed), None)

    def graph(self, inputs, past, tap):
        x = self.embed(inputs.ids, inputs.places, tap)
        h = self.attention(self.mixing[0](x), past.cache, 0, past.slots, past.fresh, tap)
        x = tap("h.0.resid_post", x + h)
        return tap("logits", self.head(self.norm(x[inputs.wanted])))


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"tokens": (37, 12), "mix.weight": (12, 36), "mix.bias": (36,), "norm.weight": (12,), "norm.bias": (12,),
              "head": (37, 12)}  # fmt: skip
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def plain(config: Sizes | None = None, **options: Any) -> Plain:
    return Plain(tensors(), config or Sizes(), **options)


# No window


@pytest.mark.parametrize("twin", [ops, reference])
def test_a_model_without_a_window_does_what_one_with_a_large_window_does(twin):
    endless, large = (LanguageModel(plain(Sizes(window=window), ops=twin)) for window in (None, 10_000))
    assert repr(endless) == "LanguageModel(plain: 1 layers, 2 heads, width 12, vocabulary 37, context without end)"
    for task in (
        lambda lm: lm.generate(IDS, max_new_tokens=40, seed=1, temperature=1).tokens,
        lambda lm: lm.generate([IDS, IDS[:2]], max_new_tokens=5, on_overflow="slide")[1].tokens,
        lambda lm: list(lm.stream(IDS, max_new_tokens=5)),
        lambda lm: lm.generate(IDS, max_new_tokens=4, num_beams=2, eos=None).tokens,
        lambda lm: lm.generate(IDS, max_new_tokens=4, penalty_alpha=0.5, eos=None).tokens,
        lambda lm: lm.generate(IDS, max_new_tokens=9, draft="int8", eos=None).tokens,
        lambda lm: lm.generate(IDS, max_new_tokens=9, prefix=nextword.PrefixCache(lm.model, 64), eos=None).tokens,
        lambda lm: lm.score(IDS * 9).logprobs.tolist(),
        lambda lm: [one.share for one in lm.choose(IDS, [[1], [2, 3]])],
        lambda lm: lm.logits(IDS * 3).tolist(),
    ):
        assert task(endless) == task(large)


def test_a_session_of_a_model_without_a_window_grows_and_is_saved(tmp_path):
    lm = LanguageModel(plain())
    session = lm.session(IDS)
    assert session.generate(max_new_tokens=70, eos=None).tokens == lm.generate(IDS, max_new_tokens=70, eos=None).tokens
    session.save(tmp_path / "saved")
    assert lm.resume(tmp_path / "saved").tokens == session.tokens


def test_a_cache_of_a_model_without_a_window_needs_a_capacity():
    assert plain().cache(1, 40).capacity == 64
    with pytest.raises(ValueError, match=r"cache: capacity must be a number of tokens, got None"):
        plain().cache(1)


# Names, weights, copies


def test_a_folder_is_read_by_what_the_architecture_says_of_names(tmp_path):
    stored = {f"body.{name}" if name != "head" else name: x for name, x in tensors().items()}
    extra = {"body.clock": np.float32([1]), "judge.weight": np.ones((2, 12), np.float32)}
    folder = write_model(tmp_path / "m", {"width": 12}, {**stored, **extra})
    with pytest.warns(UserWarning, match=r"not used, as no logit depends on it: 'judge\.weight'"):
        model = Plain(open_model(folder))
    expected = plain()
    assert list(model.tensors()) == list(expected.tensors()) == list(tensors())
    assert model_fingerprint(model) == model_fingerprint(expected)
    odd = write_model(tmp_path / "odd", {"width": 12}, {**stored, "body.h.0.attn.bias": np.float32([1])})
    with pytest.raises(ValueError, match=r"tensor 'body\.h\.0\.attn\.bias' of .* has no place in a Plain"):
        Plain(open_model(odd))


def test_random_weights_are_those_of_any_architecture():
    model = Plain(RandomWeights(), Sizes())
    assert {name: x.shape for name, x in model.tensors().items()} == {n: x.shape for n, x in plain().tensors().items()}
    assert np.isfinite(LanguageModel(model).logits(IDS)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
def test_a_quantised_copy_is_the_model_made_in_that_dtype(dtype):
    model = plain()
    found, expected = model.quantised(dtype), plain(dtype=dtype)
    assert model_fingerprint(found) == model_fingerprint(expected)
    assert (found.dtype, model.dtype) == (dtype, "float32")
    np.testing.assert_array_equal(LanguageModel(found).logits(IDS), LanguageModel(expected).logits(IDS))
    assert found.norm is model.norm
    assert found.mixing[0].bias is model.mixing[0].bias


def test_tensors_are_those_that_the_layers_hold_now():
    model = plain()
    other = copy.deepcopy(model)
    other.mixing[0].bias[0] += 1
    other.head.weight = ops.pack(np.ones((12, 37), np.float32))
    assert other.tensors()["mix.bias"] is other.mixing[0].bias
    assert other.tensors()["head"] is other.head.weight
    assert model.tensors()["mix.bias"][0] == other.tensors()["mix.bias"][0] - 1
    assert model_fingerprint(model) == model_fingerprint(plain()) != model_fingerprint(other)


def test_the_products_of_a_token_are_the_linear_layers_without_the_head():
    assert [layer.weight.shape for layer in plain().linears()] == [(12, 36)]
    blocks = random_model(tiny_config()).linears()
    assert [layer.weight.shape for layer in blocks] == [(15, 45), (15, 15), (15, 23), (23, 15)] * 2


@pytest.mark.parametrize("name", ["layers", "width", "vocabulary", "window", "heads", "head_width", "widest", "end_ids",
                                  "begin_id", "norm", "head", "limit", "dtype", "kv_dtype"])  # fmt: skip
def test_every_architecture_says_what_others_ask_of_a_model(name):
    assert all(hasattr(one, name) for one in (plain(), random_model(tiny_config())))


# The tree of layers


class Node:
    def __init__(self, **parts):
        vars(self).update(parts)


def test_parts_are_found_where_they_stand_and_replaced_there():
    first, second, module = [1.5], {"x": 2}, ModuleType("ops")
    shared = Node(value=first)
    tree = Node(ops=module, blocks=[Node(a=shared), Node(a=Node(value=second), b=3)], last=shared)
    places = places_of(tree, {id(first): "first", id(second): "second"})
    assert places == {"first": ("blocks", 0, "a", "value"), "second": ("blocks", 1, "a", "value")}
    assert part_at(tree, places["second"]) is second
    other = replaced(tree, {id(second): "new"})
    assert part_at(other, places["second"]) == "new"
    assert part_at(tree, places["second"]) is second
    assert other.blocks[0] is tree.blocks[0]
    assert other.last is tree.last
    assert other.ops is module
    assert replaced(tree, {}) is tree
    assert list(parts_of(tree, Node)) == [tree]
    assert list(parts_of([tree.last, [tree.blocks[1]]], Node)) == [shared, tree.blocks[1]]


def test_the_chunk_is_what_a_prompt_is_cut_into(monkeypatch):
    model = plain()
    whole = model.encoded(np.resize(IDS, 64))
    monkeypatch.setattr(model_module, "CHUNK", 32)
    np.testing.assert_array_equal(model.encoded(np.resize(IDS, 64)).keys[0], whole.keys[0])
