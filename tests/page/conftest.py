"""One page of the demo model, and a server of it on a real socket."""

import threading

import pytest

import nextword


@pytest.fixture(scope="session")
def lm():
    return nextword.load()


@pytest.fixture
def page(lm):
    from nextword.page.calls import Page

    return Page(lm)


@pytest.fixture(scope="module")
def server(lm):
    """A Server that answers; `.client(...)` makes an httpx client that has its key."""
    for name in ("starlette", "uvicorn", "httpx"):
        pytest.importorskip(name, reason=f'needs {name}: pip install "nextword[test]"')
    import httpx

    from nextword.page.calls import Page
    from nextword.page.server import Server

    one, ready = Server(Page(lm)), threading.Event()
    thread = threading.Thread(target=lambda: one.run(ready.set))
    thread.start()
    assert ready.wait(30)

    def client(**headers):
        own = {"X-Nextword-Key": one.key, **headers}
        return httpx.Client(base_url=f"http://127.0.0.1:{one.port}", headers=own, timeout=60, trust_env=False)

    one.client = client
    yield one
    one.stop()
    thread.join(30)
    assert not thread.is_alive()
