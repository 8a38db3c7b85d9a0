"""Faults in numbers: clients that leave by the hundred, too many connections, a killed server, a busy and an idle one.

HYPOTHESIS_PROFILE=thorough takes the numbers that a server has to bear; by default they are a tenth or less.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from nextword import Sampling

pytest.importorskip("msgspec", reason='needs msgspec: pip install "nextword[serve]"')
from serving import error_of, events_of, serving, until

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
LEAVE = 1000 if THOROUGH else 40
PATH = "/v1/completions"
LONG = {"prompt": "Once upon a time", "max_tokens": 500, "temperature": 0, "ignore_eos": True}


def sent(port, body, path=PATH):
    """A socket with a request on it."""
    raw = json.dumps(body).encode()
    one = socket.create_connection(("127.0.0.1", port), timeout=30)
    one.sendall(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(raw)}\r\n\r\n".encode() + raw)
    return one


def idle(server):
    """Whether nothing runs or waits."""
    now = server.engine.stats()
    return now.running == now.waiting == 0 and server.state.busy == 0


def alive(*names):
    """How many objects of these classes there are."""
    gc.collect()
    return sum(type(one).__name__ in names for one in gc.get_objects())


def leave(port, count, stream):
    """So many clients, eight at a time, that leave: while their prompts are read, or in the middle of their texts."""
    def one(i):
        prompt = [(31 * i + k * k) % 4000 for k in range(400)]
        with sent(port, {**LONG, "prompt": prompt, "max_tokens": 100, "stream": stream}) as client:
            if stream:
                assert client.recv(4096)  # the text has begun
            else:
                time.sleep(i % 20 / 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(count)))


@pytest.fixture
def traced():
    """What Python and NumPy hold is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["in prefill", "in decode"])
def test_clients_that_leave_take_nothing_with_them_and_change_no_answer(lm, traced, stream):
    body = {**LONG, "max_tokens": 100}
    right = lm.generate("Once upon a time", max_new_tokens=100, eos=None).text
    held, parts = ("Job", "Exchange", "Going"), ("Row", "Seat")
    before, parts_before = alive(*held), alive(*parts)
    with serving({"demo": lm}, slots=8, store=False) as one:
        slots = one.engine._worker.scheduler.slots
        done = threading.Event()

        def beside():
            found = set()
            with one.client() as client:
                while not done.is_set() or not found:
                    found.add(client.post(PATH, json=body).json()["choices"][0]["text"])
            return found

        done.set()
        assert beside() == {right}
        done.clear()
        leave(one.port, 16, stream)  # what is taken once is taken
        one.log.clear()
        assert until(lambda: idle(one))
        gc.collect()
        start = tracemalloc.get_traced_memory()[0]
        with ThreadPoolExecutor(1) as pool:
            answers = pool.submit(beside)
            leave(one.port, LEAVE, stream)
            done.set()
            assert answers.result(60) == {right}
        assert until(lambda: idle(one))
        assert slots.free == one.engine.slots == 8
        one.log.clear()
        assert until(lambda: alive(*held) == before)
        assert alive(*parts) <= parts_before + 2 * 8  # of the last pass
        grown = tracemalloc.get_traced_memory()[0] - start
        assert grown < LEAVE * 400 * 8  # what their prompts' ids alone would take


@pytest.mark.skipif(not THOROUGH, reason="takes long; test_serve_faults has one such reader")
def test_readers_that_take_nothing_are_given_up_and_change_no_answer(lm, monkeypatch):
    import nextword.serve.exchange as module

    monkeypatch.setattr(module, "STALLED_SECONDS", 0.3)
    right = lm.generate("The king", max_new_tokens=50, eos=None).text
    body = {**LONG, "n": 12, "temperature": 1, "logprobs": 20, "stream": True}  # 9 MB each
    with serving({"demo": lm}, slots=16) as one, ExitStack() as stack, one.client() as client:
        for _ in range(8):
            stack.enter_context(sent(one.port, body))
        assert until(lambda: one.engine.stats().running >= 12)
        found = client.post(PATH, json={**LONG, "prompt": "The king", "max_tokens": 50})
        assert found.json()["choices"][0]["text"] == right
        assert until(lambda: idle(one), 120)
        assert until(lambda: len(one._server.server_state.connections) <= 1)


