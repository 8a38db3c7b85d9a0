"""hub.py: ids and revisions, what is asked of the hub, and what is said of what it does not give."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import nextword
from model_files import write_model
from nextword.files import hub
from nextword.files.weights import open_model
from strategies import random_tensors, tiny_config

CONFIG = {"model_type": "gpt2", "n_layer": 1}


def some_tensors() -> dict[str, np.ndarray]:
    return {"wte.weight": np.ones((7, 4), np.float32), "h.0.ln_1.weight": np.ones(4, np.float32)}


def fake_hub(monkeypatch, answer):
    module = types.ModuleType("huggingface_hub")
    calls = []

    def snapshot_download(repo_id, **kwargs):
        calls.append((repo_id, kwargs))
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return calls


@pytest.mark.parametrize("hub_id", ["gpt2", "openai-community/gpt2-medium", "distilgpt2", "org/name_1.5B"])
def test_a_hub_id_asks_the_hub_for_the_needed_files_only(tmp_path, monkeypatch, hub_id):
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "cache", CONFIG, some_tensors())
    calls = fake_hub(monkeypatch, folder)
    assert open_model(hub_id).folder == folder
    [(asked, kwargs)] = calls
    assert asked == hub_id
    assert {"config.json", "model.safetensors", "vocab.json", "merges.txt"} <= set(kwargs["allow_patterns"])
    assert not any("bin" in pattern or "h5" in pattern for pattern in kwargs["allow_patterns"])


def test_an_existing_folder_wins_over_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = fake_hub(monkeypatch, OSError("not to be asked"))
    write_model(tmp_path / "gpt2", CONFIG, some_tensors())
    assert open_model("gpt2").folder == Path("gpt2")
    assert not calls


def test_without_the_extra_the_error_says_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "nextword\[hub\]"'):
        open_model("gpt2")


@pytest.mark.parametrize(
    "failure", [ConnectionError("no route\nto host"), RuntimeError("closed"), ValueError("bad id"), Exception()]
)
def test_a_hub_failure_is_one_oserror_of_one_line(tmp_path, monkeypatch, failure):
    monkeypatch.chdir(tmp_path)
    fake_hub(monkeypatch, failure)
    with pytest.raises(OSError, match=f"'gpt2', and the hub did not give it \\({type(failure).__name__}: ") as caught:
        open_model("gpt2")
    assert "\n" not in str(caught.value)


def test_the_real_library_reads_its_cache_offline(tmp_path):
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    commit = "0" * 39 + "1"
    repo = tmp_path / "hub" / "models--some--model"
    write_model(repo / "snapshots" / commit, CONFIG, some_tensors())
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    (repo / "refs" / "v2").write_text("0" * 39 + "2")
    older = repo / "snapshots" / ("0" * 39 + "2")
    older.mkdir()
    (older / "config.json").write_text("{}")
    code = (
        "from nextword.files.weights import open_model\n"
        "print(sorted(open_model('some/model')))\n"
        "try: open_model('some/other')\n"
        "except OSError as error: print(error)\n"
        f"print(len(open_model('some/model@{commit}')), len(open_model('some/model', 'main')))\n"
        "try: open_model('some/model@v2')\n"
        "except OSError as error: print(error)\n"
    )
    env = dict(os.environ, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path / "hub"))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=tmp_path)
    names, error, counts, without = done.stdout.splitlines()
    assert counts == "2 2"
    assert "'some/model@v2' came from the hub without a model.safetensors; look there" in without
    assert names == str(sorted(some_tensors()))
    assert "there is no folder 'some/other'" in error
    assert "HF_HUB_OFFLINE" in error


# Revisions


@pytest.mark.parametrize(
    ("name", "revision", "found"),
    [("gpt2", None, ("gpt2", None)), ("gpt2@v1.0", None, ("gpt2", "v1.0")), ("gpt2@", None, None),
     ("a/b@refs/pr/7", None, ("a/b", "refs/pr/7")), ("a/b", "main", ("a/b", "main")), ("@main", None, None),
     ("a/b@main", "main", ("a/b", "main")), ("a@b@c", None, None), ("model.safetensors", None, None),
     ("a/b/c", None, None), (Path("gpt2"), None, None)],
)  # fmt: skip
def test_a_name_is_an_id_and_a_revision(name, revision, found):
    assert hub.parse(name, revision) == found


@pytest.mark.parametrize(("name", "revision"), [("a@b", "c"), ("a", ""), ("a", "a b"), ("a", 3), ("a", "b@c")])
def test_a_revision_that_is_none_or_another_is_an_error(name, revision):
    with pytest.raises(ValueError, match="revision"):
        hub.parse(name, revision)


@pytest.mark.parametrize(("name", "settings"), [("some/model@v2", {}), ("some/model", {"revision": "v2"})])
def test_a_revision_reaches_the_hub_and_the_model_knows_it(tmp_path, monkeypatch, name, settings):
    monkeypatch.chdir(tmp_path)
    calls = fake_hub(monkeypatch, write_model(tmp_path / "cache", tiny_config(), random_tensors(tiny_config())))
    lm = nextword.load(name, "int8", kv_dtype="bfloat16", **settings)
    assert lm.source == ("some/model", "int8", "bfloat16", "v2", None)
    again = nextword.load(lm.source.path, lm.source.dtype, kv_dtype=lm.source.kv_dtype, revision=lm.source.revision)
    np.testing.assert_array_equal(again.logits([1, 2]), lm.logits([1, 2]))
    assert [(asked, kwargs["revision"]) for asked, kwargs in calls] == [("some/model", "v2")] * 2


def test_a_folder_is_known_by_its_absolute_path_and_has_no_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "m@v2", tiny_config(), random_tensors(tiny_config()))
    assert nextword.load("m@v2").source == (str(tmp_path / "m@v2"), None, "float32", None, None)
    assert nextword.load().source == (None, None, "float32", None, None)
    with pytest.raises(ValueError, match=r"load: revision must be None for a folder, got 'main' for m@v2"):
        nextword.load("m@v2", revision="main")


# What is there instead


def with_files(monkeypatch, folder, files):
    fake_hub(monkeypatch, folder)

    def list_repo_files(repo_id, revision=None):
        if isinstance(files, Exception):
            raise files
        return files

    sys.modules["huggingface_hub"].list_repo_files = list_repo_files


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["config.json", "pytorch_model.bin"], r"only, without a model\.safetensors; convert it once .*"
         r"from_pretrained\('some/model'\)\.save_pretrained\(folder\).*revision='refs/pr/N'"),
        (["pytorch_model-00001-of-00002.bin"], "as PyTorch's"),
        (["README.md", "model.gguf"], r"holds no model\.safetensors of 'some/model@v2', but README\.md, model\.gguf;"),
        (["a"] * 9, r"but a, a, a, a, a, a, \.\.\.;"),
        ([], "but no files"),
        (ConnectionError("offline"), r"came from the hub without a model\.safetensors; look there"),
    ],
)  # fmt: skip
def test_a_hub_model_without_weights_says_what_there_is_and_the_way_out(tmp_path, monkeypatch, files, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "config.json").write_text("{}")
    with_files(monkeypatch, tmp_path / "cache", files)
    with pytest.raises(FileNotFoundError, match=words) as caught:
        open_model("some/model@v2")
    assert "\n" not in str(caught.value)


def test_an_adapter_on_the_hub_is_refused_as_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "adapter_config.json").write_text("{}")
    calls = fake_hub(monkeypatch, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"holds adapter_config\.json, which belongs to an adapter .*merge_and_unload"):
        open_model("some/adapter")
    assert "adapter_config.json" in calls[0][1]["allow_patterns"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_link_of_the_cache_that_leads_nowhere_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "cache", CONFIG, some_tensors())
    (folder / name).unlink()
    (folder / name).symlink_to("../blobs/abc")
    fake_hub(monkeypatch, folder)
    words = rf"weights: .*{name} is a link to \.\./blobs/abc, which is not there; fetch"
    for model in ("some/model", folder):
        with pytest.raises(FileNotFoundError, match=words):
            open_model(model)
