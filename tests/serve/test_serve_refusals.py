"""What is refused: each parameter by its name, in OpenAI's form, with its status; nothing is dropped in silence."""

import pytest

pytest.importorskip("msgspec", reason='needs msgspec: pip install "nextword[serve]"')
from serving import error_of

PATH = "/v1/completions"
WRONG = [
    ({"max_tokens": -1}, "max_tokens"), ({"max_tokens": "3"}, "max_tokens"), ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"), ({"temperature": 2.1}, "temperature"), ({"temperature": -1}, "temperature"),
    ({"top_p": 1.1}, "top_p"), ({"n": 0}, "n"), ({"n": 129}, "n"),
    ({"best_of": 21}, "best_of"), ({"best_of": 1, "n": 2}, "best_of"), ({"logprobs": 21}, "logprobs"),
    ({"logprobs": -1}, "logprobs"), ({"seed": 2**64}, "seed"), ({"seed": -(2**63) - 1}, "seed"),
    ({"stop": ["x"] * 65}, "stop"), ({"stop": "x" * 1025}, "stop"), ({"stop": "€" * 400}, "stop"),
    ({"stop": [3]}, "stop"), ({"stop": ""}, "stop"), ({"logit_bias": {"5": 101}}, "logit_bias"),
    ({"logit_bias": {"a": 1}}, "logit_bias"), ({"logit_bias": {"4096": 1}}, "logit_bias"),
    ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias"), ({"frequency_penalty": 3}, "frequency_penalty"),
    ({"presence_penalty": -3}, "presence_penalty"), ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"), ({"prompt": 5}, "prompt"),
    ({"prompt": []}, "prompt"), ({"prompt": [[]]}, "prompt"), ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt"), ({"prompt": [1, True]}, "prompt"), ({"prompt": [[1], "a"]}, "prompt"),
    ({"prompt": [[1.5]]}, "prompt"), ({"prompt": [-1]}, "prompt"), ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": ["a"] * 1025}, "prompt"), ({"prompt": ["a"] * 1024, "n": 2, "temperature": 1}, "n"),
    ({"min_tokens": 20}, "min_tokens"), ({"top_k": -1}, "top_k"), ({"min_p": 2}, "min_p"),
    ({"stop_token_ids": [5000]}, "stop_token_ids"), ({"response_format": {"type": "xml"}}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format"), ({"regex": "x" * 70000}, "regex"),
    ({"priority": -1}, "priority"), ({"model": ""}, "model"), ({"echo": 1}, "echo"), ({"user": 5}, "user"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=lambda x: str(x)[:40])
def test_a_wrong_value_is_refused_by_the_name_of_its_field(client, fields, param):
    status, named, code = error_of(client.post(PATH, json={"prompt": "a", **fields}))
    assert (status, named) == (400, param)
    assert code in ("invalid_value", "invalid_token_id")


@pytest.mark.parametrize(("path", "body", "param"), [
    (PATH, {"suffix": "x"}, "suffix"), (PATH, {"best_of": 3, "stream": True}, "best_of"),
    ("/v1/chat/completions", {"tools": []}, "tools"), ("/v1/chat/completions", {"tool_choice": "auto"}, "tool_choice"),
    ("/v1/chat/completions", {"functions": []}, "functions"), ("/v1/chat/completions", {"audio": {}}, "audio"),
    ("/v1/chat/completions", {"modalities": ["text"]}, "modalities"),
    ("/v1/chat/completions", {"store": True}, "store"), ("/v1/chat/completions", {"moderation": {}}, "moderation"),
    ("/v1/chat/completions", {"verbosity": "low"}, "verbosity"),
    ("/v1/chat/completions", {"service_tier": "flex"}, "service_tier"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
])  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(client, path, body, param):
    given = {"messages": [{"role": "user", "content": "a"}], **body} if "chat" in path else body
    assert error_of(client.post(path, json=given)) == (400, param, "unsupported_parameter")


@pytest.mark.parametrize("path", [PATH, "/v1/chat/completions", "/v1/embeddings", "/v1/score", "/tokenize"])
def test_an_unknown_field_is_refused_by_its_name(client, path):
    assert error_of(client.post(path, json={"zz": 1})) == (400, "zz", "unknown_parameter")


def test_what_never_changes_an_answer_is_taken(client):
    asked = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2, "temperature": 0}
    right = client.post("/v1/chat/completions", json=asked).json()["choices"]
    more = {"safety_identifier": "me", "prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit",
            "ttl": "30m"}, "prompt_cache_retention": "24h", "service_tier": "auto"}  # fmt: skip
    assert client.post("/v1/chat/completions", json={**asked, **more}).json()["choices"] == right
    for name in more:
        assert error_of(client.post("/v1/chat/completions", json={**asked, name: 5}))[:2] == (400, name)


def test_tokens_of_a_text_are_counted_up_to_a_bound(client, monkeypatch):
    from nextword.serve import tokens

    monkeypatch.setattr(tokens, "TOKENS", 2)
    monkeypatch.setattr(tokens, "TOKENIZED", 3)
    assert error_of(client.post("/tokenize", json={"prompt": "a b c", "return_token_strs": True}))[1] == "prompt"
    assert client.post("/tokenize", json={"prompt": "a b c"}).json()["count"] == 3
    assert error_of(client.post("/tokenize", json={"prompt": "a b c d"})) == (400, "prompt", "invalid_value")
    asked = {"messages": [{"role": "user", "content": "a b c d"}]}
    assert error_of(client.post("/tokenize", json=asked)) == (400, "messages", "invalid_value")


def test_a_field_that_is_missing_is_named(client):
    assert error_of(client.post("/v1/chat/completions", json={})) == (400, "messages", "missing_required_parameter")
    assert error_of(client.post("/v1/embeddings", json={})) == (400, "input", "missing_required_parameter")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b"{" * 9, b"[" * 100_000, b'{"prompt": [1e999]}',
                                  b'{"temperature": NaN}', b'{"prompt": ' + b"[" * 100_000])
