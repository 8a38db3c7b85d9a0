"""A server on a real socket, and what its answers hold."""

import json
import threading
import time
from contextlib import contextmanager

import pytest


@contextmanager
def serving(models, **options):
    """A Server that answers: `.client(...)` makes an httpx client of it, `.log` has the lines of its log."""
    for name in ("starlette", "uvicorn", "msgspec", "httpx"):
        pytest.importorskip(name, reason=f'needs {name}: pip install "nextword[test]"')
    import httpx

    from nextword.serve.server import Server

    lines = []
    one, ready = Server(models, log=lines.append, **{"kv_memory": 64 << 20, "drain": 5.0, **options}), threading.Event()
    thread = threading.Thread(target=lambda: one.run(ready.set))
    thread.start()
    assert ready.wait(30)
    one.log, one.thread = lines, thread
    one.client = lambda **headers: httpx.Client(base_url=one.address, headers=headers, timeout=60, trust_env=False)
    one.engine = next(iter(one.state.models.values())).engine
    try:
        yield one
    finally:
        one.stop()
        thread.join(30)
        assert not thread.is_alive()


def until(condition, seconds=20.0):
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def events_of(response):
    """What the events of a stream hold, the last of them "[DONE]"."""
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [one if one == "[DONE]" else json.loads(one) for one in lines]


def error_of(response):
    """(status, param, code) of an error in OpenAI's form."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return response.status_code, error["param"], error["code"]
