"""The page as a server on this machine: the socket, the address with its key, and the loop that answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from nextword.page import listening
from nextword.page.app import app_of
from nextword.page.calls import Page
from nextword.page.listening import bound, serving

HOST = "127.0.0.1"


class Server:
    """A page that is served while `run` lasts.

    port: 0 takes any that is free. address: what a browser opens; its key stands behind the #, which is sent nowhere.
    Raises OSError where the port is taken, ImportError with the way out where the extra "serve" is not installed.
    """

    def __init__(self, page: Page, port: int = 0) -> None:
        require()
        self._socket = bound(HOST, port)
        self.port: int = self._socket.getsockname()[1]
        self.key = secrets.token_urlsafe(24)
        self.address = f"http://{HOST}:{self.port}/#key={self.key}"
        self.app = app_of(page, self.key, self.port)
        self._server: Any = None

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Answer until Ctrl-C, or until `stop` is called; `ready` is called once it listens."""
        self._server = serving(self.app, ready, timeout_graceful_shutdown=2, limit_concurrency=200)
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`, from another thread."""
        if self._server is not None:
            self._server.should_exit = True


def require() -> None:
    """Raises ImportError with the way out where starlette or uvicorn is not installed."""
    listening.require("explain: the page", "starlette", "uvicorn")
