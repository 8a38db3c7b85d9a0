"""What goes wrong is said in place, in both languages, and the page goes on: nothing that was seen is lost."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import numpy as np
import pytest

import nextword
from model_files import write_model
from page.browser import PROMPT, STATIONS, four, serving, settled, shown, texts

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
OTHER = "The king"
BANNER = "alert"


def best(lm, prompt):
    """The most probable next word, as the page writes it, and its probability."""
    logits = lm.inside(prompt).logits[-1:]
    word = int(logits.argmax())
    return shown(lm.tokenizer.decode([word])), four(nextword.ops.softmax(np.ascontiguousarray(logits))[0][word])


def sees(page, lm, prompt):
    """Expect the page to show the next word of a prompt."""
    word, p = best(lm, prompt)
    expect(page.locator("#main mark")).to_have_text(word)
    expect(page.locator("p.headline")).to_contain_text(p)


def typed(page, t, text):
    page.get_by_label(t("prompt.label")).fill(text)


@contextlib.contextmanager
def running(lm, key, port=0):
    """A server of the page in this process; key: as if the start had drawn it."""
    for library in ("starlette", "uvicorn"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra serve)")
    from nextword.page import server
    from nextword.page.calls import Page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.secrets, "token_urlsafe", lambda size: key)
        one, ready = server.Server(Page(lm), port), threading.Event()
    thread = threading.Thread(target=lambda: one.run(ready.set))
    thread.start()
    try:
        assert ready.wait(30)
        yield one
    finally:
        one.stop()
        thread.join(30)


def test_an_empty_prompt_keeps_the_last_result(page_of, lm, t):
    page = page_of(prompt=PROMPT)
    sees(page, lm, PROMPT)
    typed(page, t, "")
    expect(page.locator(".count")).to_contain_text(t("prompt.empty"))
    sees(page, lm, PROMPT)
    expect(page.get_by_role(BANNER)).to_have_count(0)


def test_a_prompt_that_is_too_long_is_told_and_can_be_cut(page_of, lm, t):
    page, window = page_of(prompt=PROMPT), lm.model.window
    long = lm.tokenizer.decode(lm.tokenizer.encode(" the" * 618))
    assert len(lm.tokenizer.encode(long)) == 618
    typed(page, t, long)
    expect(page.get_by_role(BANNER)).to_contain_text(t("error.too_long", tokens=618, window=window))
    sees(page, lm, PROMPT)
    page.get_by_role("button", name=t("error.last", window=window)).click()
    expect(page.get_by_role(BANNER)).to_have_count(0)
    cut = lm.tokenizer.decode(lm.tokenizer.encode(long)[-window:])
    expect(page.get_by_label(t("prompt.label"))).to_have_value(cut)
    expect(page.locator(".count")).to_contain_text(
        t("prompt.count", tokens=window, window=window, signs=len(cut)))
    sees(page, lm, cut)


def test_a_server_that_stops_is_waited_for(open_page, lm, lang, t):
    with running(lm, "one key") as server:
        page = open_page(server.address, prompt=PROMPT, lang=lang, open="tokens,attention")
        page.set_default_timeout(20000)
        expect(page.locator("#inside-attention .row-table, #inside-attention table").first).to_be_visible()
        port = server.port
    typed(page, t, OTHER)
    expect(page.get_by_role(BANNER)).to_have_text(t("error.server_gone"))
    sees(page, lm, PROMPT)  # stays to be read
    expect(page.locator("#inside-tokens .chip")).to_have_count(len(lm.tokenizer.encode(PROMPT)))
    with running(lm, "one key", port):
        expect(page.get_by_role(BANNER)).to_have_count(0, timeout=20000)
        sees(page, lm, OTHER)


def test_a_station_that_lost_the_server_is_filled_when_it_is_back(open_page, lm, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open="")
    sees(page, lm, PROMPT)
    page.context.set_offline(True)
    page.get_by_role("button", name=t("walk.stream.title"), exact=True).click()
    expect(page.get_by_role(BANNER)).to_have_text(t("error.server_gone"))
    page.context.set_offline(False)
    expect(page.locator(".parts-table tfoot")).to_be_visible(timeout=20000)
    expect(page.get_by_role(BANNER)).to_have_count(0)


def test_a_busy_model_is_asked_again(open_page, lm, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open="")
    sees(page, lm, PROMPT)
    asked, others = [], ["at work"]

    def full(route):
        asked.append(route.request.url)
        if not others:
            route.continue_()
            return
        error = {"code": "busy", "message": "4 requests wait already; try again", "waiting": 4}
        route.fulfill(status=429, content_type="application/json", body=json.dumps({"error": error}))

    page.route("**/api/run", full)
    typed(page, t, OTHER)
    expect(page.get_by_role(BANNER)).to_have_text(t("error.busy", waiting=4))
    sees(page, lm, PROMPT)
    others.clear()
    sees(page, lm, OTHER)
    expect(page.get_by_role(BANNER)).to_have_count(0)
    assert len(asked) >= 2


def test_an_answer_that_is_no_longer_wanted_is_dropped(open_page, lm, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open="")
    held = []
    page.route("**/api/run", lambda route: held.append(route) if OTHER in (route.request.post_data or "")
               else route.continue_())
    typed(page, t, OTHER)
    expect(page.locator(".busy")).to_be_visible()
    typed(page, t, "The queen")
    sees(page, lm, "The queen")
    for route in held:
        route.continue_()
    settled(page)
    sees(page, lm, "The queen")
    expect(page.get_by_role(BANNER)).to_have_count(0)


def let_go(page, pattern, held):
    """Wait until a request has been held, and let it go on."""
    until = time.monotonic() + 30
    while not held:
        assert time.monotonic() < until, f"nothing was asked of {pattern}"
        page.wait_for_timeout(10)
    for route in held:
        route.continue_()


def test_numbers_of_what_was_asked_before_are_not_shown_for_what_is_asked_now(open_page, t, lang):
    page = open_page(prompt=PROMPT, lang=lang, open="stream")
    parts = page.locator(".parts-table")
    expect(parts.locator("tfoot")).to_be_visible()
    before, held = parts.inner_text(), []
    page.route("**/attribute", lambda route: held.append(route))
    page.get_by_label(t("stream.watch")).select_option(index=1)
    expect(parts.locator("tfoot")).to_be_hidden()
    let_go(page, "**/attribute", held)
    expect(parts.locator("tfoot")).to_be_visible()
    assert parts.inner_text() != before


def test_the_page_keeps_its_language_until_the_texts_of_the_other_are_there(open_page):
    page = open_page(prompt=PROMPT, lang="de", open="stream")
    settled(page)
    held, german = [], texts("de")
    page.route("**/text/en/*.json", lambda route: held.append(route))
    page.get_by_role("button", name="EN", exact=True).click()
    expect(page.get_by_role("button", name="EN", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name=german("walk.stream.title"), exact=True)).to_be_visible()
    assert "walk.stream" not in page.inner_text("body")
    assert page.evaluate("document.documentElement.lang") == "de"
    let_go(page, "**/text/en/*.json", held)
    expect(page.get_by_role("button", name=texts("en")("walk.stream.title"), exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_scan_can_be_cancelled(open_page, lm, lang, t):
    page = open_page(prompt=PROMPT * 12, lang=lang, screen="interventions")
    card = page.get_by_role("region", name=t("scan.title"))
    card.get_by_role("button", name=t("scan.neurons"), exact=True).click()
    card.get_by_role("button", name=t("scan.start"), exact=True).click()
    card.get_by_role("button", name=t("grid.stop"), exact=True).click()
    expect(card.locator(".progress output")).to_contain_text(t("grid.stopped"))
    expect(card.get_by_role(BANNER)).to_have_count(0)
    typed(page, t, OTHER)  # the model is free again
    expect(page.locator(".count")).to_contain_text(
        t("prompt.count", tokens=len(lm.tokenizer.encode(OTHER)), window=lm.model.window, signs=len(OTHER)))


def test_a_run_that_was_forgotten_is_computed_again_without_a_word(open_page, lm, lang, t):
    page = open_page(prompt=PROMPT, lang=lang, open="")
    sees(page, lm, PROMPT)
    statuses = []
    page.on("response", lambda answer: statuses.append(answer.status))
    forget(page)
    page.get_by_role("button", name=t("walk.stream.title"), exact=True).click()
    expect(page.locator(".parts-table tfoot")).to_be_visible()
    forget(page)
    page.get_by_role("button", name=t("walk.next.title"), exact=True).click()
    page.get_by_role("button", name=t("play.step"), exact=True).click()
    expect(page.locator(".grown")).to_have_count(1)
    expect(page.get_by_role(BANNER)).to_have_count(0)
    expect(page.get_by_text(t("missing"))).to_have_count(0)
    assert statuses.count(410) >= 2


def forget(page):
    """Let the server run so many other prompts that it forgets those of the page, which asks for nothing meanwhile."""
    settled(page)
    page.evaluate("""async () => { const { given } = await import("page/state.js");
        for (let i = 0; i < 9; i++) {
            const answer = await fetch("/api/run", { method: "POST", body: JSON.stringify({ ids: [400 + i] }),
                headers: { "Content-Type": "application/json", "X-Nextword-Key": given("key") } });
            await answer.text();
        } }""")


def test_numbers_that_are_not_finite_are_traced_to_the_first(open_page, tmp_path, lang, t):
    config = {"model_type": "gpt2", "vocab_size": 4096, "n_positions": 64, "n_embd": 8, "n_layer": 2, "n_head": 2}
    rng, tensors = np.random.default_rng(0), {}
    shapes = {"ln_1.weight": (8,), "ln_1.bias": (8,), "attn.c_attn.weight": (8, 24), "attn.c_attn.bias": (24,),
              "attn.c_proj.weight": (8, 8), "attn.c_proj.bias": (8,), "ln_2.weight": (8,), "ln_2.bias": (8,),
              "mlp.c_fc.weight": (8, 32), "mlp.c_fc.bias": (32,), "mlp.c_proj.weight": (32, 8), "mlp.c_proj.bias": (8,)}
    for name, shape in {"wte.weight": (4096, 8), "wpe.weight": (64, 8), "ln_f.weight": (8,), "ln_f.bias": (8,),
                        **{f"h.{n}.{name}": shape for n in (0, 1) for name, shape in shapes.items()}}.items():
        tensors[name] = rng.standard_normal(shape).astype(np.float32)
    tensors["h.1.mlp.c_fc.weight"][:, ::2], tensors["h.1.mlp.c_fc.weight"][:, 1::2] = 3e38, -3e38  # sums overflow
    folder = write_model(tmp_path / "model", config, tensors)
    for name in ("vocab.json", "merges.txt"):
        folder.joinpath(name).write_bytes((nextword.files.bundled.BUNDLED["nextword:demo"] / name).read_bytes())
    with serving("--model", str(folder)) as address:
        page = open_page(address, prompt=PROMPT, lang=lang, ready="header")
        expect(page.get_by_role(BANNER)).to_have_text(t("error.not_finite", name="h.1.mlp.fc"))
        expect(page.get_by_label(t("prompt.label"))).to_be_editable()
        expect(page.locator("[aria-busy=true]")).to_have_count(0)


def test_an_intervention_that_changes_nothing_says_so(page_of, t):
    rule = {"name": "h.1.attn.z", "heads": [1], "how": "scale", "factor": 1}
    page = page_of(prompt=PROMPT, open="", off=json.dumps([rule]))
    expect(page.get_by_role("region", name=t("switches.title"))).to_contain_text(t("switches.nothing"))


@pytest.mark.parametrize("prompt", ["</script><img src=x onerror=window.hurt=1>", "<b>x</b>\u2028{window}"])
def test_a_hostile_prompt_stays_text(open_page, lang, t, prompt):
    page = open_page(prompt=prompt, prompt2=prompt, open=STATIONS, lang=lang)
    settled(page)
    assert page.input_value("#prompt") == prompt
    nav = page.get_by_role("navigation", name=t("nav.label")).get_by_role("button")
    for at in range(nav.count()):
        nav.nth(at).click()
        settled(page)
        assert page.evaluate("window.hurt") is None
        assert page.locator("#app img, #app b:text-is('x')").count() == 0
    assert [fault for fault in page.faults if "40" not in fault] == []  # what is refused, the browser logs


def test_eight_tabs_have_the_bits_of_one(browser, address, lm):
    prompts = [f"{PROMPT} {word}" for word in ["girl", "boy", "old", "king", "house", "bird", "tree", "man"]]
    context = browser.new_context()
    pages = [context.new_page() for _ in prompts]
    for page, prompt in zip(pages, prompts, strict=True):  # none is waited for
        page.goto(f"{address}&prompt={prompt.replace(' ', '+')}&open=stream&lang=en", wait_until="commit")
    for page, prompt in zip(pages, prompts, strict=True):
        sees(page, lm, prompt)
        expect(page.locator(".parts-table tfoot")).to_be_visible()
    started = [page.evaluate_handle("""async () => { const { bytes } = await import("page/source.js");
        const { run } = await import("page/run.js"), at = run.value.tokens.length - 1;
        const { buffer } = await bytes(`/api/run/${run.value.run}/tensor?name=logits&rows=${at}:${at + 1}&as=f32`);
        return [...new Uint32Array(buffer)]; }""") for page in pages]
    for handle, prompt in zip(started, prompts, strict=True):
        assert handle.json_value() == lm.inside(prompt).logits[-1].view(np.uint32).tolist()
    context.close()
