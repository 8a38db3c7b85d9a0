"""inside/aliases.py: every activation of a model has its name in the other tool, or a reason."""

from __future__ import annotations

import pytest

import nextword
from nextword.inside.aliases import aliases
from nextword.models.tap import shapes
from small_llama import OWN, small_llama
from strategies import random_model, run, tiny_config


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config())


def test_every_name_has_an_entry_or_a_stated_reason(model):
    table = aliases(model)
    with nextword.trace(model) as t:
        run(model, [[1, 2, 3]])
    assert {*table.names} | {*table.without} == {*t} == {*shapes(model)}
    assert not {*table.names} & {*table.without}
    assert all(len(reason) > 20 and "no step" not in reason for reason in table.without.values())
    assert {name.split(".")[-1] for name in table.without} == {"embed", "ln_1", "ln_2", "ln_f", "logits"}


def test_no_two_activations_have_one_name_and_all_are_its_hook_points(model):
    names = aliases(model).names
    assert len(set(names.values())) == len(names)
    hooks = {"hook_embed", "hook_pos_embed", "hook_resid_pre", "hook_q", "hook_k", "hook_v", "hook_attn_scores",
             "hook_pattern", "hook_z", "hook_attn_out", "hook_resid_mid", "hook_pre", "hook_post", "hook_mlp_out",
             "hook_resid_post"}  # fmt: skip
    assert {name.split(".")[-1] for name in names.values()} == hooks
    for ours, theirs in names.items():
        layer = ours.split(".")[1] if ours.startswith("h.") else None
        assert theirs.startswith("hook_" if layer is None else f"blocks.{layer}.")


def test_an_unknown_scheme_is_an_error_that_lists_those_there_are(model):
    with pytest.raises(ValueError, match="aliases: scheme must be one of transformer_lens, got 'nnsight'"):
        aliases(model, "nnsight")


@pytest.mark.parametrize("kind", OWN)
def test_steps_of_the_llama_kind_have_the_hooks_of_the_same_numbers(kind):
    model = small_llama(kind)
    table = aliases(model)
    assert {*table.names, *table.without} == set(shapes(model))
    assert table.names["embed"] == "hook_embed"
    hooks = {"attn.q_rot": "attn.hook_rot_q", "attn.k_rot": "attn.hook_rot_k", "mlp.gate": "mlp.hook_pre",
             "mlp.up": "mlp.hook_pre_linear", "mlp.act": "mlp.hook_post"}  # fmt: skip
    for ours, theirs in hooks.items():
        assert table.names[f"h.1.{ours}"] == f"blocks.1.{theirs}"
    norms = {name for name in table.without if "bias" not in table.without[name] and "weight" in table.without[name]}
    assert {name.split(".", 2)[-1] for name in norms} == {"ln_1", "ln_2", "ln_f"} | (
        {"attn.q_norm", "attn.k_norm"} if kind == "qwen3" else set())
