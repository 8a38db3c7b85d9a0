"""A server on a socket of this machine: the socket, and uvicorn on it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at a port; 0 takes any that is free. Who comes before it is served waits.

    Raises OSError with the way out where the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named asyncio sends at once; else an answer of two parts would wait 40 ms for an ACK.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"port {port} cannot be used ({error.strerror}); take another, or 0") from None
    return made


def serving(app: Any, ready: Callable[[], object], kind: type[Any] | None = None, **settings: Any) -> Any:
    """A uvicorn server of an app. ready: is called on a thread of its own once it listens; kind: a class of uvicorn's
    `Server`; settings: of its `Config`."""
    import uvicorn

    class Listening(kind or uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            threading.Thread(target=ready, daemon=True).start()

    return Listening(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none",
                                    server_header=False, timeout_keep_alive=30,
                                    h11_max_incomplete_event_size=32 * 2**10, **settings))


def require(op: str, *modules: str) -> None:
    """Raises ImportError with the way out where one of the modules is not installed. op: how the error begins."""
    import importlib

    try:
        for name in modules:
            importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'{op} needs {error.name}; pip install "nextword[serve]"') from None
