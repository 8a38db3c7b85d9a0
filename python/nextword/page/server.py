"""The page as a server on this machine: the socket, the address with its key, and the loop that answers."""

from __future__ import annotations

import contextlib
import secrets
import threading
import webbrowser
from collections.abc import Callable
from typing import Any

from nextword.page import listening
from nextword.page.app import app_of
from nextword.page.calls import Page
from nextword.page.listening import bound, serving

HOST = "127.0.0.1"


class Server:
    """A page that is served while `run` lasts, or from `begin` to `stop`.

    port: 0 takes any that is free. view: what the page shows at first, as `View.fragment` gives it. address: what a
    browser opens; its key stands behind the #, which is sent nowhere.
    Raises OSError where the port is taken, ImportError with the way out where the extra "serve" is not installed.
    """

    def __init__(self, page: Page, port: int = 0, view: str = "") -> None:
        require()
        self._socket = bound(HOST, port)
        self.port: int = self._socket.getsockname()[1]
        self.key = secrets.token_urlsafe(24)
        self.address = f"http://{HOST}:{self.port}/#key={self.key}{view and '&'}{view}"
        self.app = app_of(page, self.key, self.port)
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Answer until Ctrl-C, or until `stop` is called; `ready` is called once it listens."""
        self._server = serving(self.app, ready, timeout_graceful_shutdown=2, limit_concurrency=200)
        self._server.run(sockets=[self._socket])

    def begin(self) -> None:
        """Answer on a thread of its own, which ends with the program; returns once it listens."""
        ready = threading.Event()

        def work() -> None:
            try:
                self.run(ready.set)
            finally:
                ready.set()

        self._thread = threading.Thread(target=work, name="nextword page", daemon=True)
        self._thread.start()
        ready.wait()

    def wait(self) -> None:
        """Until Ctrl-C, which stops it, or until another thread stops it."""
        try:
            while self._thread is not None and self._thread.is_alive():
                self._thread.join(0.5)
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        """End `run`, from another thread; what `begin` began has then ended."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Server({self.address})"


def opened(address: str) -> None:
    """Show it in a browser; where there is none, nothing happens."""
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)


def require() -> None:
    """Raises ImportError with the way out where starlette or uvicorn is not installed."""
    listening.require("explain: the page", "starlette", "uvicorn")
