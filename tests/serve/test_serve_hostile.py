"""Requests that are made to harm: what they may take of memory and time, and that others are answered meanwhile."""

import asyncio
import json
import socket
import sys
import threading
import time
from contextlib import closing

import pytest
from serving import error_of, serving, until

pytest.importorskip("msgspec", reason='needs msgspec: pip install "nextword[test]"')
pytest.importorskip("uvicorn", reason='needs uvicorn: pip install "nextword[test]"')

from nextword.decoding.budget import Budget
from nextword.serve import bodies, bounds
from nextword.serve.app import to_stderr
from nextword.serve.errors import Refused

JSON = {"content-type": "application/json"}


def head(server, path, length, more=""):
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n{more}\r\n").encode()


def connected(server):
    return closing(socket.create_connection(("127.0.0.1", server.port), timeout=30))


def test_a_body_of_very_many_lists_is_refused_before_they_are_made(client):
    body = b'{"prompt":[' + b",".join([b"[]"] * (bounds.CONTAINERS + 1)) + b"]}"
    assert error_of(client.post("/v1/completions", content=body, headers=JSON)) == (400, None, "invalid_json")


@pytest.mark.parametrize("text", ["[", '["', '\\"[', "\\\\[", "{\\"])
def test_brackets_in_a_text_are_no_lists(client, text):
    prompt = text * (bounds.CONTAINERS + 10)
    response = client.post("/tokenize", json={"prompt": prompt})
    assert response.status_code == 200
    assert client.post("/detokenize", json={"tokens": response.json()["tokens"]}).json()["prompt"] == prompt


def test_the_rate_of_passes_may_be_read_while_more_are_learnt():
    budget, ends = Budget(25.0), threading.Event()

    def learn():
        while not ends.is_set():
            budget.learn(10, 1.0)

    learning = threading.Thread(target=learn)
    learning.start()
    try:
        ends_at = time.monotonic() + 0.3
        while time.monotonic() < ends_at:
            assert budget.rate in (0.0, pytest.approx(10.0))
    finally:
        ends.set()
        learning.join()


def test_a_models_name_is_decoded_once(lm):
    with serving({"50%25": lm}) as one, one.client() as client:
        assert client.get("/v1/models/50%2525").json()["id"] == "50%25"
        assert error_of(client.get("/v1/models/50%25")) == (404, "model", "model_not_found")


def test_all_bodies_together_are_bounded_and_room_comes_back(server, client, monkeypatch):
    monkeypatch.setattr(bodies, "BODIES", 100_000)
    asked = json.dumps({"prompt": "a", "max_tokens": 1, "user": "b" * 200}).ljust(50_000)
    with connected(server) as first:
        first.sendall(head(server, "/v1/completions", 90_000) + b" " * 80_000)
        assert until(lambda: server.app._bodies._held == 80_000)
        refused = client.post("/v1/completions", content=asked, headers=JSON)
        assert error_of(refused) == (503, None, "too_many_bodies")
        assert refused.headers["retry-after"] == "1"
    assert until(lambda: server.app._bodies._held == 0)
    assert client.post("/v1/completions", content=asked, headers=JSON).status_code == 200
    assert server.app._bodies._held == 0


def test_large_bodies_are_decoded_one_by_one_and_who_left_is_passed_over():
    async def main():
        shared, there = bodies.Bodies(), asyncio.get_running_loop().create_future()
        first, second, third = shared.one(), shared.one(), shared.one()
        await first.turn(there)
        gone = asyncio.get_running_loop().create_future()
        left, waits = asyncio.ensure_future(second.turn(gone)), asyncio.ensure_future(third.turn(there))
        await asyncio.sleep(0.01)
        assert not left.done()
        assert not waits.done()
        gone.set_result(None)
        with pytest.raises(Refused, match="went away"):
            await left
        second.checked()
        assert not waits.done()
        first.checked()
        await waits
        third.checked()
        assert not shared._turn.locked()

    asyncio.run(main())


def test_an_answer_that_nobody_reads_is_given_up(server, client, monkeypatch):
    monkeypatch.setattr(bounds, "STALLED_SECONDS", 0.3)
    there = server._server.server_state.connections
    client.get("/health")
    before = len(there)
    body = json.dumps({"prompt": "a" * 2_000_000}).encode()
    with closing(socket.socket()) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        lazy.sendall(head(server, "/tokenize", len(body)) + body)
        assert until(lambda: len(there) == before + 1)
        assert until(lambda: len(there) == before)


def test_an_answer_that_is_read_slowly_comes_whole(server, monkeypatch):
    monkeypatch.setattr(bounds, "STALLED_SECONDS", 2.0)  # reading all of it takes longer
    body, got = json.dumps({"prompt": "a" * 2_000_000}).encode(), b""
    with closing(socket.socket()) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.connect(("127.0.0.1", server.port))
        slow.settimeout(30)
        slow.sendall(head(server, "/tokenize", len(body), "Connection: close\r\n") + body)
        while part := slow.recv(2**20):
            got += part
            time.sleep(0.04)
    assert json.loads(got.partition(b"\r\n\r\n")[2])["count"] == 2_000_000


def test_little_of_a_connection_is_read_at_once(server):
    with connected(server) as one:
        one.sendall(head(server, "/tokenize", 100))
        assert until(lambda: any(there.cycle is not None for there in server._server.server_state.connections))
        sizes = {there.transport.max_size for there in server._server.server_state.connections}
    assert sizes == {bounds.READ}


def test_who_is_still_sending_at_the_end_is_told(lm):
    with serving({"demo": lm}, drain=0.1) as one, connected(one) as slow:
        slow.sendall(head(one, "/v1/completions", 100) + b"{")
        assert until(lambda: one.state.busy == 1)
        one.stop()
        answer = b""
        while part := slow.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "shutting_down"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("I/O operation on closed file")])
def test_a_log_that_cannot_be_written_stops_no_answer(monkeypatch, error):
    class Full:
        def write(self, text):
            raise error

        flush = write

    monkeypatch.setattr(sys, "stderr", Full())
    to_stderr("{}")


def test_the_page_answers_to_a_name_in_capitals(lm):
    with serving({"demo": lm}, hosts=["My.Host"], explain=True) as one, one.client() as client:
        assert client.get("/", headers={"host": f"my.host:{one.port}"}).status_code == 200
        assert client.get("/v1/models", headers={"host": f"MY.HOST:{one.port}"}).status_code == 200
