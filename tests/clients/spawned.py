"""`nextword serve` as a process of its own, and the installed clients that ask it."""

import importlib.metadata
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import nextword

START_SECONDS = 60
DEMO = Path(nextword.__file__).parent / "demo"  # the demo model's folder


def needs(*distributions):
    """Skips, without an import, where a client or the server's extra is not installed."""
    for name in ("starlette", "uvicorn", "msgspec", *distributions):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"needs {name}: tools/clients.sh installs the clients", allow_module_level=True)


def command(name):
    """The path of an installed command, of this environment or of the system."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    return found or pytest.skip(f"needs the command {name}")


def environment(**more):
    """Variables for a client: no proxy before the server, and no name of a hub that could be asked."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {**kept, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "NO_PROXY": "*", **more}


@contextmanager
def spawned(folder, *arguments):
    """The address of a server that runs in the block, and that ends well when it is told to. folder: for its log."""
    log = Path(folder) / "serve.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-m", "nextword", "serve", "--port", "0", *arguments],
                                   stdout=subprocess.PIPE, stderr=sink, text=True, env=environment())
        try:
            begun = time.monotonic()
            while not select.select([process.stdout], [], [], 0.1)[0]:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() - begun < START_SECONDS
            line = process.stdout.readline()
            assert line.startswith("nextword: http://127.0.0.1:"), (line, log.read_text())
            yield line.split()[1]
        finally:
            process.terminate()
            try:
                code = process.wait(START_SECONDS)
            finally:
                process.kill()
                process.stdout.close()
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()
