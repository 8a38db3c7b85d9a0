"""whole.py and all that write by it: links followed, modes kept, what is no file refused, nothing lost or left."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nextword
from nextword.files import whole
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, tiny_config

MODEL = LanguageModel(random_model(tiny_config()))


def save_session(path):
    MODEL.session([1, 2, 3]).save(path)


def save_tokenizer(path):
    assert path.name == "tokenizer.json"
    nextword.load().tokenizer.save(path.parent)


def write_text(path):
    whole.write("save", {path: "text"})


# The name of the file that is written, and what writes it.
WRITERS = {"a": write_text, "a.session": save_session, "tokenizer.json": save_tokenizer}


@pytest.fixture(params=WRITERS)
def name(request):
    return request.param


@pytest.fixture
def save(name):
    return WRITERS[name]


@pytest.fixture
def mask():
    """Sets the umask, and puts it back."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000, 0o027])
def test_a_new_file_takes_the_umask(tmp_path, name, save, mask, umask):
    mask(umask)
    save(tmp_path / name)
    assert mode_of(tmp_path / name) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666, 0o755])
def test_a_file_that_is_there_keeps_its_mode(tmp_path, name, save, mask, mode):
    (tmp_path / name).write_text("before")
    (tmp_path / name).chmod(mode)
    save(tmp_path / name)
    assert mode_of(tmp_path / name) == mode
    assert (tmp_path / name).read_bytes() != b"before"


@pytest.mark.parametrize("links", [1, 2, 5])
@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed_and_dangling_ones_written_through(tmp_path, name, save, links, there):
    place = tmp_path / "deep" / "place"
    place.parent.mkdir()
    if there:
        place.write_text("before")
    names = [tmp_path / name, *(tmp_path / f"link{i}" for i in range(1, links))]
    for link, target in itertools.pairwise([*names, place]):
        link.symlink_to(os.path.relpath(target, tmp_path))
    save(names[0])
    assert all(link.is_symlink() for link in names)
    assert place.is_file()
    assert not place.is_symlink()
    assert place.read_bytes() == names[0].read_bytes() != b"before"


def make(kind, path):
    """A file of that kind; what the error says of it."""
    if kind == "fifo":
        os.mkfifo(path)
        return "is no regular file but a FIFO"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)  # in the working folder: a socket's path has few bytes
        return "is no regular file but a socket"
    if kind == "folder":
        path.mkdir()
        return "is a folder"
    path.symlink_to("/dev/null" if kind == "device" else path.name)
    return "is no regular file but a device" if kind == "device" else "cannot be written"


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "device", "loop"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path, monkeypatch, name, save, kind):
    monkeypatch.chdir(tmp_path)
    words = make(kind, tmp_path / name)
    before = (tmp_path / name).lstat()
    with pytest.raises(OSError, match=f"save: .*{words}"):
        save(tmp_path / name)
    after = (tmp_path / name).lstat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)
    assert os.listdir(tmp_path) == [name]
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_pipe_of_another_process_is_refused(tmp_path):
    code = "import nextword.files.whole as f\nfrom pathlib import Path\n" \
           "try: f.write('save', {Path('/dev/stdout'): 'x'})\n" \
           "except OSError as e: raise SystemExit(str(e))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is no regular file but a FIFO" in done.stderr


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, name, save):
    """A limit of two bytes a file stands for the disk."""
    (tmp_path / name).write_text("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))
    try:
        with pytest.raises(OSError, match=r"save: .* cannot be written \(.*; take a path in a folder that exists"):
            save(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / name).read_text() == "before"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_files_that_belong_together_are_all_new_or_all_old(tmp_path, stop, at):
    def fail(part):
        part.write_text("half")
        raise stop

    paths = [tmp_path / name for name in "abc"]
    for path in paths[:2]:
        path.write_text("before")
    content = {path: fail if i == at else "new" for i, path in enumerate(paths)}
    with pytest.raises(type(stop)):
        whole.write("save", content)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "before", "b": "before"}


@pytest.mark.parametrize("save", [write_text, save_session])
def test_the_longest_name_can_be_written(tmp_path, save):
    save(tmp_path / ("x" * 255))
    assert [p.name for p in tmp_path.iterdir()] == ["x" * 255]
    with pytest.raises(OSError, match="cannot be written"):
        whole.write("save", {tmp_path / ("x" * 256): b""})


def test_a_folder_that_is_not_there_or_may_not_be_written_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"save: .*absent.a cannot be written \(No such file"):
        whole.write("save", {tmp_path / "absent" / "a": b""})
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"save: .*file.a cannot be written \(Not a directory"):
        whole.write("save", {tmp_path / "file" / "a": b""})
    with pytest.raises(OSError, match=r"save: .* cannot be written"):
        nextword.load().tokenizer.save(tmp_path / "file" / "a")
    with pytest.raises(OSError, match=r"save: .* cannot be written"):
        nextword.load().tokenizer.save(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everything")
def test_a_read_only_file_or_folder_is_refused(tmp_path):
    (tmp_path / "a").write_text("before")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(PermissionError, match="is read-only; give another path"):
        whole.write("save", {tmp_path / "a": b""})
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"cannot be written \(Permission denied\)"):
        whole.write("save", {tmp_path / "b": b""})
    tmp_path.chmod(0o755)


def test_a_file_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("before")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="is read-only; give another path"):
        whole.write("save", {tmp_path / "a": b""})
    assert (tmp_path / "a").read_text() == "before"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_file_without_a_name_is_refused(tmp_path):
    with (tmp_path / "a").open("w+") as file:
        (tmp_path / "a").unlink()
        with pytest.raises(OSError, match="leads to a file that has no name any more"):
            whole.write("save", {Path(f"/proc/self/fd/{file.fileno()}"): b""})
    assert os.listdir(tmp_path) == []


# Folders


def test_a_quantised_folder_is_written_behind_links_with_the_mode_of_the_one_that_is_there(tmp_path, mask):
    (tmp_path / "place").mkdir()
    (tmp_path / "place").chmod(0o700)
    (tmp_path / "link").symlink_to("place")
    (tmp_path / "dangling").symlink_to("elsewhere")
    for name in ("link", "dangling"):
        out = nextword.quantize(nextword.DEMO, "int4", tmp_path / name)
        assert out == tmp_path / name
        assert out.is_symlink()
        assert nextword.load(out).model.dtype == "int4"
    assert mode_of(tmp_path / "place") == 0o700
    assert mode_of(tmp_path / "elsewhere") == 0o755
    assert mode_of(tmp_path / "place" / "model.safetensors") == 0o644
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "elsewhere", "link", "place"]


def test_a_saved_session_and_its_fork_read_back_the_same(tmp_path):
    save_session(tmp_path / "a")
    np.testing.assert_array_equal(MODEL.resume(tmp_path / "a").logits, MODEL.session([1, 2, 3]).logits)
