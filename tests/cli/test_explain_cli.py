"""`nextword explain` as a process: one line with the address, an end by Ctrl-C, and a clear error without its extra."""

import os
import re
import signal
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "nextword", "explain"]


def test_it_prints_one_line_with_the_address_answers_and_ends_by_ctrl_c():
    httpx = pytest.importorskip("httpx", reason='needs httpx: pip install "nextword[test]"')
    pytest.importorskip("uvicorn", reason='needs uvicorn: pip install "nextword[serve]"')
    command = [*COMMAND, "--no-browser", "--lang", "de", "--compare", "b", "Es", "war"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/#key=([\w-]{32})\n", line)
            assert found, line
            answer = httpx.get(f"{found[1]}/api/model", headers={"X-Nextword-Key": found[2]}, timeout=60,
                               trust_env=False)
            assert answer.json()["start"] == {"prompt": "Es war", "compare": "b", "lang": "de"}
        finally:
            process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (130, "", "")


def test_without_its_extra_it_says_what_to_install(tmp_path):
    """Names that cannot be imported stand for packages that are not there."""
    for name in ("starlette", "uvicorn"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(f"raise ModuleNotFoundError('no', name={name!r})\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    found = subprocess.run([*COMMAND, "a"], capture_output=True, text=True, env=environment, timeout=60)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == ('nextword: error: the page needs starlette; pip install "nextword[serve]"\n')


@pytest.mark.parametrize(("arguments", "said"), [
    (["--port", "65536"], "expected a port 0 .. 65535"), (["--lang", "fr"], "expected one of de, en"),
    (["--out", ""], "expected a path"),
])
def test_wrong_flags_are_named(arguments, said):
    found = subprocess.run([*COMMAND, *arguments, "a"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert said in found.stderr
