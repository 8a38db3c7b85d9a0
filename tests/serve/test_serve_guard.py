"""Who may ask: host, origin, key, type and size of a body; ids of requests; and what the log says and does not say."""

import json
import socket

import pytest

pytest.importorskip("msgspec", reason='needs msgspec: pip install "nextword[serve]"')
from serving import error_of, serving, until

PATH = "/v1/completions"


@pytest.fixture(scope="module")
def locked(lm):
    with serving({"demo": lm}, keys=["one", "two"], hosts=["my.host"], explain=True) as server:
        yield server


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer on", "Bearer onee", "Basic one", "one",
                                   "Bearer é".encode()])
def test_without_a_right_key_nothing_but_live_answers(locked, given):
    headers = {} if given is None else {"authorization": given}
    with locked.client(**headers) as client:
        for path in ("/v1/models", "/health", "/metrics", "/openapi.json", "/nope"):
            found = client.get(path)
            assert error_of(found) == (401, None, "invalid_api_key")
            assert found.headers["www-authenticate"] == "Bearer"
        assert error_of(client.post(PATH, json={}))[0] == 401
        assert client.get("/health/live").json() == {"status": "ok"}


@pytest.mark.parametrize("key", ["one", "two"])
def test_each_key_lets_in(locked, key):
    with locked.client(authorization=f"Bearer {key}") as client:
        assert client.post(PATH, json={"max_tokens": 1}).status_code == 200


def test_an_empty_bearer_which_lm_eval_sends_counts_as_none(locked, server):
    for one, status in ((server, b"200"), (locked, b"401")):
        with socket.create_connection(("127.0.0.1", one.port), timeout=10) as raw:
            raw.sendall(f"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1:{one.port}\r\nauthorization: Bearer \r\n\r\n"
                        .encode())
            assert raw.recv(4096).split()[1] == status


@pytest.mark.parametrize(("host", "status"), [("evil.example", 421), ("127.0.0.1", 421), ("127.0.0.1:1", 421),
                                              ("localhost:{}", 200), ("LOCALHOST:{}", 200), ("my.host:{}", 200)])
def test_only_names_of_its_own_are_answered(locked, host, status):
    with locked.client(authorization="Bearer one", host=host.format(locked.port)) as client:
        assert client.get("/v1/models").status_code == status


def test_foreign_pages_are_refused(client, server):
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert error_of(client.get("/v1/models", headers=headers)) == (403, None, "foreign_origin")
    own = {"origin": f"http://127.0.0.1:{server.port}", "sec-fetch-site": "same-origin"}
    found = client.get("/v1/models", headers=own)
    assert found.status_code == 200
    assert "access-control-allow-origin" not in found.headers


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_must_be_json(client, kind):
    headers = {} if kind is None else {"content-type": kind}
    assert error_of(client.post(PATH, content=b"{}", headers=headers)) == (415, None, "unsupported_media_type")


def test_a_body_is_at_most_8_mib_announced_or_not(client):
    headers = {"content-type": "application/json"}
    assert error_of(client.post(PATH, content=b" " * (8 * 2**20 + 1), headers=headers)) == (
        413, None, "body_too_large")
    chunks = (b" " * 2**20 for _ in range(9))
    assert error_of(client.post(PATH, content=chunks, headers=headers)) == (413, None, "body_too_large")


def test_ids_of_requests_come_back_or_are_made(client):
    assert client.get("/health", headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"
    made = {client.get("/health", headers={"x-request-id": given}).headers["x-request-id"] for given in ("", "a b")}
    assert len(made) == 2
    assert all(one.startswith("req-") for one in made)


def test_the_log_has_a_line_a_request_and_no_prompt(server, client):
    client.post(PATH, json={"prompt": "SECRET", "max_tokens": 2}, headers={"x-request-id": "find-me"})
    assert until(lambda: any("find-me" in one for one in server.log))
    line = next(one for one in server.log if "find-me" in one)
    assert "SECRET" not in line
    told = json.loads(line)
    assert (told["status"], told["endpoint"], told["completion_tokens"]) == (200, PATH, 2)
    assert not any("SECRET" in one for one in server.log)


def test_the_log_has_prompts_where_they_are_asked_for(lm):
    with serving({"demo": lm}, log_prompts=True) as one, one.client() as client:
        client.post(PATH, json={"prompt": "SECRET", "max_tokens": 1})
        assert until(lambda: any("SECRET" in line for line in one.log))  # it is written once the answer is sent


def test_the_page_is_there_with_its_own_key(locked):
    key = locked.page.partition("#key=")[2]
    with locked.client() as client:
        assert "text/html" in client.get("/").headers["content-type"]
        assert client.get("/api/model").status_code == 401
        assert client.get("/api/model", headers={"X-Nextword-Key": key}).status_code == 200
        assert client.get("/v1/models", headers={"X-Nextword-Key": key}).status_code == 401


def test_a_connection_that_sends_no_head_is_closed(lm, monkeypatch):
    from nextword.serve import bounds

    monkeypatch.setattr(bounds, "HEADER_SECONDS", 0.2)
    with serving({"demo": lm}) as one, socket.create_connection(("127.0.0.1", one.port), timeout=10) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nhos")
        assert slow.recv(100) == b""
