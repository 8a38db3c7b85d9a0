"""Chat, embeddings, scores, tokens, models, metrics and the description: in the shapes that clients know."""

import base64
import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("msgspec", reason='needs msgspec: pip install "nextword[serve]"')
from serving import error_of, events_of, serving

import nextword
from nextword.decoding import room

CHAT = "/v1/chat/completions"
HELLO = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Once upon a time"}]
WRITTEN = "System: Be kind.\nUser: Once upon a time\nAssistant:"


def asked(client, path, **body):
    found = client.post(path, json=body)
    assert found.status_code == 200, found.text
    return found.json()


def test_a_chat_is_the_plain_template_through_generate(client, lm):
    right = lm.generate(WRITTEN, max_new_tokens=9, stop=["\nUser:", "\nSystem:"])
    found = asked(client, CHAT, messages=HELLO, max_completion_tokens=9, temperature=0)
    assert found["choices"][0]["message"] == {"role": "assistant", "content": right.text, "refusal": None}
    assert found["choices"][0]["finish_reason"] == right.finish_reason
    parts = [{**HELLO[0]}, {"role": "user", "content": [{"type": "text", "text": "Once "},
                                                        {"type": "text", "text": "upon a time"}]}]
    assert asked(client, CHAT, messages=parts, max_tokens=9, temperature=0)["choices"] == found["choices"]


def test_without_a_bound_a_chat_may_fill_the_window_and_no_more(client, lm):
    found = asked(client, CHAT, messages=HELLO, temperature=0, ignore_eos=True, stop=None)
    assert found["usage"]["total_tokens"] <= lm.model.limit + 1
    both = client.post(CHAT, json={"messages": HELLO, "max_tokens": 1, "max_completion_tokens": 1})
    assert error_of(both) == (400, "max_tokens", "invalid_value")
    assert error_of(client.post(CHAT, json={"messages": HELLO, "top_logprobs": 1}))[:2] == (400, "top_logprobs")
    assert error_of(client.post(CHAT, json={"messages": []}))[:2] == (400, "messages")


