"""The page in a frame of a notebook and as a file, in a real browser: numbers, other prompts, hostile ones, refusals.

A page plays the notebook's part: it runs the widget's own module, and the Python widget answers by its own messages.
"""

import json
import queue
from urllib.parse import urlencode

import numpy as np
import pytest

from nextword.inside.rules import Zero
from page.browser import PROMPT

HOSTILE = "</script><img src=x onerror=\"parent.hurt = hurt = 1\">"
# What a notebook does for a widget: get, on, off, send, and messages from the kernel with their buffers.
HOST = """async ([module, widgets]) => {
  const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  const { render } = (await import(url)).default, hears = widgets.map(() => new Set());
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer;
  window.ends = widgets.map((one, n) => {
    const el = document.body.appendChild(document.createElement("div"));
    const model = { get: (name) => one[name], send: (content) => window.toKernel(n, content),
      on: (name, hear) => { if (name === "msg:custom") hears[n].add(hear); },
      off: (name, hear) => hears[n].delete(hear) };
    return render({ model, el });
  });
  (async () => {
    for (;;) {
      for (const [n, content, buffers] of await window.fromKernel())
        for (const hear of hears[n])
          hear(content, buffers.map((text) => new DataView(bytes(text))));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
}"""


@pytest.fixture
def tab(browser):
    size = {"width": 1280, "height": 900}
    page = browser.new_context(viewport=size, locale="en-US", reduced_motion="reduce").new_page()
    page.faults, page.asked = [], []
    page.on("console", lambda said: page.faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda one: page.asked.append(one.url) if one.url.startswith("http") else None)
    yield page
    page.context.close()


def notebook(tab, *widgets):
    """Show widgets as a notebook does; their frames."""
    import base64

    from nextword.page.widget import MODULE

    said = queue.Queue()

    def hearing(number):
        def publish(kind, data=None, metadata=None, buffers=None, **more):
            if kind == "comm_msg" and data["method"] == "custom":
                said.put([number, data["content"], [base64.b64encode(bytes(one)).decode() for one in buffers or []]])
        return publish

    def replies():
        return [said.get() for _ in range(said.qsize())]

    for number, widget in enumerate(widgets):
        widget.comm.publish_msg = hearing(number)
    tab.sent = []

    def sent(number, content):
        tab.sent.append(content)
        data = {"method": "custom", "content": content}
        widgets[number]._handle_msg({"content": {"data": data}, "buffers": []})

    tab.expose_function("toKernel", sent)
    tab.expose_function("fromKernel", replies)
    tab.set_content("<!doctype html><title>notebook</title><body></body>")
    tab.evaluate(HOST, [MODULE.read_text("utf-8"), [{"height": widget.height} for widget in widgets]])
    frames = [element.content_frame() for element in tab.query_selector_all("iframe")]
    for frame in frames:
        frame.wait_for_selector("section.station")
    return frames


@pytest.fixture
def widget_of(lm):
    pytest.importorskip("anywidget", reason="anywidget is not installed (extra notebook)")
    return lambda prompt, lang="en", rules=(): lm.inside(prompt, rules).widget(height=600, lang=lang)


def best(where):
    """The first of the next words that a page shows, and its probability as it is written."""
    first = where.wait_for_selector("#inside-next .bars li")
    return first.query_selector(".token").text_content(), first.query_selector(".number").text_content()


def expected(lm, prompt, rules=()):
    logits = lm.inside(prompt, rules).logits[-1].astype(np.float64)
    powers = np.exp(logits - logits.max())
    token = int(powers.argmax())
    return lm.tokenizer.decode([token]).replace(" ", "·"), format(float((powers / powers.sum())[token]), ".4g")


def test_two_widgets_show_the_library_s_numbers_side_by_side(tab, lm, widget_of):
    one, other = notebook(tab, widget_of(PROMPT), widget_of("Es war einmal", "de"))
    for frame in (one, other):
        frame.click("#station-next h2 button")
    assert [best(frame) for frame in (one, other)] == [expected(lm, PROMPT), expected(lm, "Es war einmal")]
    assert [frame.evaluate("document.documentElement.lang") for frame in (one, other)] == ["en", "de"]
    assert (tab.faults, tab.asked) == ([], [])


def test_a_frame_is_open_to_everyone(tab, widget_of):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    (frame,) = notebook(tab, widget_of(PROMPT))
    frame.click("#station-attention h2 button")
    frame.wait_for_selector("#inside-attention table")
    found = axe.Axe().run(tab, context="iframe")
    assert found.violations_count == 0, found.generate_report()


