"""The widget of a notebook, as its kernel sees it: messages are answered as the server answers, and no others."""

import base64
import json
import queue
import sys
import threading
from pathlib import Path

import pytest

import nextword
from nextword.files.json_text import json_text
from nextword.page.calls import Page
from nextword.page.desk import Desk
from nextword.page.errors import Refused
from nextword.page.fields import BODY
from nextword.page.turns import LANES
from page.live_examples import page_examples

PROMPT = "Once upon a time there was a little"
START = {"prompt": PROMPT, "compare": None, "lang": None}
NAMES = sorted(path.stem for path in Path(__file__).with_name("examples").glob("*.json"))


class Frame:
    """What a frame sends to a desk, and hears."""

    def __init__(self, desk, view="one"):
        self.desk, self.view, self.heard, self.count = desk, view, queue.Queue(), 0

    def send(self, method, path, body="", **more):
        self.count += 1
        message = {"view": self.view, "id": self.count, "method": method, "path": path, "body": body, **more}
        self.desk.hear(message, START, lambda reply, buffers: self.heard.put((reply, buffers)))
        return self.count

    def ask(self, *call):
        number = self.send(*call)
        reply, buffers = self.heard.get(timeout=60)
        assert (reply.pop("view"), reply.pop("id")) == (self.view, number)
        return reply, buffers

    def run(self, prompt=PROMPT):
        reply, _ = self.ask("POST", "/api/run", json.dumps({"prompt": prompt}))
        return json.loads(reply["json"])["run"]


@pytest.fixture
def frame(page):
    return Frame(Desk(page))


def plainly(answer):
    return json.loads(json_text(answer))


@pytest.fixture(scope="module")
def answers(lm):
    """The examples, as they are answered on this machine: sums of NumPy's differ from one to the next."""
    return page_examples(Page(lm))


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_the_server_s(frame, answers, name):
    """The examples hold one of each call; tests/page/test_server.py holds the server to them."""
    one = plainly(answers[name])
    frame.run()
    frame.run("Once upon a time there was a pretty")
    method, path = one["call"].split()
    query = "&".join(f"{name}={value}" for name, value in one.get("query", {}).items())
    reply, buffers = frame.ask(method, path + (query and f"?{query}"), json.dumps(one["body"]) if "body" in one else "")
    if "events" in one:
        heard = []
        while "done" not in reply:
            heard.append([reply["event"], json.loads(reply["data"])])
            reply, _ = frame.heard.get(timeout=60)
        assert heard == one["events"]
    elif "base64" in one:
        assert (json.loads(reply["header"]), buffers) == (one["header"], [base64.b64decode(one["base64"])])
    elif "status" in one:
        assert (reply["status"], {"error": reply["error"]}) == (one["status"], one["answer"])
    else:
        told = json.loads(reply["json"])
        assert {**told, "start": 0} == {**one["answer"], "start": 0}
        assert told.get("start", START) == START  # what this widget was made with


@pytest.mark.parametrize(("method", "path", "body", "code"), [
    ("GET", "/api/nothing", "", "not_found"), ("GET", "/page/main.js", "", "not_found"),
    ("DELETE", "/api/run", "{}", "not_found"), ("POST", "/api/model", "{}", "not_found"),
    ("POST", "/api/__class__", "{}", "not_found"), ("POST", "/api/run/../run", "{}", "not_found"),
    ("GET", "/api/run/0123456789abcdef/tensor", "", "gone"), ("POST", 7, "", "not_found"),
    ("POST", "/api/run", "{", "bad_argument"), ("POST", "/api/run", "[" * 40, "bad_argument"),
    ("POST", "/api/run", '{"prompt": 1e999}', "bad_argument"), ("POST", "/api/run", {"prompt": "a"}, "not_json"),
    ("POST", "/api/run", '"' + "a" * BODY + '"', "too_large"), ("POST", "/api/run", '{"prompt": ""}', "empty_prompt"),
    ("POST", "/api/run", '{"prompt": "a", "next": 101}', "bad_argument"), ("POST", "/api/run", "", "bad_argument"),
    ("GET", "/api/run/0123456789abcdef/tensor?name=" + "a" * 5000, "", "not_found"),
])
def test_what_is_no_call_of_the_table_is_refused(frame, method, path, body, code):
    reply, _ = frame.ask(method, path, body)
    assert reply["error"]["code"] == code
    assert reply["status"] == Refused(code, "").status


