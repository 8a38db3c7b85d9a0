"""Screen B in a real browser: switches, scans and patches show the library's numbers, and keys are enough."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nextword
from nextword.inside.rules import Scale, Value, Zero
from page.browser import PROMPT, opened, settled

SECOND = "Once upon a time there were two little"


@pytest.fixture(scope="module")
def lm():
    return nextword.load()


def shown(page, selector):
    """The numbers of a grid, as they are written."""
    rows = page.locator(f"{selector} tbody tr").all()
    return [row.locator("td button").all_inner_texts() for row in rows]


def written(values):
    return [[format(float(value), ".3g") for value in row] for row in values]


def best(lm, rules):
    """The most probable next token under rules, and its probability as the page writes it."""
    logits = lm.inside(PROMPT, interventions=rules).logits[-1].astype(np.float64)
    powers = np.exp(logits - logits.max())
    return int(powers.argmax()), format(float(np.float32(powers.max() / powers.sum())), ".4g")


def after(page):
    page.wait_for_selector(".before-after")
    return page.locator(".before-after > div >> nth=1 >> .number").first.inner_text()


@pytest.mark.parametrize(("button", "measure"), [("logit", "logit"), ("log-probability", "logprob"),
                                                 ("KL divergence", "kl")])
def test_a_scan_of_heads_shows_what_the_library_finds(browser, address, lm, button, measure):
    page = opened(browser, address, ready="#scan", prompt=PROMPT, lang="en", screen="interventions")
    page.click(f"#scan button:text-is('{button}')")
    page.click("#scan .primary")
    page.wait_for_selector("#scan .top")
    assert shown(page, "#scan") == written(lm.ablations(PROMPT, measure=measure).values)
    assert page.locator("#scan progress").get_attribute("value") == "16"
    assert page.faults == []


def test_the_parts_of_layers_are_scanned_for_a_chosen_word_and_by_their_mean(browser, address, lm):
    page = opened(browser, address, ready="#scan", prompt=PROMPT, lang="de", screen="interventions")
    page.click("#scan button:text-is('Attention und MLP')")
    page.click("#scan button:text-is('Mittel über die Eingabe')")
    page.fill("#scan input[type=text]", "boy")
    page.press("#scan input[type=text]", "Tab")
    page.click("#scan .primary")
    page.wait_for_selector("#scan .top")
    found = lm.ablations(PROMPT, " boy", over="layers", how="mean")
    assert shown(page, "#scan") == written(found.values)
    row, column, value = found.top_entries(1)[0]
    first = page.locator("#scan .top button").first.inner_text()
    part = {"attention": "Attention", "mlp": "MLP"}[column]
    assert first.split() == ["Schicht", f"{row},", part, f"{value:+.4g}"]


def test_neurons_of_a_layer_are_scanned_and_the_scan_can_be_cancelled(browser, address, lm):
    page = opened(browser, address, ready="#scan", prompt=PROMPT, lang="en", screen="interventions", layer=3)
    page.click("#scan button:text-is('neurons')")
    page.click("#scan .primary")
    page.wait_for_selector("#scan .top")
    row, column, value = lm.ablations(PROMPT, over="neurons", layers=[3]).top_entries(1)[0]
    assert page.locator("#scan .top button").first.inner_text() == f"Layer {row}, neuron {column} {value:+.4g}"
    long = opened(browser, address, ready="#scan", prompt=PROMPT * 12, lang="en", screen="interventions")
    long.click("#scan button:text-is('neurons')")
    long.click("#scan .primary")
    long.click("#scan button:text-is('Cancel')")
    long.wait_for_selector("#scan output:has-text('cancelled')")
    progress = long.locator("#scan progress")
    assert float(progress.get_attribute("value")) < float(progress.get_attribute("max"))
    long.click("#scan button:text-is('heads')")  # the server is free again
    long.click("#scan .primary")
    long.wait_for_selector("#scan .top")


def test_a_cell_of_the_scan_sets_its_switch_with_keys_alone(browser, address, lm):
    page = opened(browser, address, ready="#scan", prompt=PROMPT, lang="en", screen="interventions")
    page.focus("#scan .primary")
    page.keyboard.press("Enter")
    page.wait_for_selector("#scan .top")
    page.focus("#scan .cells button >> nth=0")
    for key in ["ArrowDown"] * 3 + ["ArrowRight"] * 2 + ["Enter"]:
        page.keyboard.press(key)
    assert after(page) == best(lm, [Zero("h.3.attn.z", heads=[2])])[1]
    cell = page.locator("#scan .cells button[aria-pressed=true]")
    assert cell.get_attribute("aria-label").startswith("Layer 3, head 2: +0.79")
    page.keyboard.press("Enter")
    page.wait_for_selector(".rules", state="detached")


def test_what_becomes_of_the_watched_word_is_the_library_s_number(browser, address, lm):
    rule = {"name": "h.3.attn.out", "how": "zero"}
    page = opened(browser, address, ready=".watched", prompt=PROMPT, lang="en", screen="interventions",
                  off=json.dumps([rule]), watch=" boy")
    change = lm.ablate(PROMPT, attentions=[3])
    boy = lm.tokenizer.encode(" boy")[0]
    logprob = np.log(change.after[boy]) - np.log(change.before[boy])
    page.wait_for_selector(".watched output:has-text('boy')")
    assert page.inner_text(".watched output") == (f"·boy: logit {change.logit(' boy'):+.4g}, "
                                                  f"log-probability {logprob:+.4g} nats")
    rows = page.locator(".movers tbody tr").all()
    for row, one in zip(rows, change.movers(8), strict=True):
        texts = [format(one.before, ".4g"), format(one.after, ".4g"), format(one.logit, "+.4g")]
        assert row.locator("td").all_inner_texts() == texts


def test_switches_are_added_by_a_form(browser, address, lm):
    page = opened(browser, address, ready="#add-rule", prompt=PROMPT, lang="en", screen="interventions")

    def choose(kind, **fields):
        page.select_option("#add-rule select >> nth=0", kind)
        for label, value in fields.items():
            field = page.locator(f"#add-rule label:has(> span:text-is('{label}'))").locator("input, select")
            if field.evaluate("one => one.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)
                field.press("Tab")
        page.click("#add-rule button.primary")

    def only(rules):
        page.wait_for_selector(".rules li")
        settled(page)
        page.wait_for_selector(".busy", state="detached")
        assert after(page) == best(lm, rules)[1]
        page.click("button:text-is('Remove all')")
        page.wait_for_selector(".rules", state="detached")

    choose("neuron", Layer="1", Neuron="3", Value="25")
    only([Value("h.1.mlp.act", columns=[3], value=25)])
    choose("mask", Token="6")
    only([Value(f"h.{layer}.attn.scores", columns=[6], value=-1e30) for layer in range(4)])
    choose("token", Token="7", by="the")
    the = lm.tokenizer.encode(" the")
    only([Value("wte", positions=[7], value=lm.inside(the)["wte"][0])])
    choose("mlp", Layer="2", **{"at position": "8"})
    only([Zero("h.2.mlp.out", positions=[8])])


def test_a_switch_that_changes_nothing_says_so_and_a_factor_is_the_library_s(browser, address, lm):
    rule = {"name": "h.3.attn.z", "heads": [2], "how": "scale", "factor": 1}
    page = opened(browser, address, ready=".rules", prompt=PROMPT, lang="en", screen="interventions",
                  off=json.dumps([rule]))
    page.wait_for_selector("text=This changes no logit of the last position at all.")
    page.focus(".rules input[type=range]")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector(".rules output:text-is('\u00d7 2')")
    settled(page)
    page.wait_for_selector(".busy", state="detached")
    assert after(page) == best(lm, [Scale("h.3.attn.z", heads=[2], factor=2.0)])[1]


def test_a_word_that_is_not_one_token_is_told_in_place(browser, address):
    page = opened(browser, address, ready="#add-rule", prompt=PROMPT, lang="en", screen="interventions")
    page.select_option("#add-rule select >> nth=0", "token")
    page.fill("#add-rule input[type=text]", "hippopotamus")
    page.click("#add-rule button.primary")
    page.wait_for_selector(".banner:has-text('is not one token')")
    page.click("button:text-is('Remove all')")
    page.wait_for_selector(".banner", state="detached")


@pytest.mark.parametrize(("over", "at", "options"), [("a position", "resid_post", {"over": "position"}),
                                                     ("a head", "attn.z", {"over": "head"}),
                                                     ("a whole layer", "mlp.out", {"over": "layer"})])
def test_patches_from_a_second_prompt_are_the_library_s(browser, address, lm, over, at, options):
    page = opened(browser, address, ready="#patch", prompt=PROMPT, prompt2=SECOND, lang="en", screen="interventions")
    page.click(f"#patch button:text-is('{over}')")
    page.select_option("#patch select", at)
    page.click("#patch .primary")
    page.wait_for_selector("#patch .top")
    found = lm.patch(SECOND, PROMPT, at=at, **options)
    assert shown(page, "#patch") == written(found.values)
    cell = page.locator("#patch .cells tbody tr >> nth=2 >> td button").last
    cell.click()
    clean = lm.inside(SECOND)[f"h.2.{at}"]
    rule = {"position": Value("h.2.resid_post", positions=[8], value=clean[[8]] if at == "resid_post" else 0),
            "head": Value("h.2.attn.z", heads=[3], value=clean[[3]] if at == "attn.z" else 0),
            "layer": Value("h.2.mlp.out", value=clean if at == "mlp.out" else 0)}[options["over"]]
    assert after(page) == best(lm, [rule])[1]


def test_prompts_of_different_length_cannot_be_patched_and_it_is_said(browser, address):
    page = opened(browser, address, ready="#patch", prompt=PROMPT, prompt2="Once", lang="en", screen="interventions")
    page.wait_for_selector("#patch :text('Both prompts need as many tokens')")
    assert page.is_disabled("#patch .primary")


def test_axe_finds_nothing_on_the_screen_of_interventions(browser, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    rules = [{"name": "h.3.attn.z", "heads": [2], "how": "scale", "factor": 2},
             {"name": "h.1.mlp.act", "columns": [3], "how": "value", "value": 5},
             {"name": "h.*.attn.scores", "columns": [5], "how": "mask"}]
    for lang, theme in [("de", "light"), ("en", "dark")]:
        page = opened(browser, address, ready="#scan", prompt=PROMPT, prompt2=SECOND, screen="interventions", lang=lang,
                      theme=theme, off=json.dumps(rules))
        for card in ("#scan", "#patch"):
            page.click(f"{card} .primary")
            page.wait_for_selector(f"{card} .top")
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{lang} {theme}: {found.generate_report()}"
        assert page.faults == []
        page.set_viewport_size({"width": 320, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.context.close()


@pytest.mark.parametrize("lang", ["de", "en"])
@pytest.mark.parametrize("prompt", [PROMPT, "Der Hund jagt die Katze", "The king said to his", "Der Arzt sagte, daß"])
def test_a_second_prompt_is_proposed_that_can_be_patched(browser, address, lm, lang, prompt):
    page = opened(browser, address, ready="#patch", prompt=prompt, lang=lang, screen="interventions")
    page.wait_for_selector("#patch .primary:enabled")
    proposed = page.input_value("#patch .stack input")
    assert proposed != prompt
    assert len(lm.tokenizer.encode(proposed)) == len(lm.tokenizer.encode(prompt))
