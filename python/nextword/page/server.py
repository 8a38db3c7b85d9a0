"""The page as a server on this machine: the socket, the address with its key, and the loop that answers."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any

from nextword.page.app import app_of
from nextword.page.calls import Page

HOST = "127.0.0.1"


class Server:
    """A page that is served while `run` lasts.

    port: 0 takes any that is free. address: what a browser opens; its key stands behind the #, which is sent nowhere.
    Raises OSError where the port is taken, ImportError with the way out where the extra "serve" is not installed.
    """

    def __init__(self, page: Page, port: int = 0) -> None:
        require()
        # With its protocol named asyncio sends at once; else an answer of two parts would wait 40 ms for an ACK.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"port {port} cannot be used ({error.strerror}); take another, or 0") from None
        self.port: int = self._socket.getsockname()[1]
        self.key = secrets.token_urlsafe(24)
        self.address = f"http://{HOST}:{self.port}/#key={self.key}"
        self.app = app_of(page, self.key, self.port)
        self._server: Any = None

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Answer until Ctrl-C, or until `stop` is called; `ready` is called once it listens."""
        import uvicorn

        class Listening(uvicorn.Server):  # type: ignore[misc]
            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                threading.Thread(target=ready, daemon=True).start()

        config = uvicorn.Config(self.app, log_level="warning", access_log=False, lifespan="off", ws="none",
                                server_header=False, timeout_graceful_shutdown=2, timeout_keep_alive=30,
                                limit_concurrency=200, h11_max_incomplete_event_size=32 * 2**10)
        self._server = Listening(config)
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`, from another thread."""
        if self._server is not None:
            self._server.should_exit = True


def require() -> None:
    """Raises ImportError with the way out where starlette or uvicorn is not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(f'explain: the page needs {error.name}; pip install "nextword[serve]"') from None
