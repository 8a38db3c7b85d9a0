"""The server on a real socket: who is refused, many clients at once, work that stops, and what is sent with a page."""

import asyncio
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

httpx = pytest.importorskip("httpx", reason='needs httpx: pip install "nextword[test]"')

from nextword.page.app import app_of  # noqa: E402
from nextword.page.calls import Page  # noqa: E402
from nextword.page.errors import Refused  # noqa: E402
from nextword.page.files import files  # noqa: E402
from nextword.page.turns import LANES, Turns, Work  # noqa: E402

PROMPT = "Once upon a time there was a little"


def error_of(response):
    return response.status_code, response.json()["error"]["code"]


def raw(server, head):
    """What the server answers to bytes on a socket."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
        one.sendall(head.replace("\n", "\r\n").encode() + b"\r\n")
        found = b""
        while part := one.recv(65536):
            found += part
    return found


def test_the_page_and_its_modules_are_there_with_their_headers(server):
    with server.client() as client:
        for path in ["/", *(f"/page/{name}" for name in files())]:
            found = client.get(path, headers={"X-Nextword-Key": ""})
            assert found.status_code == 200, path
            assert found.headers["x-content-type-options"] == "nosniff"
            assert found.headers["referrer-policy"] == "no-referrer"
            assert "set-cookie" not in found.headers
            policy = found.headers["content-security-policy"]
            for part in ("default-src 'none'", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
                assert part in policy
            assert re.search(r"script-src 'self' 'sha256-[\w+/=]+';", policy)
            assert "unsafe" not in policy
        assert client.get("/", headers={"If-None-Match": client.get("/").headers["etag"]}).status_code == 304


def test_the_page_names_no_foreign_address():
    for name, file in files().items():
        if not name.startswith("vendor/"):
            found = re.findall(rb"https?://[\w.-]+", file.data)
            assert {one for one in found if one not in (b"http://www.w3.org",)} == set(), name


@pytest.mark.parametrize("key", [None, "", "x", "é".encode()])
def test_without_the_key_nothing_below_api_is_told(server, key):
    with server.client() as client:
        for method, path in (("GET", "/api/model"), ("POST", "/api/run"), ("GET", "/api/run/0/tensor"),
                             ("GET", "/api/nothing")):
            headers = dict(client.headers)
            headers.pop("x-nextword-key")
            if key is not None:
                headers["x-nextword-key"] = key
            plain = httpx.request(method, f"http://127.0.0.1:{server.port}{path}", headers=headers, trust_env=False,
                                  content=b"{}" if method == "POST" else None)
            assert error_of(plain) == (401, "key")


def test_a_key_that_is_given_twice_is_refused(server):
    found = raw(server, f"GET /api/model HTTP/1.1\nHost: 127.0.0.1:{server.port}\nX-Nextword-Key: {server.key}\n"
                        f"X-Nextword-Key: {server.key}\nConnection: close\n")
    assert found.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}",
                                  "[::2]:{port}", "evil.example:{port}", "127.0.0.1:{port}@evil"])
def test_other_hosts_are_refused_as_names_may_be_made_to_point_here(server, host):
    for path in ("/", "/api/model"):
        found = raw(server, f"GET {path} HTTP/1.1\nHost: {host.format(port=server.port)}\n"
                            f"X-Nextword-Key: {server.key}\nConnection: close\n")
        assert found.split(b" ", 2)[1] in (b"421", b"400"), found[:200]
        assert b"<html" not in found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_its_own_names_are_answered(server, host):
    found = raw(server, f"GET /api/model HTTP/1.1\nHost: {host}:{server.port}\nX-Nextword-Key: {server.key}\n"
                        "Connection: close\n")
    assert found.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
])
def test_other_pages_are_refused_even_with_the_key(server, headers):
    with server.client(**headers) as client:
        assert error_of(client.post("/api/run", json={"prompt": "a"})) == (403, "origin")
        assert error_of(client.get("/api/model")) == (403, "origin")


def test_its_own_page_is_answered(server):
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"}
    with server.client(**own) as client:
        answer = client.post("/api/run", json={"prompt": "a"})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_could_send_is_refused(server, kind):
    with server.client() as client:
        answer = client.post("/api/run", content=b'{"prompt": "a"}', headers={"Content-Type": kind})
        assert error_of(answer) == (415, "not_json")


@pytest.mark.parametrize("body", [b"{", b"[" * 10000, b'{"prompt": NaN}', b'{"next": 1e999}', b"\xff", b"1",
                                  b'{"a":' * 40 + b"1" + b"}" * 40, b'{"next": ' + b"9" * 5000 + b"}"])
def test_a_body_that_is_no_small_json_object_is_refused(server, body):
    with server.client() as client:
        answer = client.post("/api/run", content=body, headers={"Content-Type": "application/json"})
        assert error_of(answer) == (400, "bad_argument")


def test_a_large_body_is_refused_whether_it_says_so_or_not(server):
    body = b'{"prompt": "' + b"a" * 2**20 + b'"}'
    with server.client() as client:
        answer = client.post("/api/run", content=body, headers={"Content-Type": "application/json"})
        assert error_of(answer) == (413, "too_large")
        parts = (body[i : i + 2**16] for i in range(0, len(body), 2**16))
        try:
            answer = client.post("/api/run", content=parts, headers={"Content-Type": "application/json"})
        except httpx.WriteError:  # it has answered, and reads no more
            return
        assert error_of(answer) == (413, "too_large")


@pytest.mark.parametrize("path", ["/etc/passwd", "/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py",
                                  "/page/", "/page/vendor", "//page/main.js", "/api/run/x/tensor", "/api/run/%00/heads",
                                  "/api/run/..%2f..%2f/heads"])
def test_no_path_leads_to_a_file(server, path):
    found = raw(server, f"GET {path} HTTP/1.1\nHost: 127.0.0.1:{server.port}\nX-Nextword-Key: {server.key}\n"
                        "Connection: close\n")
    assert found.split(b" ", 2)[1] == b"404", found[:300]


def test_other_methods_are_refused(server):
    with server.client() as client:
        assert error_of(client.get("/api/run")) == (405, "method")
        assert error_of(client.request("DELETE", "/api/model", headers={"Content-Type": "application/json"})) == (
            405, "method")
        assert client.request("OPTIONS", "/api/run", headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_run_that_was_dropped_is_gone_and_comes_back_under_its_name(server):
    with server.client() as client:
        first = client.post("/api/run", json={"prompt": PROMPT}).json()["run"]
        for i in range(8):
            client.post("/api/run", json={"prompt": "a " * (i + 1)})
        answer = client.get(f"/api/run/{first}/heads")
        assert error_of(answer) == (410, "gone")
        assert client.post("/api/run", json={"prompt": PROMPT}).json()["run"] == first
        assert client.get(f"/api/run/{first}/heads").status_code == 200


def asked(client, prompt):
    """All that one tab asks for."""
    answer = client.post("/api/run", json={"prompt": prompt, "lens": {"top": 3}})
    run = answer.json()["run"]
    parts = [answer.content]
    for path in ("tensor?name=h.3.attn.weights", "tensor?name=logits&rows=-1:", "heads?size=16"):
        parts.append(client.get(f"/api/run/{run}/{path}").content)
    parts.append(client.post(f"/api/run/{run}/choose", json={"settings": {"temperature": 1}, "seed": 4}).content)
    body = {"prompt": prompt, "settings": {"temperature": 1, "max_new_tokens": 5}, "seed": 2, "explain": 2}
    parts.append(client.post("/api/generate", json=body).content)
    return parts


def test_several_tabs_at_once_have_the_bits_of_one_alone(server):
    prompts = [PROMPT, "The king said that", "Es war einmal"]
    with server.client() as client:
        alone = [asked(client, prompt) for prompt in prompts]
    found: dict[int, object] = {}

    def tab(i):
        try:
            with server.client() as client:
                found[i] = asked(client, prompts[i % 3])
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=tab, args=(i,)) for i in range(LANES["run"] + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [found[i] == alone[i % 3] for i in range(len(threads))] == [True] * len(threads)


def test_events_come_as_they_are_made_and_end(server):
    with server.client() as client, client.stream("POST", "/api/generate", json={
            "prompt": PROMPT, "settings": {"max_new_tokens": 5}, "explain": 0}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        names = re.findall(r"^event: (\w+)$", answer.read().decode(), re.M)
    assert names == [*["step"] * 5, "end"]


def test_work_stops_when_the_client_goes(server):
    """The next request does not wait for a thousand tokens that nobody reads."""
    with server.client() as client:
        body = {"prompt": "a", "settings": {"max_new_tokens": 500, "temperature": 1}, "seed": 1, "explain": 20}
        started = time.perf_counter()
        client.post("/api/generate", json=body)
        whole = time.perf_counter() - started
        with client.stream("POST", "/api/generate", json=body) as answer:
            next(answer.iter_bytes())
    with server.client() as client:
        started = time.perf_counter()
        assert client.post("/api/run", json={"prompt": "b"}).status_code == 200
        assert time.perf_counter() - started < whole / 2 + 0.5


# Turns


def run_async(work):
    """In a thread of its own: playwright, where a browser is open, has an event loop in this one."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(lambda: asyncio.run(asyncio.wait_for(work(), 30))).result()