def test_other_prompts_and_interventions_are_computed_by_the_kernel(tab, lm, widget_of):
    (frame,) = notebook(tab, widget_of(PROMPT))
    frame.click("#station-next h2 button")
    frame.fill("#prompt", "The king said that")
    frame.wait_for_selector(".count:has-text('4 of 512')")
    assert best(frame) == expected(lm, "The king said that")
    frame.click("#station-attention h2 button")
    frame.click("button.switch >> nth=0")  # layer 0, head 0
    after = frame.wait_for_selector(".before-after > div:nth-child(2) .number").inner_text()
    assert after == expected(lm, "The king said that", [Zero("h.0.attn.z", heads=[0])])[1]
    frame.click(".row-table button.value >> nth=0")  # bytes and cells, too
    frame.wait_for_selector(".inspector .big")
    assert tab.faults == []


def test_a_widget_begins_with_the_interventions_of_its_inside(tab, lm, widget_of):
    rules = [Zero("h.3.attn.z", heads=[2])]
    (frame,) = notebook(tab, widget_of(PROMPT, rules=rules))
    frame.click("#station-next h2 button")
    frame.wait_for_selector(".switches li")
    assert best(frame) == expected(lm, PROMPT, rules)


def test_the_frame_has_no_rights_and_the_hostile_prompt_does_nothing(tab, widget_of):
    (frame,) = notebook(tab, widget_of(HOSTILE))
    assert tab.get_attribute("iframe", "sandbox") == "allow-scripts"
    assert frame.evaluate("origin") == "null"
    assert frame.input_value("#prompt") == HOSTILE
    for where in (frame, tab):
        assert where.evaluate("window.hurt") is None
        assert where.locator("img").count() == 0
    assert frame.evaluate("(() => { try { return parent.document.title; } catch (error) { return error.name; } })()"
                          ) == "SecurityError"
    assert tab.faults == []


def test_messages_that_are_not_the_frame_s_reach_no_kernel_and_end_with_the_view(tab, widget_of):
    (frame,) = notebook(tab, widget_of(PROMPT))
    tab.evaluate("postMessage({ nextword: 1, id: 99, method: 'GET', path: '/api/model', body: '' }, '*')")
    frame.evaluate("parent.postMessage({ id: 98, method: 'GET', path: '/api/model' }, '*')")
    frame.evaluate("parent.postMessage({ nextword: 1, id: 97, method: 'GET', path: '/api/model', more: 1 }, '*')")
    frame.fill("#prompt", "a")
    frame.wait_for_selector(".count:has-text('1 of 512')")
    numbers = [content.get("id") for content in tab.sent]
    assert 97 in numbers
    assert not {98, 99} & set(numbers)
    known = {"view", "page", "theme", "id", "method", "path", "body", "stop"}
    assert all(set(content) <= known for content in tab.sent)
    tab.evaluate("window.ends[0]()")
    assert tab.sent[-1] == {"view": tab.sent[0]["view"], "stop": True}
    count = len(tab.sent)
    frame.evaluate("parent.postMessage({ nextword: 1, id: 96, method: 'GET', path: '/api/model', body: '' }, '*')")
    tab.evaluate("1")
    assert len(tab.sent) == count


EVENTS = """async ([path, body, most]) => {
  const { events } = await import("page/source.js"), found = [];
  for await (const { event, data } of events(path, body)) {
    found.push([event, data]);
    if (found.length === most) break;
  }
  return found;
}"""


def test_events_arrive_one_by_one_and_end_where_nobody_reads_on(tab, lm, widget_of):
    (frame,) = notebook(tab, widget_of(PROMPT))
    run = frame.evaluate("import('page/run.js').then(({ run }) => run.value.run)")
    found = frame.evaluate(EVENTS, [f"/api/run/{run}/scan", {"over": "heads", "target": " girl"}, 1000])
    assert found[-1][0] == "end"
    grid = lm.ablations(PROMPT, " girl").values
    assert [data["values"] for event, data in found if event == "row"] == grid.tolist()
    body = {"prompt": PROMPT, "settings": {"temperature": 0, "max_new_tokens": 400}, "seed": 1}
    assert [event for event, _ in frame.evaluate(EVENTS, ["/api/generate", body, 2])] == ["step", "step"]
    tab.wait_for_timeout(50)
    assert any(content.get("stop") and "id" in content for content in tab.sent)


def test_a_run_that_was_forgotten_comes_back(tab, lm, widget_of):
    (frame,) = notebook(tab, widget := widget_of(PROMPT))
    run = frame.evaluate("import('page/run.js').then(({ run }) => run.value.run)")
    widget._desk._page.runs._runs.clear()
    call = "path => import('page/source.js').then(({ call }) => call('POST', path, { layer: 3, position: -1, top: 2 }))"
    found = frame.evaluate(call, f"/api/run/{run}/neurons")
    assert [one["neuron"] for one in found["neurons"]] == [one.neuron for one in lm.inside(PROMPT).neurons(3, top=2)]
    widget._desk._page.runs._runs.clear()
    assert frame.evaluate(EVENTS, [f"/api/run/{run}/scan", {"over": "layers"}, 1000])[-1][0] == "end"