def test_a_long_prompt_stops_no_stream(lm):
    """Every pass that reads of it takes a token of each text that grows, so that none of them waits for all of it."""
    prompt = [(k * k) % 4000 for k in range(480)]
    right = lm.generate(prompt, max_new_tokens=2, eos=None).tokens
    with lm.engine(slots=9, pass_ms=0.001) as engine:
        heard, told = [], threading.Event()

        def hear(events):
            heard.append({event.row for event in events})
            told.set()

        long = engine.prepared([prompt], Sampling(max_new_tokens=2), eos=None)
        streams = engine.submit(["Once upon a time"] * 8, Sampling(max_new_tokens=300), hear=hear, eos=None)
        assert told.wait(20)
        first = len(heard)
        long.start()
        assert long.result(60)[0].tokens == right
        last = len(heard)
        streams.cancel()
    assert last - first >= 2  # it came in pieces
    assert all(rows == set(range(8)) for rows in heard[first:last])


@contextmanager
def command(port, *more):
    """The command on a port, once it answers."""
    line = [sys.executable, "-m", "nextword", "serve", "--port", str(port), "--kv-memory", "64M", *more]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process, int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            process.kill()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
@pytest.mark.skipif(not THOROUGH, reason="takes long; what Python holds is counted in any case")
def test_clients_that_leave_leave_the_memory_of_the_process_as_it_was():
    def resident(process):
        with open(f"/proc/{process.pid}/status") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))

    with command(0, "--slots", "8") as (process, port):
        for stream in (False, True):
            leave(port, LEAVE // 2, stream)  # pages of slots and stored beginnings are touched
        before = resident(process)
        for stream in (False, True):
            leave(port, LEAVE // 2, stream)
        assert (grown := resident(process) - before) < LEAVE * 400 * 8, grown  # what the ids of prompts would take


def ask(port, body):
    """The answer's text."""
    import httpx

    return httpx.post(f"http://127.0.0.1:{port}{PATH}", json=body, trust_env=False,
                      timeout=60).json()["choices"][0]["text"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_server_that_was_killed_comes_back_on_its_port(lm):
    right = lm.generate("Once upon a time", max_new_tokens=20, eos=None).text
    body = {**LONG, "max_tokens": 20}
    with command(0) as (process, port), sent(port, {**LONG, "stream": True}) as client:
        assert client.recv(100)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        with command(port) as (_, again):
            assert again == port
            assert ask(port, body) == right


def test_a_second_signal_ends_it_at_once():
    with command(0, "--drain", "600") as (process, port), sent(port, {**LONG, "n": 64, "temperature": 1,
                                                                      "stream": True}) as client:
        assert client.recv(100)  # 32,000 tokens are to come
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_connections_beyond_the_bound_are_told_so_in_openais_form(lm, monkeypatch):
    from nextword.serve import bounds

    if not THOROUGH:
        monkeypatch.setattr(bounds, "CONNECTIONS", 16)
    with serving({"demo": lm}) as one, ExitStack() as stack, one.client() as client:
        there = [stack.enter_context(socket.create_connection(("127.0.0.1", one.port)))
                 for _ in range(bounds.CONNECTIONS)]
        assert until(lambda: len(one._server.server_state.connections) == bounds.CONNECTIONS)
        found = client.get("/v1/models")
        assert error_of(found) == (503, None, "too_many_connections")
        assert found.headers["retry-after"] == "1"
        assert client.get("/health/live").json() == {"status": "ok"}
        for _ in range(bounds.CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", one.port)))
        with socket.create_connection(("127.0.0.1", one.port), timeout=20) as late:
            assert late.recv(1) == b""
        for connection in there:
            connection.sendall(f"GET /health HTTP/1.1\r\nhost: 127.0.0.1:{one.port}\r\n\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        stack.close()
        assert until(lambda: len(one._server.server_state.connections) <= 1)
        assert client.get("/v1/models").status_code == 200


def test_what_runs_no_model_is_answered_whatever_the_model_does(lm):
    with serving({"demo": lm}) as one, one.client() as client, ThreadPoolExecutor(9) as pool:
        with one.engine._worker.turn:  # as if a pass took for ever
            waiting = [pool.submit(ask, one.port, {**LONG, "max_tokens": 4}) for _ in range(8)]
            assert until(lambda: one.state.busy == 8)
            for path in ("/health", "/health/ready", "/metrics", "/v1/models", "/openapi.json"):
                assert client.get(path).status_code == 200
            assert client.post("/tokenize", json={"prompt": "a"}).status_code == 200
            assert not any(future.done() for future in waiting)
        assert len({future.result(30) for future in waiting}) == 1


def test_an_idle_server_computes_nothing(lm):
    with serving({"demo": lm}) as one, one.client() as client:
        client.post(PATH, json={**LONG, "max_tokens": 4})
        assert until(lambda: idle(one))
        time.sleep(0.5)

        def taken(seconds=1.0):
            start = time.process_time()
            time.sleep(seconds)
            return (time.process_time() - start) / seconds

        assert min(taken() for _ in range(4)) < 0.005  # the quietest second


def test_scores_whose_client_left_end_and_their_number_is_bounded(lm):
    texts = [[(i + k) % 4000 for k in range(500)] for i in range(200)]
    with serving({"demo": lm}, max_queue=2) as one, one.client() as client:
        worker = one.engine._worker
        with sent(one.port, {"input": texts}, "/v1/score"):
            assert until(lambda: worker.admission.works == 1)
        assert until(lambda: worker.admission.works == 0 and one.state.busy == 0)
        with worker.turn, sent(one.port, {"input": texts}, "/v1/score"), sent(one.port, {"input": texts}, "/v1/score"):
            assert until(lambda: worker.admission.works == 2)
            assert error_of(client.post("/v1/score", json={"input": "a b"})) == (429, None, "queue_full")
        assert until(lambda: worker.admission.works == 0 and one.state.busy == 0)
        found = client.post("/v1/score", json={"input": texts[:2]}).json()["data"]
        assert [x["token_logprobs"] for x in found] == [x.logprobs.tolist() for x in lm.score(texts[:2])]


def test_a_key_may_have_so_many_texts_on_their_way(lm):
    with serving({"demo": lm}, keys=["one", "two"], max_rows_per_key=2) as server, ExitStack() as stack:
        one = stack.enter_context(server.client(authorization="Bearer one"))
        two = stack.enter_context(server.client(authorization="Bearer two"))
        body = {"prompt": "a", "max_tokens": 2}
        pool = stack.enter_context(ThreadPoolExecutor(2))
        with server.engine._worker.turn:
            running = pool.submit(one.post, PATH, json={**body, "n": 2, "user": "x"})
            assert until(lambda: server.state.busy == 1 and server.state.rows)
            found = one.post(PATH, json={**body, "user": "y"})
            assert error_of(found) == (429, None, "too_many_texts")
            assert found.headers["retry-after"] == "1"
            other = pool.submit(two.post, PATH, json={**body, "n": 2})
        assert running.result(30).status_code == other.result(30).status_code == 200
        assert one.post(PATH, json={**body, "n": 2}).status_code == 200
        assert error_of(one.post(PATH, json={**body, "n": 3})) == (429, None, "too_many_texts")


def test_usage_tells_what_of_a_prompt_was_held(lm):
    prompt = [(k * k) % 4000 for k in range(400)]
    with serving({"demo": lm}) as one, one.client() as client:
        def cached(**more):
            found = client.post(PATH, json={"prompt": prompt, "max_tokens": 2, "ignore_eos": True, **more}).json()
            assert found["usage"]["prompt_tokens"] == 400
            return found["usage"]["prompt_tokens_details"]["cached_tokens"]

        assert cached(n=3) == 0
        assert cached() == 399  # the last token has to be read
        assert cached(echo=True, logprobs=1) == 0
        assert cached(max_tokens=0) == 0


def test_at_temperature_0_n_texts_are_one(client, lm):
    right = lm.generate("Once upon a time", max_new_tokens=5).text
    body = {"prompt": ["Once upon a time", "The"], "max_tokens": 5, "temperature": 0, "n": 3, "logprobs": 1}
    found = client.post(PATH, json=body).json()
    assert [one["index"] for one in found["choices"]] == list(range(6))
    assert [one["text"] for one in found["choices"][:3]] == [right] * 3
    assert found["choices"][3]["text"] == found["choices"][5]["text"] != right
    assert found["usage"]["completion_tokens"] == 30
    *events, done = events_of(client.post(PATH, json={**body, "stream": True}))
    assert done == "[DONE]"
    for index in range(6):
        told = "".join(x["choices"][0]["text"] for x in events if x["choices"][0]["index"] == index)
        assert told == found["choices"][index]["text"]
    assert client.post(PATH, json={**body, "n": 1, "best_of": 3}).json()["choices"][0]["text"] == right
    chat = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 3, "temperature": 0, "n": 2}
    first, second = client.post("/v1/chat/completions", json=chat).json()["choices"]
    assert first["message"] == second["message"]