def test_a_stream_of_a_chat_tells_what_the_whole_answer_tells(client):
    body = {"messages": HELLO, "max_tokens": 8, "temperature": 1, "seed": 3, "n": 2, "logprobs": True,
            "top_logprobs": 2}
    whole = asked(client, CHAT, **body)
    found = events_of(client.post(CHAT, json={**body, "stream": True, "stream_options": {"include_usage": True}}))
    assert found[-1] == "[DONE]"
    assert found[-2]["usage"] == whole["usage"]
    for choice in whole["choices"]:
        mine = [one["choices"][0] for one in found[:-2] if one["choices"][0]["index"] == choice["index"]]
        assert mine[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
        assert "".join(one["delta"].get("content", "") for one in mine) == choice["message"]["content"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        told = [x for one in mine if one["logprobs"] for x in one["logprobs"]["content"]]
        assert told == choice["logprobs"]["content"]


def test_a_models_own_template_is_rendered_in_a_sandbox(tmp_path):
    pytest.importorskip("jinja2", reason='needs jinja2: pip install "nextword[chat]"')
    from nextword.files.bundled import BUNDLED

    for file in Path(BUNDLED["nextword:demo"]).iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    template = ("{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
                "{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}A{% endif %}")
    (tmp_path / "chat_template.jinja").write_text(template)
    lm = nextword.load(tmp_path)
    with serving({"own": lm}) as one, one.client() as client:
        ids = asked(client, "/tokenize", messages=HELLO[1:])["tokens"]
        assert ids == lm.tokenizer.encode("Once upon a time<|endoftext|>A", allowed_special="all")
        right = lm.generate(ids, max_new_tokens=5).text
        found = asked(client, CHAT, messages=HELLO[1:], max_tokens=5, temperature=0)
        assert found["choices"][0]["message"]["content"] == right
        assert error_of(client.post(CHAT, json={"messages": HELLO})) == (400, "messages", "template_error")
        assert client.get("/tokenizer_info").json()["chat_template"] == template
        outside = [{"role": "user", "content": "{{ ''.__class__ }}"}]  # a request is no template
        assert "__class__" in client.post("/detokenize", json={
            "tokens": asked(client, "/tokenize", messages=outside)["tokens"]}).json()["prompt"]


@pytest.mark.parametrize("template", ["{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                                      "{{ 'a' * 10 ** 10 }}", "{% if %}", None])
def test_a_template_that_goes_wrong_is_refused_and_stops_nobody(tmp_path, template):
    pytest.importorskip("jinja2", reason='needs jinja2: pip install "nextword[chat]"')
    for file in Path(nextword.DEMO).iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": 5 if template is None else template}))
    with serving({"own": nextword.load(tmp_path)}) as one, one.client() as client, ThreadPoolExecutor(1) as pool:
        heard = pool.submit(client.post, CHAT, json={"messages": HELLO})
        while not heard.done():
            assert client.post("/v1/completions", json={"prompt": "a", "max_tokens": 1}).status_code == 200
        assert error_of(heard.result()) == (400, "messages", "template_error")
        assert error_of(client.post("/tokenize", json={"messages": HELLO})) == (400, "messages", "template_error")


def test_embeddings_are_the_last_layer_norm_pooled(client, lm):
    text = "Once upon a time"
    hidden = lm.inside(text)["ln_f"]
    found = asked(client, "/v1/embeddings", input=[text, "The king"], model="demo")
    assert [one["index"] for one in found["data"]] == [0, 1]
    mean = (hidden.astype(np.float64).sum(axis=0) / len(hidden)).astype(np.float32)
    bound = 4 * np.finfo(np.float32).eps * np.abs(hidden).max()  # the order of a sum of a few float64
    assert np.abs(np.float32(found["data"][0]["embedding"]) - mean).max() <= bound
    last = asked(client, "/v1/embeddings", input=text, pooling="last")["data"][0]["embedding"]
    assert np.array_equal(np.float32(last), hidden[-1])
    coded = asked(client, "/v1/embeddings", input=text, encoding_format="base64")["data"][0]["embedding"]
    raw = base64.b64decode(coded)
    assert np.array_equal(np.frombuffer(raw, "<f4"), np.float32(found["data"][0]["embedding"]))
    short = np.array(asked(client, "/v1/embeddings", input=text, dimensions=8)["data"][0]["embedding"])
    assert len(short) == 8
    assert abs(np.linalg.norm(short) - 1) < 8 * np.finfo(np.float32).eps
    assert error_of(client.post("/v1/embeddings", json={"input": "a", "dimensions": 257}))[:2] == (400, "dimensions")
    assert error_of(client.post("/v1/embeddings", json={"input": [5] * 600})) == (
        400, "input", "context_length_exceeded")


def test_scores_are_those_of_the_library(client, lm):
    texts = ["Once upon a time", "The king said that"]
    found = asked(client, "/v1/score", input=texts)["data"]
    for one, right in zip(found, lm.score(texts), strict=True):
        assert one["token_logprobs"] == right.logprobs.tolist()
        assert (one["logprob"], one["bits_per_byte"]) == (right.logprob, right.bits_per_byte)
    found = asked(client, "/v1/score", prompt="The king said that", choices=[" he", " she"])["data"]
    for one, right in zip(found, lm.choose("The king said that", [" he", " she"]), strict=True):
        assert (one["token_logprobs"], one["share"]) == (right.logprobs.tolist(), right.share)
    for body in ({}, {"input": "a", "choices": ["b"]}, {"prompt": "a"}, {"choices": ["a", "a"]}, {"input": ""}):
        assert client.post("/v1/score", json=body).status_code == 400, body


@pytest.mark.parametrize("root", ["", "/v1"])
def test_the_remote_tokenizer_of_lm_eval_parses_special_tokens(client, lm, root):
    assert asked(client, f"{root}/tokenize", prompt="<|endoftext|>", add_special_tokens=False)["tokens"][0] == 0
    found = asked(client, f"{root}/tokenize", prompt="Once", return_token_strs=True)
    assert found == {"count": 2, "max_model_len": 512, "tokens": [2383, 375], "token_strs": ["On", "ce"]}
    assert asked(client, f"{root}/detokenize", tokens=[2383, 375]) == {"prompt": "Once"}
    info = client.get(f"{root}/tokenizer_info").json()
    assert (info["eos_token"], info["model_max_length"]) == ("<|endoftext|>", 512)


def test_the_memory_for_keys_and_values_is_that_of_all_models_together(lm, monkeypatch):
    monkeypatch.setattr(room.memory, "available", lambda: 4 * (64 << 20))
    slot = room.slot_bytes(lm.model)
    for given, most in ((None, 64 << 20), (24 << 20, 24 << 20)):
        with serving({"a": lm, "b": lm}, kv_memory=given) as one:
            told = [served.engine.stats() for served in one.state.models.values()]
            assert sum(stats.kv_bytes for stats in told) <= most
            assert min(stats.slots for stats in told) == max(stats.slots for stats in told) >= most // 2 // slot // 2
    monkeypatch.setattr(room.memory, "available", lambda: 1 << 20)
    with serving({"a": lm, "b": lm}, kv_memory=None) as one:  # one slot in any case
        assert [served.engine.slots for served in one.state.models.values()] == [1, 1]


def test_log_probabilities_for_which_there_is_no_memory_are_507(lm, monkeypatch):
    with serving({"a": lm}) as one, one.client() as client:
        monkeypatch.setattr(room.memory, "available", lambda: 200 << 20)
        for body in ({"echo": True, "max_tokens": 0}, {"max_tokens": 1}):
            many = [[5] * 64] * 1024 if "echo" in body else [[5]] * 1024
            asked = {"prompt": many, "logprobs": 20, **body}
            found = client.post("/v1/completions", json=asked if "echo" in body else {**asked, "max_tokens": 20})
            assert error_of(found) == (507, None, "out_of_memory")
        assert client.post("/v1/completions", json={"prompt": "a", "logprobs": 20}).status_code == 200


def test_models_tell_their_windows(client):
    found = client.get("/v1/models").json()["data"][0]
    assert {**found, "created": 0} == {"id": "demo", "object": "model", "created": 0, "owned_by": "nextword",
                                       "max_model_len": 512}
    assert client.get("/v1/models/demo").json() == found


def test_metrics_are_text_that_prometheus_reads(server, client):
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus_client")
    asked(client, "/v1/completions", prompt="a", max_tokens=3)
    found = {one.name: one for one in parser.text_string_to_metric_families(client.get("/metrics").text)}
    for name in ("requests", "time_to_first_token_seconds", "inter_token_seconds", "request_queue_seconds",
                 "pass_seconds", "tokens", "running", "waiting", "slots", "kv_bytes", "prefix_hits", "cancelled",
                 "rejected"):
        assert f"nextword_{name}" in found, name


def test_the_description_is_current_and_served(client):
    path = Path(__file__).parents[2] / "tools" / "openapi.py"
    spec = importlib.util.spec_from_file_location("openapi_tool", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.FILE.read_text(encoding="utf-8") == tool.text(), "run python tools/openapi.py"
    assert client.get("/openapi.json").json() == json.loads(tool.text())


def test_a_model_without_a_vocabulary_says_why_it_has_none(lm):
    bare = nextword.LanguageModel(lm.model)
    bare.no_tokenizer = "vocab.json is there, but not merges.txt"
    with serving({"bare": bare}) as server, server.client() as client:
        for path, body in (("/v1/completions", {"prompt": "a"}), ("/v1/embeddings", {"input": "a"}),
                           ("/detokenize", {"tokens": [1]})):
            error = client.post(path, json={"model": "bare", **body}).json()["error"]
            assert error["code"] == "no_vocabulary", path
            assert "have (vocab.json is there, but not merges.txt); " in error["message"] or error["message"] == (
                "the model has no vocabulary (vocab.json is there, but not merges.txt)"), path