# The file


@pytest.fixture
def file(tab, tmp_path):
    def opened(inside, **view):
        path = tmp_path / "page.html"
        inside.html(path, lang="en")
        tab.goto(f"{path.as_uri()}#{urlencode(view)}" if view else path.as_uri())
        tab.wait_for_selector("section.station")
        return tab
    return opened


def test_a_file_shows_the_numbers_of_the_library_without_a_request(file, lm):
    page = file(lm.inside(PROMPT))
    page.click("#station-next h2 button")
    assert best(page) == expected(lm, PROMPT)
    assert page.input_value("#prompt") == PROMPT
    for station in ("embedding", "attention", "mlp", "stream", "chance"):
        page.click(f"#station-{station} h2 button")
    page.wait_for_selector(".parts-table")
    page.wait_for_selector(".skeleton", state="detached")
    assert (page.faults, page.asked) == ([], [])


def test_numbers_on_the_way_of_a_logit_can_be_followed_in_a_file(file, lm):
    x = lm.inside(PROMPT)
    best_token = int(x.logits[-1].argmax())
    name, index, steps = "logits", (len(x.ids) - 1, best_token), 0
    page = file(x)
    while steps < 8:
        page.evaluate("cell => { const now = new URLSearchParams(location.hash.slice(1));"
                      " now.set('cell', cell); location.hash = now; }",
                      json.dumps({"name": name, "index": list(index)}))
        page.wait_for_selector(f".inspector .name code:text-is('{name}[{', '.join(map(str, index))}]')")
        shown = page.wait_for_selector(".inspector .big").inner_text()
        value = lm.model.tensors()[name][index] if name in lm.model.tensors() else x[name][index]
        assert shown == format(float(value), ".4g")
        cell = x.cell(name, index)
        first = [source for source in cell.sources if source.name == cell.sources[0].name]
        if len(first) > len(cell.terms):
            source = next(source for source in first if source.index == index)
        else:
            source = cell.sources[cell.largest(1)[0][0]]
        name, index, steps = source.name, source.index, steps + 1


def test_a_part_is_switched_off_in_a_file(file, lm):
    page = file(lm.inside(PROMPT), layer=3, head=2, open="attention,next")
    page.click("button:has-text('Switch head 2 of layer 3 off')")
    rules = [Zero("h.3.attn.z", heads=[2])]
    after = page.wait_for_selector(".before-after > div:nth-child(2) .number").inner_text()
    assert after == expected(lm, PROMPT, rules)[1]


def test_a_file_of_interventions_shows_the_changed_run(file, lm):
    rules = [Zero("h.2.mlp.act", columns=[7], positions=[-1]), Zero("h.3.attn.z", heads=[2])]
    page = file(lm.inside(PROMPT, rules), open="next,mlp")
    page.wait_for_selector(".switches li")
    assert best(page) == expected(lm, PROMPT, rules)
    assert page.faults == []


def test_ids_that_no_text_gives_are_shown_in_a_file(file, lm):
    encode = lm.tokenizer.encode
    ids = [*encode("Once upon a time"), *encode(" th"), *encode("e")]
    assert encode(lm.tokenizer.decode(ids)) != ids
    page = file(lm.inside(ids), open="next")
    assert best(page) == expected(lm, ids)


def test_a_file_says_what_needs_the_command(file, lm):
    page = file(lm.inside(PROMPT), open="next")
    page.fill("#prompt", "Another prompt")
    assert "nextword explain" in page.wait_for_selector(".banner").inner_text()
    assert best(page) == expected(lm, PROMPT)  # what is seen stays


def test_a_hostile_prompt_stays_text_in_a_file(file, lm):
    page = file(lm.inside(HOSTILE))
    assert page.input_value("#prompt") == HOSTILE
    assert page.evaluate("window.hurt") is None
    assert page.locator("img").count() == 0
    assert page.faults == []


def test_without_javascript_a_file_can_be_read(browser, lm, tmp_path):
    lm.inside(PROMPT).html(tmp_path / "page.html")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        assert page.locator("table").count() == 3
        word, p = expected(lm, PROMPT)
        cells = page.locator("table >> nth=2 >> tr >> nth=1 >> td").all_inner_texts()
        assert cells[::2] == [word.replace("·", "␣"), p]