def test_of_more_than_four_waiting_runs_the_next_is_told_to_come_again():
    async def work():
        turns, gone = Turns(), asyncio.get_running_loop().create_future()
        order, free = [], asyncio.Event()

        async def one(i):
            async with turns.take("run", gone):
                order.append(i)
                await free.wait()

        tasks = []
        for i in range(5):
            tasks.append(asyncio.create_task(one(i)))
            await asyncio.sleep(0)
        with pytest.raises(Refused) as error:
            async with turns.take("run", gone):
                pass
        assert (error.value.code, error.value.more["waiting"]) == ("busy", 4)
        free.set()
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3, 4]
        async with turns.take("run", gone):
            pass

    run_async(work)


def test_who_goes_while_waiting_leaves_the_queue():
    async def work():
        turns, loop = Turns(), asyncio.get_running_loop()
        stays, goes = loop.create_future(), loop.create_future()
        async with turns.take("run", stays):
            waiting = asyncio.create_task(turns.take("run", goes).__aenter__())
            await asyncio.sleep(0)
            goes.set_result(None)
            with pytest.raises(Refused) as error:
                await waiting
            assert error.value.code == "cancelled"
        async with turns.take("run", stays):
            pass

    run_async(work)


def test_a_turn_that_comes_to_one_who_was_cancelled_is_handed_on():
    async def work():
        turns, gone = Turns(), asyncio.get_running_loop().create_future()
        first = turns.take("run", gone)
        await first.__aenter__()
        waiting = asyncio.create_task(turns.take("run", gone).__aenter__())
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)  # the turn is his
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with turns.take("run", gone):
            pass

    run_async(work)


