"""A model's template at work in a process of its own, which can be ended: see chat_sandbox.py for what it may take."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nextword.text import chat_sandbox

WAIT = 30.0  # seconds after which it is ended: processor time is bounded, so that only a stopped process is late


class Renderer:
    """Writes messages by one template. The process is started when it is first needed, and again after it was ended.

    One text is written at a time; a second thread waits. A forked process starts one of its own.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._process: subprocess.Popen[bytes] | None = None
        self._owner, self._turn = os.getpid(), threading.Lock()

    def __call__(self, values: Mapping[str, Any]) -> str:
        """What the template writes. Raises ValueError with what it says where it refuses, or takes more than it may;
        TypeError for values that JSON does not have, ImportError without jinja2."""
        line = json.dumps(values).encode() + b"\n"
        if self._owner != os.getpid():
            self._owner, self._turn, self._process = os.getpid(), threading.Lock(), None
        with self._turn:
            found = self._asked(line)
        if "text" not in found:
            raise ValueError(found["error"])
        return str(found["text"])

    def _asked(self, line: bytes) -> dict[str, str]:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(WAIT, process.kill)
        late.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            told = process.stdout.readline()
        except BrokenPipeError:
            told = b""
        except BaseException:  # an interrupt, after which an answer would be taken for that of another question
            self._process = None
            _end(process, self._owner)
            raise
        finally:
            late.cancel()
        if told.endswith(b"\n"):
            found: dict[str, str] = json.loads(told)
            return found
        self._process = None
        _end(process, self._owner)
        return {"error": _why(process.returncode)}

    def _started(self) -> subprocess.Popen[bytes]:
        found = [find_spec(name) for name in ("jinja2", "markupsafe")]
        places = [str(Path(one.origin).parents[1]) for one in found if one is not None and one.origin is not None]
        if len(places) < len(found):
            raise ImportError('chat: the template of messages needs jinja2: run `pip install "nextword[chat]"`')
        if not sys.executable:
            raise OSError("chat: the template of messages needs a Python program to run it, and sys.executable names "
                          "none")
        # A session of its own: Ctrl-C in a terminal is not meant for it.
        process = subprocess.Popen([sys.executable, "-I", "-S", chat_sandbox.__file__, *dict.fromkeys(places)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        weakref.finalize(self, _end, process, self._owner)
        assert process.stdin is not None
        process.stdin.write(json.dumps(self._source).encode() + b"\n")
        return process


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a process that this one has started."""
    if os.getpid() != owner:
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):  # it held something back for a reader that is gone
            pipe.close()
    process.wait()


def _why(code: int) -> str:
    """What the end of the process says of the template."""
    if code == -getattr(signal, "SIGPROF", 0):
        return f"it takes more than {chat_sandbox.SECONDS:g} s"
    if code == -getattr(signal, "SIGKILL", 0):
        return f"it was ended, after {WAIT:g} s or by the system"
    return f"its process ended with code {code}"
