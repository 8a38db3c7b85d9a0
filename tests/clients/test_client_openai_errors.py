"""openai's client where the server refuses: classes of errors, what they hold, and when it asks again."""

import itertools
import threading
import time

import pytest
from spawned import needs, spawned

needs("openai")

PROMPT = "Once upon a time"


def client_of(address, **options):
    import openai

    return openai.OpenAI(base_url=f"{address}/v1", **{"api_key": "none", "max_retries": 0, **options})


ERRORS = [
    ("BadRequestError", 400, {"temperature": 3}, "temperature", "invalid_value", "invalid_request_error"),
    ("BadRequestError", 400, {"max_tokens": -1}, "max_tokens", "invalid_value", "invalid_request_error"),
    ("BadRequestError", 400, {"logit_bias": {"999999": 1}}, "logit_bias", "invalid_value", "invalid_request_error"),
    ("BadRequestError", 400, {"prompt": [999999]}, "prompt", "invalid_token_id", "invalid_request_error"),
    ("BadRequestError", 400, {"prompt": [5] * 512, "max_tokens": 2}, "prompt", "context_length_exceeded",
     "invalid_request_error"),
    ("BadRequestError", 400, {"extra_body": {"tempratur": 1}}, "tempratur", "unknown_parameter",
     "invalid_request_error"),
    ("NotFoundError", 404, {"model": "other"}, "model", "model_not_found", "not_found_error"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status", "fields", "param", "code", "type_"), ERRORS, ids=lambda x: str(x)[:30])
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_has_its_class_status_param_code_and_type(address, kind, status, fields, param, code, type_, stream):
    import openai

    with client_of(address) as client, pytest.raises(getattr(openai, kind)) as caught:
        client.completions.create(**{"model": "demo", "prompt": PROMPT, "stream": stream, **fields})
    found = caught.value
    assert (found.status_code, found.param, found.code, found.type) == (status, param, code, type_)
    assert found.body["message"]
    assert found.request_id


def test_a_model_or_a_path_that_is_not_there(address):
    import openai

    with client_of(address) as client:
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("other")
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError) as caught:
            client.images.generate(prompt="a king")
        assert caught.value.code == "not_found"


def test_keys(tmp_path):
    import openai

    keys = tmp_path / "keys"
    keys.write_text("right\n")
    with spawned(tmp_path, "--api-key-file", str(keys)) as address:
        with client_of(address, api_key="right") as client:
            assert client.completions.create(model="demo", prompt=PROMPT, max_tokens=1).choices
        with client_of(address, api_key="wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
            client.models.list()
        assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
        assert caught.value.type == "authentication_error"


def test_a_full_queue_is_429_and_the_client_asks_again_after_the_time_that_it_is_told(tmp_path):
    import openai

    seen = []

    def hear(response):
        seen.append((time.monotonic(), response.status_code, response.headers.get("retry-after")))

    long = {"model": "demo", "prompt": PROMPT, "max_tokens": 500, "temperature": 1, "extra_body": {"ignore_eos": True}}
    with (spawned(tmp_path, "--slots", "1", "--max-queue", "1") as address, client_of(address) as plain,
          client_of(address, max_retries=20) as patient):
        running = plain.completions.create(**long, stream=True)
        next(iter(running))  # it has the slot
        waiting = threading.Thread(target=lambda: plain.completions.create(**long))
        waiting.start()
        until = time.monotonic() + 60
        while 'waiting{model="demo"} 1' not in plain._client.get(f"{address}/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(openai.RateLimitError) as caught:
            plain.completions.create(model="demo", prompt=PROMPT, max_tokens=1)
        assert (caught.value.code, caught.value.type) == ("queue_full", "rate_limit_error")
        patient._client.event_hooks = {"response": [hear]}
        assert patient.completions.create(model="demo", prompt=PROMPT, max_tokens=1).choices
        waiting.join(60)
        running.close()
    assert [status for _, status, _ in seen] == [429] * (len(seen) - 1) + [200]
    assert len(seen) > 1
    for (before, _, told), (after, _, _) in itertools.pairwise(seen):
        assert after - before >= int(told)