@pytest.mark.parametrize("message", [
    None, "run", [], {}, {"view": "one"}, {"view": 1, "id": 1}, {"view": "one", "id": True},
    {"view": "one", "id": "1"}, {"view": "x" * 41, "id": 1}, {"view": "one", "id": 1.5},
])
def test_what_is_no_message_of_a_frame_is_left_alone(frame, message):
    frame.desk.hear(message, START, lambda reply, buffers: frame.heard.put(reply))
    frame.run()  # the next is answered, and nothing else was
    assert frame.heard.empty()


def test_too_many_calls_are_told_to_come_again_and_none_is_lost(frame, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(frame.desk._page, "model", lambda: gate.wait(60) and {})
    frame.send("GET", "/api/model")
    for _ in range(LANES["run"] + 3):
        frame.send("POST", "/api/run", json.dumps({"prompt": "a"}))
    refused = [frame.heard.get(timeout=60)[0] for _ in range(2)]
    assert {reply["error"]["code"] for reply in refused} == {"busy"}
    assert frame.heard.empty()
    gate.set()
    assert ["json" in frame.heard.get(timeout=60)[0] for _ in range(LANES["run"] + 2)] == [True] * (LANES["run"] + 2)


@pytest.mark.parametrize("whole", [False, True])
def test_a_stream_ends_when_its_frame_says_so(frame, whole):
    body = {"prompt": PROMPT, "settings": {"temperature": 0.0, "max_new_tokens": 400}, "seed": 1}
    number = frame.send("POST", "/api/generate", json.dumps(body))
    assert frame.heard.get(timeout=60)[0]["event"] == "step"
    told = {"view": "one", "stop": True, **({} if whole else {"id": number})}
    frame.desk.hear({**told, "view": "other"}, START, None)  # another view's do not end it
    assert frame.heard.get(timeout=60)[0]["event"] == "step"
    frame.desk.hear(told, START, None)
    steps = 2
    while "event" in (reply := frame.heard.get(timeout=60)[0]):
        steps += 1
    assert reply["error"]["code"] == "cancelled"
    assert steps < 400


def test_frames_are_told_apart(page):
    desk = Desk(page)
    one, other = Frame(desk, "one"), Frame(desk, "other")
    numbers = [one.send("POST", "/api/run", '{"prompt": "a"}'), other.send("POST", "/api/run", '{"prompt": "b"}')]
    replies = [frame.heard.get(timeout=60)[0] for frame in (one, other)]
    assert numbers == [1, 1]
    assert [(reply["view"], json.loads(reply["json"])["prompt"]) for reply in replies] == [("one", "a"), ("other", "b")]


# Python


def test_without_anywidget_the_error_names_the_extra(lm, monkeypatch):
    from nextword.page import widget

    monkeypatch.setitem(sys.modules, "anywidget", None)
    widget.kind.cache_clear()
    try:
        said = r'widget: the notebook needs anywidget; pip install "nextword\[notebook\]"'
        with pytest.raises(ImportError, match=said):
            lm.inside("a").widget()
    finally:
        widget.kind.cache_clear()


@pytest.mark.parametrize("height", [199, 5001, True, 300.0, "300"])
def test_a_height_that_no_frame_has_is_an_error(lm, height):
    with pytest.raises(ValueError, match=r"widget: height must be 200 \.\. 5000 pixels, got"):
        lm.inside("a").widget(height)


def test_a_widget_has_tables_for_where_no_widget_can_be(lm):
    pytest.importorskip("anywidget", reason="anywidget is not installed (extra notebook)")
    found = lm.inside(PROMPT).widget()._repr_mimebundle_()[0]
    assert "application/vnd.jupyter.widget-view+json" in found
    assert "␣girl" in found["text/html"]
    assert "<script" not in found["text/html"]


def test_widgets_of_one_model_share_its_runs(lm):
    pytest.importorskip("anywidget", reason="anywidget is not installed (extra notebook)")
    one, other = lm.inside("a").widget(), lm.inside("b").widget()
    assert one._desk is other._desk is not nextword.load().inside("a").widget()._desk
