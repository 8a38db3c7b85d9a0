"""models/model.py and parts.py with a made-up architecture: what holds for any, one without a window among them."""

from __future__ import annotations

import copy
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nextword
from made_up import MadeUp
from model_files import write_model
from nextword import LanguageModel, ops, reference
from nextword.files.weights import open_model
from nextword.models import passes
from nextword.models.parts import part_at, parts_of, places_of, replaced
from nextword.models.random_weights import RandomWeights
from nextword.tasks.fingerprint import model_fingerprint
from strategies import random_model, tiny_config

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


class Named(MadeUp):
    """The made-up architecture with files of a certain kind."""

    title = "Named"
    prefixes = ("body.",)
    constants = re.compile("clock")
    other_heads = re.compile(r"judge\.weight")


class Windowed(MadeUp):
    """The made-up architecture with a window."""

    def assemble(self, read):
        super().assemble(read)
        self.window = 10_000


class Kept(RandomWeights):
    """Random weights that remember what was asked for."""

    def __init__(self):
        super().__init__()
        self.tensors = {}

    def made(self, name, shape):
        self.tensors[name] = super().made(name, shape)
        return self.tensors[name]


def made_up(**options: Any) -> MadeUp:
    return MadeUp(RandomWeights(), {}, **options)


# No window


@pytest.mark.parametrize("twin", [ops, reference])
def test_a_model_without_a_window_does_what_one_with_a_large_window_does(twin):
    endless, large = (LanguageModel(kind(RandomWeights(), {}, ops=twin)) for kind in (MadeUp, Windowed))
    assert repr(endless) == "LanguageModel(made_up: 2 layers, 3 heads, width 20, vocabulary 50, context without end)"
    for task in (
        lambda lm: lm.generate(IDS, max_new_tokens=40, seed=1, temperature=1).tokens,
        lambda lm: lm.generate([IDS, IDS[:2]], max_new_tokens=5, on_overflow="slide")[1].tokens,
        lambda lm: list(lm.stream(IDS, max_new_tokens=5)),
        lambda lm: lm.generate(IDS, max_new_tokens=4, num_beams=2, eos=None).tokens,
        lambda lm: lm.generate(IDS, max_new_tokens=4, penalty_alpha=0.5, eos=None).tokens,
        lambda lm: lm.generate(IDS, max_new_tokens=9, draft="int8", eos=None).tokens,
        lambda lm: lm.generate(IDS, max_new_tokens=9, prefix=nextword.PrefixCache(lm.model, 64), eos=None).tokens,
        lambda lm: lm.score(IDS * 9).logprobs[1:].tolist(),
        lambda lm: [one.share for one in lm.choose(IDS, [[1], [2, 3]])],
        lambda lm: lm.logits(IDS * 3).tolist(),
    ):
        assert task(endless) == task(large)


def test_a_session_of_a_model_without_a_window_grows_and_is_saved(tmp_path):
    lm = LanguageModel(made_up())
    session = lm.session(IDS)
    assert session.generate(max_new_tokens=70, eos=None).tokens == lm.generate(IDS, max_new_tokens=70, eos=None).tokens
    session.save(tmp_path / "saved")
    assert lm.resume(tmp_path / "saved").tokens == session.tokens


def test_a_cache_of_a_model_without_a_window_needs_a_capacity():
    assert made_up().cache(1, 40).capacity == 64
    with pytest.raises(ValueError, match=r"cache: capacity must be a number of tokens, got None"):
        made_up().cache(1)


# Names, weights, copies


def test_a_folder_is_read_by_what_the_architecture_says_of_names(tmp_path):
    weights = Kept()
    expected = Named(weights, {})
    stored = {f"body.{name}" if name != "head" else name: x for name, x in weights.tensors.items()}
    extra = {"body.clock": np.float32([1]), "judge.weight": np.ones((2, 12), np.float32)}
    folder = write_model(tmp_path / "m", {}, {**stored, **extra})
    with pytest.warns(UserWarning, match=r"not used, as no logit depends on it: 'judge\.weight'"):
        model = Named(open_model(folder))
    assert list(model.tensors()) == list(expected.tensors()) == list(weights.tensors)
    assert model_fingerprint(model) == model_fingerprint(expected)
    odd = write_model(tmp_path / "odd", {}, {**stored, "body.h.0.attn.bias": np.float32([1])})
    with pytest.raises(ValueError, match=r"tensor 'body\.h\.0\.attn\.bias' of .* has no place in a Named"):
        Named(open_model(odd))


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
def test_a_quantised_copy_is_the_model_made_in_that_dtype(dtype):
    model = made_up()
    found, expected = model.quantised(dtype), made_up(dtype=dtype)
    assert model_fingerprint(found) == model_fingerprint(expected)
    assert (found.dtype, model.dtype) == (dtype, "float32")
    np.testing.assert_array_equal(LanguageModel(found).logits(IDS), LanguageModel(expected).logits(IDS))
    assert found.norm is model.norm
    assert found.blocks[0].qkv.bias is model.blocks[0].qkv.bias


def test_tensors_are_those_that_the_layers_hold_now():
    model = made_up()
    other = copy.deepcopy(model)
    other.blocks[1].qkv.bias[0] += 1
    other.head.weight = ops.pack(np.ones((20, 50), np.float32))
    assert other.tensors()["h.1.qkv.bias"] is other.blocks[1].qkv.bias
    assert other.tensors()["head"] is other.head.weight
    assert model.tensors()["h.1.qkv.bias"][0] == other.tensors()["h.1.qkv.bias"][0] - 1
    assert model_fingerprint(model) == model_fingerprint(made_up()) != model_fingerprint(other)


def test_the_products_of_a_token_are_the_linear_layers_without_the_head():
    own = [(20, 72), (24, 20), (20, 33), (20, 33), (33, 20)]  # qkv, out, gate, up, down
    assert [layer.weight.shape for layer in made_up().linears()] == own * 2
    blocks = random_model(tiny_config()).linears()
    assert [layer.weight.shape for layer in blocks] == [(15, 45), (15, 15), (15, 23), (23, 15)] * 2


@pytest.mark.parametrize("name", ["layers", "width", "vocabulary", "window", "heads", "head_width", "widest", "end_ids",
                                  "begin_id", "norm", "head", "limit", "dtype", "kv_dtype"])  # fmt: skip
def test_every_architecture_says_what_others_ask_of_a_model(name):
    assert all(hasattr(one, name) for one in (made_up(), random_model(tiny_config())))


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
    model = made_up()
    whole = model.encoded(np.resize(IDS, 64))
    monkeypatch.setattr(passes, "CHUNK", 32)
    np.testing.assert_array_equal(model.encoded(np.resize(IDS, 64)).keys[0], whole.keys[0])
