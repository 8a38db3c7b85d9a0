"""Clients that leave or never read, a full queue, several models at once, and an end that lets running requests end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("msgspec", reason='needs msgspec: pip install "nextword[serve]"')
from serving import error_of, events_of, serving, until

import nextword
from nextword.serve.errors import Refused
from nextword.serve.exchange import Exchange

PATH = "/v1/completions"
LONG = {"prompt": "Once upon a time", "max_tokens": 500, "temperature": 0, "ignore_eos": True}


def test_nothing_is_written_to_a_connection_that_is_closing():
    sent, closing = [], []

    async def send(message):
        sent.append(message)
        closing.append(True)

    async def talk():
        scope = {"method": "POST", "path": "/", "nextword.closing": lambda: len(closing) > 2}
        exchange = Exchange(scope, None, send, {})
        for _ in range(2):
            await exchange.event(b"a")
        with pytest.raises(Refused) as refused:
            await exchange.event(b"a")
        assert refused.value.status == 499

    asyncio.run(talk())
    assert len(sent) == 3  # the start and two events


def sent(server, body):
    """A socket with a request on it."""
    raw = json.dumps(body).encode()
    one = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    one.sendall(f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(raw)}\r\n\r\n".encode() + raw)
    return one


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(server, stream):
    before = server.engine.stats().cancelled
    one = sent(server, {**LONG, "stream": stream})
    assert until(lambda: server.engine.stats().running == 1)
    one.close()
    assert until(lambda: server.engine.stats().running == 0)
    assert server.engine.stats().cancelled == before + 1
    assert until(lambda: server.state.busy == 0)


def test_answers_beside_each_other_have_the_bits_of_the_library(server, lm):
    prompts = [f"{word} upon a {thing}" for word in ("Once", "The", "And", "But") for thing in ("time", "king", "hill")]
    right = [lm.generate(p, max_new_tokens=20, temperature=1, seed=i).text for i, p in enumerate(prompts)]

    def ask(i):
        with server.client() as client:
            found = client.post(PATH, json={"prompt": prompts[i], "max_tokens": 20, "seed": i}).json()
            return found["choices"][0]["text"]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(12))) == right


def test_300_requests_on_a_queue_of_32_are_answered_or_sent_away(lm):
    right = lm.generate("Once upon a time", max_new_tokens=30).text
    with serving({"demo": lm}, slots=2, max_queue=32) as one, one.client() as client:
        def ask(_):
            return client.post(PATH, json={"prompt": "Once upon a time", "max_tokens": 30, "temperature": 0})

        with ThreadPoolExecutor(100) as pool:
            found = list(pool.map(ask, range(300)))
        good = [x for x in found if x.status_code == 200]
        away = [x for x in found if x.status_code == 429]
        assert len(good) + len(away) == 300
        assert len(good) >= 34
        assert away
        assert {x.json()["choices"][0]["text"] for x in good} == {right}
        assert all(error_of(x) == (429, None, "queue_full") and int(x.headers["retry-after"]) >= 1 for x in away)
        assert away[0].json()["error"]["type"] == "rate_limit_error"
        assert until(lambda: one.engine.stats().running == one.engine.stats().waiting == 0)


def test_several_models_answer_by_their_names(lm):
    sort = nextword.load("nextword:nano-sort")
    with serving({"demo": lm, "sort": sort}) as one, one.client() as client:
        assert [x["id"] for x in client.get("/v1/models").json()["data"]] == ["demo", "sort"]
        body = {"model": "sort", "prompt": "CBAABC", "max_tokens": 6, "temperature": 0}
        assert client.post(PATH, json=body).json()["choices"][0]["text"] == "AABBCC"
        assert client.post(PATH, json={**body, "model": None}).json()["model"] == "demo"


def test_at_the_end_running_requests_finish_and_no_new_ones_are_taken(lm):
    with serving({"demo": lm}, drain=30.0) as one, one.client() as client:
        found = []
        running = threading.Thread(target=lambda: found.append(client.post(PATH, json={**LONG, "max_tokens": 400})))
        running.start()
        assert until(lambda: one.engine.stats().running == 1)
        one.stop()
        with one.client() as other:
            assert until(lambda: one.state.draining)
            assert error_of(other.get("/health/ready")) == (503, None, "shutting_down")
            refused = other.post(PATH, json=LONG)
            assert error_of(refused) == (503, None, "shutting_down")
            assert "retry-after" in refused.headers
            assert other.get("/health/live").json() == {"status": "draining"}
        running.join(30)
        assert found[0].json()["usage"]["completion_tokens"] == 400


def test_after_the_drain_streams_end_with_an_error_event(lm):
    with serving({"demo": lm}, drain=0.05) as one, one.client() as client:
        found = []
        running = threading.Thread(target=lambda: found.append(client.post(PATH, json={**LONG, "stream": True})))
        running.start()
        assert until(lambda: one.engine.stats().generated_tokens > 0)
        one.stop()
        running.join(30)
        last = events_of(found[0])[-1]
        assert last["error"]["code"] == "shutting_down"


def test_the_command_prints_one_line_and_ends_on_sigterm():
    command = [sys.executable, "-m", "nextword", "serve", "--port", "0", "--kv-memory", "64M"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        import httpx

        line = process.stdout.readline()
        assert line.startswith("nextword: http://127.0.0.1:")
        found = httpx.get(line.split()[1] + "/v1/models", trust_env=False)
        assert found.json()["data"][0]["id"] == "demo"
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=20)
        assert (rest, process.returncode) == ("", 0)
        assert [json.loads(one)["status"] for one in log.splitlines()] == [200]


def test_another_host_needs_a_key(capsys):
    from nextword.cli.main import main

    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "--no-auth" in capsys.readouterr().err


def test_a_reader_that_takes_nothing_is_given_up_and_stops_nobody_else(server, client, monkeypatch):
    import nextword.serve.exchange as module

    monkeypatch.setattr(module, "STALLED_SECONDS", 0.3)
    with sent(server, {**LONG, "stream": True, "n": 12, "temperature": 1, "logprobs": 20}):  # 9 MB, none of them read
        assert until(lambda: server.engine.stats().running > 0)
        body = {"prompt": "The king", "max_tokens": 2, "temperature": 0}
        assert client.post(PATH, json=body).status_code == 200
        assert until(lambda: server.state.busy == 0, 60)
        assert until(lambda: len(server._server.server_state.connections) <= 1)  # its own is closed
    assert until(lambda: server.engine.stats().running == 0)
    assert any('"stalled"' in line for line in server.log)
