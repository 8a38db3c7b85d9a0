"""What sentence-transformers writes beside an encoder: read as it is, and refused by name where it cannot be obeyed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model_files import safetensors_bytes
from nextword.files.sentence_files import Dense, Normalise, Pooling, SentenceFiles, read_sentence_files, sentence_names

PREFIX = "sentence_transformers.models."


def write(folder, kinds=("Transformer", "Pooling"), pooling=None, lengths=None, about=None, dense=None):
    """A folder with modules of these kinds."""
    modules = [{"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": PREFIX + kind}
               for n, kind in enumerate(kinds)]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    for one in modules[1:]:
        (folder / one["path"]).mkdir(exist_ok=True)
        config = {"Pooling": pooling, "Dense": dense}.get(one["type"].removeprefix(PREFIX))
        (folder / one["path"] / "config.json").write_text(json.dumps(config or {}))
        if one["type"].endswith("Dense"):
            tensors = {"linear.weight": ("F32", np.ones((2, 3), "f")), "linear.bias": ("F32", np.zeros(2, "f"))}
            (folder / one["path"] / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    if lengths is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps(lengths))
    if about is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(about))
    return folder


def test_a_folder_without_them_is_the_mean(tmp_path):
    assert read_sentence_files(tmp_path) == SentenceFiles(Pooling(("mean",)))
    assert sentence_names(tmp_path) == []


DENSE = {"in_features": 3, "out_features": 2, "activation_function": "torch.nn.modules.activation.Tanh"}


def test_everything_is_read(tmp_path):
    about = {"prompts": {"q": "query: "}, "default_prompt_name": "q", "activation_fn": "torch.nn.Identity"}
    write(tmp_path, ("Transformer", "Pooling", "Dropout", "Dense", "Normalize"),
          {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True, "include_prompt": False},
          {"max_seq_length": 77, "do_lower_case": True}, about, DENSE)  # fmt: skip
    found = read_sentence_files(tmp_path)
    assert found.pooling == Pooling(("cls", "mean"), False)
    assert isinstance(found.steps[0], Dense)
    assert found.steps[0].activation == "tanh"
    assert found.steps[0].weight.shape == (2, 3)
    assert found.steps[1] == Normalise()
    assert found[2:] == ({"q": "query: "}, "q", 77, True, "torch.nn.Identity")
    assert sentence_names(tmp_path) == [
        "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "1_Pooling/config.json",
        "2_Dropout/config.json", "3_Dense/config.json", "3_Dense/model.safetensors", "4_Normalize/config.json"]


@pytest.mark.parametrize(("mode", "ways"), [("lasttoken", ("lasttoken",)), (["max", "mean"], ("max", "mean"))])
def test_newer_names_of_pooling_are_read(tmp_path, mode, ways):
    assert read_sentence_files(write(tmp_path, pooling={"pooling_mode": mode})).pooling == Pooling(ways)


@pytest.mark.parametrize(("changes", "words"), [
    ({"kinds": ("Transformer", "Pooling", "LSTM")}, "has the module 'LSTM', expected one of Transformer, Pooling"),
    ({"kinds": ("Pooling",)}, "must have a Transformer and then a Pooling, once each, got Pooling"),
    ({"kinds": ("Transformer", "Normalize", "Pooling")}, "must have a Transformer and then a Pooling"),
    ({"pooling": {"pooling_mode": "median"}}, "must have some of cls, max, mean, .* as pooling_mode, got 'median'"),
    ({"pooling": {"pooling_mode_median_tokens": True}}, "has pooling_mode_median_tokens, which is not supported"),
    ({"pooling": {"include_prompt": 1}}, "must have true or false as include_prompt, got 1"),
    ({"lengths": {"max_seq_length": 0}}, "must have a number of tokens as max_seq_length, got 0"),
    ({"lengths": {"do_lower_case": "no"}}, "must have true or false as do_lower_case, got 'no'"),
    ({"about": {"prompts": ["a"]}}, "must have texts by name as prompts"),
    ({"about": {"default_prompt_name": "q"}}, "has the default_prompt_name 'q', expected one of no prompts"),
    ({"about": {"activation_fn": 3}}, "must have the name of a class as activation_fn, got 3"),
    ({"kinds": ("Transformer", "Pooling", "Dense"), "dense": DENSE | {"activation_function": "torch.nn.Mish"}},
     "must have one of Tanh, Identity, .* as activation_function, got 'torch.nn.Mish'"),
    ({"kinds": ("Transformer", "Pooling", "Dense"), "dense": DENSE | {"in_features": 4}},
     r"'linear.weight' of .* must have the shape \[2, 4\] by config.json, got \[2, 3\]"),
    ({"kinds": ("Transformer", "Pooling", "Dense"), "dense": DENSE | {"module_input_name": "token_embeddings"}},
     "must have sentence_embedding as module_input_name, got 'token_embeddings'"),
])  # fmt: skip
def test_what_cannot_be_obeyed_is_refused_by_name(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        read_sentence_files(write(tmp_path, **changes))


def test_places_outside_of_the_folder_are_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "modules.json").write_text(json.dumps([{"type": PREFIX + "Transformer", "path": "../a"}]))
    with pytest.raises(ValueError, match="must list modules with a type and a path in the folder"):
        read_sentence_files(tmp_path)
    (tmp_path / "modules.json").write_text(json.dumps([{"type": PREFIX + "Transformer", "path": "0_Transformer"}]))
    with pytest.raises(ValueError, match=r"puts the Transformer into .*0_Transformer, expected the folder itself"):
        read_sentence_files(tmp_path)
    (tmp_path / "modules.json").write_text("{}")
    with pytest.raises(ValueError, match="must hold a JSON list, got dict"):
        read_sentence_files(tmp_path)