def test_what_is_no_json_object_is_refused(client, body):
    found = client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert error_of(found) == (400, None, "invalid_json")


def test_an_unknown_model_is_404_by_name(client):
    assert error_of(client.post(PATH, json={"model": "x"})) == (404, "model", "model_not_found")
    assert error_of(client.get("/v1/models/x")) == (404, "model", "model_not_found")


def test_ids_of_another_vocabulary_are_refused_with_the_way_out(client):
    found = client.post("/v1/embeddings", json={"input": [[5, 90_000]]})
    assert error_of(found) == (400, "input", "invalid_token_id")
    assert "check_embedding_ctx_length=False" in found.json()["error"]["message"]
    assert error_of(client.post(PATH, json={"prompt": [4096]})) == (400, "prompt", "invalid_token_id")
    assert error_of(client.post("/detokenize", json={"tokens": [4096]})) == (400, "tokens", "invalid_token_id")


def test_lone_surrogates_are_no_fault_of_the_server(client):
    body = b'{"prompt": "\\ud800", "max_tokens": 1, "stop": "\\udc00"}'
    found = client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert found.status_code in (200, 400)


def test_every_path_answers_405_with_allow_to_other_methods(client):
    from nextword.serve.table import ENDPOINTS

    for path, one in ENDPOINTS.items():
        path = path.replace("{model}", "demo")
        for method in ("TRACE", "PUT", "DELETE", "PATCH", "OPTIONS", "GET" if one.body else "POST"):
            found = client.request(method, path)
            assert (found.status_code, found.headers["allow"]) == (405, "POST" if one.body else "GET, HEAD"), path


def test_nothing_has_another_path(client):
    for path in ("/v2", "/v1/completions/", "/v1/models/", "/../etc/passwd", "/v1/models/{model}x"):
        assert client.get(path).status_code == 404