def test_a_pass_ends_at_the_next_layer_once_the_client_is_gone(lm):
    page = Page(lm)
    reached = threading.Event()
    go_on = threading.Event()
    seen = []
    block = type(lm.model).block

    async def work():
        gone = asyncio.get_running_loop().create_future()

        def slow(self, layer, *args):
            seen.append(layer)
            if layer == 1:
                reached.set()
                go_on.wait(10)
            return block(self, layer, *args)

        patch = pytest.MonkeyPatch()
        patch.setattr(type(lm.model), "block", slow)
        try:
            task = asyncio.create_task(Work(gone).do(page.run, {"prompt": "never read before"}))
            await asyncio.to_thread(reached.wait, 10)
            gone.set_result(None)
            await asyncio.sleep(0.05)
            go_on.set()
            with pytest.raises(Refused) as error:
                await task
            assert error.value.code == "cancelled"
        finally:
            patch.undo()

    run_async(work)
    assert seen[-1] == 1


def got(page, path):
    """The answer of the application itself, without a socket."""

    async def work():
        transport = httpx.ASGITransport(app=app_of(page, "k", 80), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:80",
                                     headers={"X-Nextword-Key": "k"}) as client:  # fmt: skip
            answers.append(await client.get(path))

    answers = []
    run_async(work)
    return answers[0]


def test_what_goes_wrong_inside_is_told_without_its_words(lm, monkeypatch, caplog):
    page = Page(lm)
    monkeypatch.setattr(page, "model", lambda: {}["a secret"])
    answer = got(page, "/api/model")
    assert error_of(answer) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret" in caplog.text


def test_memory_that_is_not_there_has_its_own_code(lm, monkeypatch):
    page = Page(lm)

    def need():
        raise MemoryError("inside: scores would take 9 GB")

    monkeypatch.setattr(page, "model", need)
    assert error_of(got(page, "/api/model")) == (507, "memory")


def test_a_port_that_is_taken_is_one_clear_error(server, lm):
    from nextword.page.server import Server

    with pytest.raises(OSError, match=f"port {server.port} cannot be used"):
        Server(Page(lm), server.port)


def test_who_opens_the_address_before_it_is_served_waits(lm):
    from nextword.page.server import Server

    one = Server(Page(lm))
    with socket.create_connection(("127.0.0.1", one.port), timeout=30) as early:
        early.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{one.port}\r\nConnection: close\r\n\r\n".encode())
        with pytest.raises(OSError, match="cannot be used"):
            Server(Page(lm), one.port)
        one.begin()
        assert early.recv(65536).startswith(b"HTTP/1.1 200")
    one.stop()


def test_it_listens_to_this_machine_alone_and_the_key_is_in_the_fragment(server):
    assert server.address == f"http://127.0.0.1:{server.port}/#key={server.key}"
    assert len(server.key) >= 32
    assert server._socket.getsockname()[0] == "127.0.0.1"


def test_answers_are_json_that_browsers_read(server):
    with server.client() as client:
        text = client.post("/api/run", json={"prompt": "</script>\u2028", "lens": {}}).text
    assert json.loads(text)["prompt"] == "</script>\u2028"
    assert "NaN" not in text
