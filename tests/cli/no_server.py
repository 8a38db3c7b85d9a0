"""The command `serve` without its loop: it says where it would answer, and ends."""

import pytest


def serves_nobody(monkeypatch):
    """What `Server.run` does until the end of the test."""
    for name in ("msgspec", "uvicorn"):
        pytest.importorskip(name, reason=f'needs {name}: pip install "nextword[serve]"')
    from nextword.serve.server import Server

    def run(self, ready):
        self._socket.close()
        for one in self.state.models.values():
            one.engine.close(0.0)
        ready()

    monkeypatch.setattr(Server, "run", run)
