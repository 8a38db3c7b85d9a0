"""A server as a process: started, waited for, its memory read, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

from servers.registry import Server

PATIENCE = 180.0  # seconds in which a server must answer
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


class Running(NamedTuple):
    """url: where it answers. started: the seconds until it did. process: its leader."""

    url: str
    started: float
    process: subprocess.Popen[bytes]

    def memory(self) -> dict[str, float]:
        """Resident bytes, now and at most, of the process and those that it started."""
        now = most = 0
        for pid in family(self.process.pid):
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            now += int(fields.get("VmRSS", "0 kB").split()[0]) * 1024
            most += int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
        return {"resident": now, "most": most}


def family(pid: int) -> list[int]:
    """A process and its children, theirs as well."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


@contextlib.contextmanager
def serving(server: Server, python: str, folder: Path, threads: int, log: Path) -> Iterator[Running]:
    """Start a server on a free port. Raises RuntimeError where it ends or does not answer in time."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    url, start = f"http://127.0.0.1:{port}", time.perf_counter()
    environment = os.environ | OFFLINE | {"OMP_NUM_THREADS": str(threads)}
    with log.open("wb") as out:
        process = subprocess.Popen([python, *server.command(folder, port, threads)], env=environment, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url + server.ready, timeout=5, trust_env=False).status_code == 200:
                    break
            if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                raise RuntimeError(f"it does not serve; its log: {log.read_text(errors='replace')[-600:]}")
            time.sleep(0.02)
        yield Running(url, time.perf_counter() - start, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
