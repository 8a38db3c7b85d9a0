"""The page of a model of the Llama kind: each station and screen has its numbers, which lead to their sources."""

from __future__ import annotations

import json

import pytest

import nextword
from nextword.models.tap import shapes
from nextword.page.calls import Page
from nextword.page.graph import made
from nextword.page.table import RUN_CALLS
from page.browser import DATA, PROMPT, STATIONS, four, serving, set_view, settled
from page.story_llama import story_llama
from small_llama import OWN, small_llama

english = pytest.mark.parametrize("lang", ["en"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = DATA / "llama_stories260k"
    if not data.exists():
        pytest.skip("needs llama_stories260k of ../shared/data, which is not beside this checkout")
    return story_llama(data, tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def story(folder):
    return nextword.load(folder)


@pytest.fixture(scope="module")
def llama_address(folder):
    with serving("--model", str(folder)) as found:
        yield found


@pytest.fixture
def visit(open_page, llama_address, lang):
    def at(**view):
        page = open_page(llama_address, prompt=PROMPT, lang=lang, **view)
        settled(page)
        return page

    return at


@pytest.mark.parametrize("kind", OWN)
def test_the_steps_that_the_page_is_told_are_those_of_a_run(kind):
    model = small_llama(kind)
    steps, names = made(model), {name.replace("h.0.", "h.N.") for name in shapes(model) if not name.startswith("h.1.")}
    assert {step["name"] for step in steps} == names
    assert {source for step in steps for source in step["of"]} < names
    norms = {step["how"] for step in steps if "norm" in step["how"]}
    assert norms == {"rms_norm"}


def test_a_turned_number_is_made_of_the_pair_that_was_turned(story):
    page = Page(story)
    run = page.run({"prompt": PROMPT})["run"]
    cell = RUN_CALLS["cell"](page, run, {"name": "h.1.attn.q_rot", "index": [5, 3, 2]})
    assert cell["sources"] == [{"name": "h.1.attn.q", "index": [5, 3, at]} for at in (2, 6)]  # heads of 8 numbers


def test_a_prompt_is_the_text_without_what_the_tokenizer_sets_before_it(story):
    page = Page(story)
    run = page.run({"prompt": PROMPT})
    ids = [token["id"] for token in run["tokens"]]
    assert ids[: page.model()["beginning"]] == list(story.tokenizer.beginning) == [1]
    assert run["prompt"] == page.run({"ids": ids})["prompt"] == PROMPT


def test_every_station_and_screen_has_its_numbers(visit, t):
    page = visit(open=STATIONS, layer=1, head=3)
    strips = page.locator("#inside-embedding .heat, #inside-attention .heat.strip, #inside-mlp .heat")
    names = strips.evaluate_all("all => all.map(one => one.dataset.name)")
    assert names == ["embed", "h.1.ln_1", *(f"h.1.attn.{x}" for x in ("q", "k", "v", "q_rot", "k_rot", "z", "out")),
                     "h.1.resid_mid", "h.1.ln_2", *(f"h.1.mlp.{x}" for x in ("gate", "up", "act", "out")),
                     "h.1.resid_post"]  # fmt: skip
    assert t("attention.shared", first=2, last=3, own=1, keys=4) in page.inner_text("#inside-attention")
    for screen in ("interventions", "bench", "scale", "compare"):
        assert t("missing") not in page.inner_text("main")
        assert page.locator(".skeleton").count() == 0
        set_view(page, screen=screen)
        settled(page)
    assert page.faults == []


@english
def test_a_turned_number_leads_to_its_sources(visit, story):
    page = visit(open="attention", cell=json.dumps({"name": "h.1.attn.k_rot", "index": [1, 3, 6]}))
    inside = story.inside(PROMPT)
    for name, index in [("h.1.attn.k_rot", (1, 3, 6)), ("h.1.attn.k", (1, 3, 2)), ("h.1.ln_1", (3, 0))]:
        page.wait_for_selector(f".inspector .name:has-text('{name}[{', '.join(map(str, index))}]')")
        settled(page)
        assert page.inner_text(".inspector .big") == four(inside[name][index])
        assert page.locator(".inspector .formula math").count() >= 1
        other = int(name.endswith("rot"))  # of the pair
        page.locator(".inspector .source").nth(other).click()
    assert page.faults == []


@english
def test_a_head_is_switched_and_all_are_scanned(visit, story, t):
    page = visit(screen="interventions", off=json.dumps([{"name": "h.1.attn.z", "heads": [3], "how": "zero"}]))
    assert t("switches.kl", kl=four(story.ablate(PROMPT, heads=[(1, 3)]).kl)) in page.inner_text(".switches-card")
    page.click("#scan .primary")
    page.wait_for_selector("#scan .top")
    rows = [row.locator("td button").all_inner_texts() for row in page.locator("#scan tbody tr").all()]
    assert rows == [[format(float(x), ".3g") for x in row] for row in story.ablations(PROMPT).values]
    assert page.faults == []


@english
def test_heads_of_keys_are_patched_as_many_as_there_are(visit, t):
    page = visit(screen="interventions", prompt2="Once upon a time there was a big")
    page.click(f"#patch button:text-is('{t('patch.head')}')")
    page.select_option("#patch select", "attn.k")
    page.click("#patch .primary")
    page.wait_for_selector("#patch .top")
    assert page.locator("#patch tbody tr").first.locator("td button").count() == 4
    assert page.faults == []
