"""The server on a socket: models and their engines, signals, and an end that lets running requests finish."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nextword.decoding.room import slot_bytes, usual
from nextword.machine.turn import Turn
from nextword.page import listening
from nextword.serve.app import App, to_stderr
from nextword.serve.guard import Guard
from nextword.serve.metrics import Metrics
from nextword.serve.served import Served
from nextword.serve.state import State
from nextword.tasks.language_model import LanguageModel

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Server:
    """Models that are served while `run` lasts.

    models: by the names that requests give. host, port: where; 0 takes any port that is free. keys: of which a request
    must have one; none asks for none. hosts: further names of this machine. drain: seconds that running requests may
    take at the end. explain: whether the page of `nextword explain` is there, too, of the first model, at `page`.
    max_rows_per_key: texts that a key may have on their way, None for any number.
    kv_memory: bytes for keys and values of all models together, divided evenly among them; by default a quarter of what
    is free, at most 4 GiB, but a slot for each. engine: further settings of `LanguageModel.engine`, of each model.
    app: the whole as an ASGI app; it answers to its own address alone, so that it belongs behind this very port.
    Raises OSError where the port is taken, ImportError where the extra "serve" is not installed.

    >>> import threading, urllib.request, nextword
    >>> server, ready = Server({"demo": nextword.load()}, log=lambda line: None), threading.Event()
    >>> thread = threading.Thread(target=server.run, args=(ready.set,))
    >>> thread.start()
    >>> ready.wait(30)
    True
    >>> urllib.request.urlopen(f"{server.address}/health").read()
    b'{"status":"ok"}'
    >>> server.stop()
    >>> thread.join()
    """

    def __init__(self, models: Mapping[str, LanguageModel], host: str = "127.0.0.1", port: int = 0,
                 keys: Iterable[str] = (), hosts: Iterable[str] = (), drain: float = 30.0, log_prompts: bool = False,
                 explain: bool = False, log: Callable[[str], object] = to_stderr, max_rows_per_key: int | None = None,
                 kv_memory: int | None = None, **engine: Any) -> None:
        listening.require("serve: the server", "msgspec", "starlette", "uvicorn")
        self._socket = listening.bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{'127.0.0.1' if host == '0.0.0.0' else '[::1]' if host == '::' else shown}:{self.port}"
        names = [*LOOPBACK, shown, *hosts]
        with_port = [f"{name}:{self.port}" for name in names] + (names if self.port == 80 else [])
        metrics, turn = Metrics(), Turn()

        def passed(seconds: float, tokens: int) -> None:
            metrics.observe("pass_seconds", "of each pass through a model", seconds)

        try:
            shares = _shares(models, kv_memory, engine)
            self.state = State({name: Served(name, lm, lm.engine(turn=turn, on_pass=passed, kv_memory=shares[name],
                                                                 **engine))
                                for name, lm in models.items()}, metrics, log_prompts, max_rows_per_key)
        except BaseException:
            self._socket.close()
            raise
        self.app: Any = App(self.state, Guard(keys, with_port), log)
        self.page: str | None = None
        if explain:
            self._add_page(next(iter(models.values())), (*names,), turn)
        self._drain = drain
        self._server: Any = None
        self._loop: Any = None
        self._ending: Any = None

    def _add_page(self, lm: LanguageModel, hosts: tuple[str, ...], turn: Turn) -> None:
        """The page has a key and a guard of its own."""
        import secrets

        from nextword.page.app import app_of
        from nextword.page.calls import Page

        key, api = secrets.token_urlsafe(24), self.app
        page = app_of(Page(lm, turn=turn), key, self.port, hosts)
        self.page = f"{self.address}/#key={key}"

        async def both(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            mine = path == "/" or path.startswith(("/page/", "/api/"))
            await (page if mine else api)(scope, receive, send)

        self.app = both

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Answer until SIGTERM, Ctrl-C or `stop`; `ready` is called once it listens."""
        import uvicorn

        from nextword.serve.connection import Connection

        outer = self

        class Signalled(uvicorn.Server):  # type: ignore[misc]
            def handle_exit(self, sig: int, frame: Any) -> None:
                if sig == signal.SIGINT:
                    self._captured_signals.append(sig)
                outer.stop()

            async def startup(self, sockets: Any = None) -> None:
                outer._loop = asyncio.get_running_loop()
                await super().startup(sockets)

        failed: list[BaseException] = []

        def told() -> None:
            try:
                ready()
            except BaseException as error:  # nobody can be told where it is
                failed.append(error)
                self.stop()

        self._server = listening.serving(self.app, told, Signalled, http=Connection, timeout_graceful_shutdown=2)
        try:
            self._server.run(sockets=[self._socket])
        finally:
            for one in self.state.models.values():
                one.engine.close(0.0)
        if failed:
            raise failed[0]

    def stop(self) -> None:
        """End `run`, from any thread or a signal's handler: take nothing new, let what runs finish within `drain`
        seconds, then end it. A second call ends it at once."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self.state.draining:
            self._drain = 0.0
            return
        self.state.draining = True
        self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while self.state.busy and loop.time() - begun < self._drain:
            await asyncio.sleep(0.02)
        engines = [one.engine for one in self.state.models.values()]
        closing = [threading.Thread(target=engine.close, args=(0.0,), daemon=True) for engine in engines]
        for thread in closing:
            thread.start()
        while any(thread.is_alive() for thread in closing):
            await asyncio.sleep(0.01)
        for _ in range(100):  # the last events are on their way
            if not self.state.busy:
                break
            await asyncio.sleep(0.02)
        self._server.should_exit = True


def _shares(models: Mapping[str, LanguageModel], kv_memory: int | None,
            engine: Mapping[str, Any]) -> dict[str, int | None]:
    """The bytes of each model; None where its slots are given, which say it."""
    if kv_memory is None and engine.get("slots") is not None:
        return dict.fromkeys(models)
    each = max(1, (usual() if kv_memory is None else kv_memory) // max(1, len(models)))
    return {name: max(each, slot_bytes(lm.model)) if kv_memory is None else each for name, lm in models.items()}
