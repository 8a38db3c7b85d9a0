"""curl: a whole answer, server-sent events as they come, errors, and the paths beside OpenAI's."""

import json
import subprocess

import pytest
from spawned import command, environment

BODY = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def curl(address):
    def run(path, body=None, *options):
        data = [] if body is None else ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        found = subprocess.run([command("curl"), "-sS", "-N", "-i", *options, *data, address + path], env=environment(),
                               capture_output=True, check=True, timeout=60)
        head, _, content = found.stdout.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head.lower(), content

    return run


def test_a_whole_answer_and_its_events(curl, lm):
    right = lm.generate(BODY["prompt"], max_new_tokens=8).text
    status, head, content = curl("/v1/completions", BODY)
    assert status == 200
    assert "content-type: application/json" in head
    assert json.loads(content)["choices"][0]["text"] == right
    status, head, content = curl("/v1/completions", {**BODY, "stream": True})
    assert status == 200
    assert "content-type: text/event-stream" in head
    assert content.endswith("\n\n")
    events = content.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    assert events[-1] == "data: [DONE]"
    texts = [json.loads(event.removeprefix("data: "))["choices"][0]["text"] for event in events[:-1]]
    assert "".join(texts) == right


def test_events_come_as_the_text_grows(address):
    body = json.dumps({**BODY, "stream": True, "max_tokens": 400, "ignore_eos": True})
    with subprocess.Popen([command("curl"), "-sS", "-N", "-H", "Content-Type: application/json", "-d", body,
                           address + "/v1/completions"], env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"data: {")
        assert process.poll() is None  # the text is not whole yet
        rest = process.stdout.read()
    assert rest.endswith(b"data: [DONE]\n\n")


def test_what_is_wrong_is_refused(curl):
    for body, options, status in ((None, ("-X", "DELETE"), 405), (None, ("-X", "TRACE"), 405),
                                  (BODY, ("-H", "Content-Type: text/plain"), 415),
                                  (BODY, ("-H", "Host: other.example"), 421),
                                  (BODY, ("-H", "Origin: http://other.example"), 403)):
        found, head, content = curl("/v1/completions", body, *options)
        assert found == status
        assert json.loads(content)["error"]["message"]
        assert ("allow: post" in head) == (status == 405)


def test_health_and_metrics(curl):
    assert json.loads(curl("/health")[2]) == {"status": "ok"}
    status, head, content = curl("/metrics")
    assert status == 200
    assert "content-type: text/plain" in head
    assert "# TYPE" in content
