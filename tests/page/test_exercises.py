"""The twelve exercises of the lessons, in both languages of the page: what a student does, and what is seen then.

What depends on the bundled model is compared with the library's numbers (`tools/page_numbers.py`), the rest with what
the lectures say.
"""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

import nextword
from model_files import write_model
from nextword.decoding.sampling import uniform
from page.browser import DATA, PROMPT, four, page_numbers, serving, shown, signed

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import expect

LOGITS = np.array([3.23, -7.1, 5.57, 0.39, 2.4])
LECTURE = {"T = 1": [".084", "2.75e-6", ".87", ".005", ".037"], "T = 2": [".19", "0", ".63", ".05", ".13"],
           "T = 5": [".24", ".03", ".39", ".14", ".20"]}  # fmt: skip
GPT2 = ("The theory of relativity is", [464, 4583, 286, 44449, 318])


def column(table, number):
    """The cells of a column of a table's body, 1-based, row headers among them."""
    return table.locator(f"tbody tr > *:nth-child({number})")


# 1. Words and signs become tokens


def test_1_words_and_signs_become_tokens(page_of, t, exercise_numbers):
    for text, tokens in exercise_numbers["tokens"].items():
        page = page_of(prompt="a", open="tokens")
        page.get_by_label(t("prompt.label")).fill(text)
        station = page.locator("#inside-tokens")
        pieces = [bytes.fromhex(piece) for _, piece in tokens]
        table = station.get_by_role("region", name=t("tokens.bytes")).locator("table")
        expect(column(table, 3)).to_have_text([str(token) for token, _ in tokens])
        expect(column(table, 4)).to_have_text([piece.hex(" ").upper() for piece in pieces])
        chips = station.get_by_role("group", name=t("follow.token")).locator(".token")
        if text == "😀":
            together = station.get_by_role("listitem").filter(has_text="😀")
            expect(together).to_contain_text(t("tokens.several", count=len(tokens), bytes="F0 9F 98 80"))
            expect(chips).to_have_text([piece.hex(" ").upper() for piece in pieces])
        else:
            expect(chips).to_have_text([shown(piece.decode()) for piece in pieces])
        assert "\ufffd" not in page.content()


@pytest.fixture(scope="module")
def gpt2_address(browser, tmp_path_factory):
    """A page of GPT-2's vocabulary, with a small model of random weights."""
    vocabulary = DATA / "gpt2_tokenizer"
    if not vocabulary.exists():
        pytest.skip("needs gpt2_tokenizer of ../shared/data, which is not beside this checkout")
    config = {"model_type": "gpt2", "vocab_size": 50257, "n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 1}
    rng = np.random.default_rng(0)
    shapes = {"wte.weight": (50257, 8), "wpe.weight": (64, 8), "ln_f.weight": (8,), "ln_f.bias": (8,),
              "h.0.ln_1.weight": (8,), "h.0.ln_1.bias": (8,), "h.0.attn.c_attn.weight": (8, 24),
              "h.0.attn.c_attn.bias": (24,), "h.0.attn.c_proj.weight": (8, 8), "h.0.attn.c_proj.bias": (8,),
              "h.0.ln_2.weight": (8,), "h.0.ln_2.bias": (8,), "h.0.mlp.c_fc.weight": (8, 32),
              "h.0.mlp.c_fc.bias": (32,), "h.0.mlp.c_proj.weight": (32, 8), "h.0.mlp.c_proj.bias": (8,)}
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    folder = write_model(tmp_path_factory.mktemp("gpt2"), config, tensors)
    folder.joinpath("vocab.json").write_bytes(vocabulary.joinpath("encoder.json").read_bytes())
    folder.joinpath("merges.txt").write_bytes(vocabulary.joinpath("vocab.bpe").read_bytes())
    with serving("--model", str(folder)) as address:
        yield address


def test_1_gpt_2_s_vocabulary(open_page, gpt2_address, lang, t):
    text, ids = GPT2
    page = open_page(gpt2_address, prompt=text, lang=lang, open="tokens")
    table = page.get_by_role("region", name=t("tokens.bytes")).locator("table")
    expect(column(table, 3)).to_have_text([str(token) for token in ids])


# 2 and 3. Words in the plane


def similarities(page, t):
    """A word pair's measures in the table beside the plane."""
    rows = page.get_by_role("region", name=t("bench.similar")).locator("tr[data-pair]")
    expect(rows).to_have_count(6)
    return {row.get_attribute("data-pair"): row.locator("td").all_inner_texts() for row in rows.all()}


def test_2_three_measures_of_two_words(page_of, t):
    page = page_of(screen="bench")
    found = similarities(page, t)
    assert found["orange-phone"] == ["0", "0", "0"]
    assert found["apple-orange"] == ["6", "4.24", "0.707"]
    for axis, value in (("x", 3), ("y", 1)):  # the lecture's apple
        page.get_by_role("spinbutton", name=t("bench.coordinate", word=t("word.apple"), axis=axis)).fill(str(value))
    found = similarities(page, t)
    assert [found[pair][0] for pair in ("apple-phone", "apple-orange", "orange-phone")] == ["12", "3", "0"]
    assert [found[pair][1] for pair in ("apple-phone", "apple-orange", "orange-phone")] == ["8.49", "2.12", "0"]


def test_3_context_pulls_a_word(page_of, t):
    page = page_of(screen="bench")
    shares, moved = column(page.locator("#shares"), 3), page.locator("#moved")
    expect(shares).to_have_text(["0.57", "0.43"])
    expect(moved).to_contain_text("= (1.14, 2.43)")
    page.get_by_role("group", name=t("bench.context")).get_by_role("button", name=t("word.phone"), exact=True).click()
    expect(shares).to_have_text(["0.57", "0.43"])
    expect(moved).to_contain_text("= (2.86, 1.14)")
    page.get_by_role("button", name=t("bench.opposite")).click()
    expect(shares).to_have_text(["0.88", "0.12"])
    page.get_by_role("button", name=t("bench.plain"), exact=True).click()
    expect(shares).to_have_text([t("bench.undefined")] * 2)
    expect(moved).to_have_text(t("bench.fails"))


# 4 and 5. Five logits


def test_4_the_lecture_s_table_of_temperatures(page_of):
    page = page_of(screen="bench")
    table = page.locator("#temperatures")
    names = table.locator("thead th").all_inner_texts()
    assert names[2:] == ["T = 0.01", "T = 0.5", "T = 1", "T = 2", "T = 5"]
    for at, name in enumerate(names[2:], 3):
        found = column(table, at).all_inner_texts()
        powers = np.exp((LOGITS - LOGITS.max()) / float(name.removeprefix("T = ")))
        assert found == [format(p, ".3g") for p in powers / powers.sum()]
        for text, said in zip(found, LECTURE.get(name, found), strict=True):
            places = len(said.partition("e")[0].partition(".")[2])  # the lecture rounds to these
            half = 0.5 * 10.0 ** -places * (float(f"1e{said.partition('e')[2] or 0}"))
            assert abs(float(text) - float(said)) <= half + 5e-4 * float(text), name  # both are rounded


def test_5_rules_and_seeded_draws(page_of, t):
    page = page_of(screen="bench")
    rules, chances = page.get_by_role("group", name=t("bench.rule")), page.locator("#chances .number")
    card = page.locator("section.card", has=page.locator("#drawn"))
    for rule, amount, expected in [
            ("greedy", None, ["0", "0", "1", "0", "0"]), ("uniform", "3", ["0.333", "0", "0.333", "0", "0.333"]),
            ("top_k", "2", ["0.0879", "0", "0.912", "0", "0"]), ("top_p", "0.9", ["0.0879", "0", "0.912", "0", "0"]),
            ("top_p", "0.8", ["0", "0", "1", "0", "0"])]:
        rules.get_by_role("button", name=t(f"bench.rule.{rule}"), exact=True).click()
        if amount:
            page.get_by_label(t(f"bench.rule.{rule}")).and_(page.get_by_role("slider")).fill(amount)
        expect(chances).to_have_text(expected)
    rules.get_by_role("button", name=t("bench.rule.none"), exact=True).click()
    powers = np.exp(LOGITS - LOGITS.max())
    ends = np.cumsum(powers / powers.sum())
    for _ in range(2):
        drawn = []
        for step in range(5):
            card.get_by_role("button", name=t("bench.draw"), exact=True).click()
            number = uniform(1, 0, step)
            drawn.append(str(int(np.searchsorted(ends, number, side="right")) + 1))
            expect(page.locator("#drawn")).to_have_text(
                t("bench.drawn", number=format(number, ".6g"), index=drawn[-1], all=" ".join(drawn)))
        card.get_by_role("button", name=t("bench.anew"), exact=True).click()


# 6. Who looks at whom


def test_6_every_row_sums_to_one_and_sees_nothing_later(page_of, lang, lm, t, exercise_numbers):
    chance = random.Random(0)
    for text, looks in exercise_numbers["rows"].items():
        x, last = lm.inside(text), len(lm.tokenizer.encode(text)) - 1
        for query in (last, chance.randrange(1, last), 0):
            layer, head = chance.randrange(lm.model.layers), chance.randrange(lm.model.heads)
            page = page_of(prompt=text, open="attention", layer=layer, head=head, pos=query)
            table = page.locator("#inside-attention table").filter(has_text=t("attention.sum"))
            weights = x[f"h.{layer}.attn.weights"][head, query]
            scores = x[f"h.{layer}.attn.scores"][head, query]
            later = [] if query == last else ["0"]
            expect(column(table, 3)).to_have_text([*map(four, weights[:query + 1]), *later])
            expect(column(table, 2)).to_have_text([*map(four, scores[:query + 1]), *(["\u2212∞"] if later else [])])
            expect(table.locator("tfoot tr > *:nth-child(3)")).to_have_text("1.000")
            if later:
                expect(table.get_by_role("row").filter(
                    has_text=t("attention.future", count=last - query))).to_have_count(1)
            if query == last:
                at, weight = looks[layer][head]
                part = t("attention.part", p=four(weight), token=shown(lm.tokenizer.decode(
                    [lm.tokenizer.encode(text)[at]])))
                expect(page.locator("#inside-attention").get_by_role("note").first).to_contain_text(part)
            if query == 0:
                expect(column(table, 3).first).to_have_text("1")


# 7. What if a head were not there


def test_7_a_head_and_an_attention_are_switched_off(page_of, t, exercise_numbers):
    off = exercise_numbers["off"]
    layer, head = off["strongest"]
    page = page_of(prompt=PROMPT, open="attention", layer=layer, head=head)
    switched = page.get_by_role("region", name=t("switches.title"))
    page.get_by_role("button", name=t("switch.head", layer=layer, head=head)).click()
    sees(switched, t("switches.before"), off["before"])
    sees(switched, t("switches.after"), off["head"])
    logit = {text: value for text, _, value in off["before"]}
    then = next(value for text, _, value in off["head"] if text == off["target"])
    row = switched.get_by_role("row").filter(has=page.get_by_role("rowheader", name=shown(off["target"]), exact=True))
    expect(row.locator("td").last).to_have_text(signed(then - logit[off["target"]]))
    page.get_by_role("button", name=t("switches.clear")).click()
    expect(switched).to_have_count(0)
    page.get_by_role("button", name=t("switch.attention", layer=3)).click()
    sees(switched, t("switches.after"), off["attention"])


def test_7_all_heads_are_scanned(page_of, t, exercise_numbers):
    off = exercise_numbers["off"]
    page = page_of(screen="interventions", prompt=PROMPT)
    card = page.get_by_role("region", name=t("scan.title"))
    card.get_by_label(t("scan.target")).fill(off["target"].strip())
    card.get_by_label(t("scan.target")).blur()
    card.get_by_role("button", name=t("scan.start"), exact=True).click()
    picture = card.get_by_role("region", name=t("scan.picture.logit", token=shown(off["target"])))
    expect(picture.locator("tbody td")).to_have_text([format(value, ".3g") for row in off["scan"] for value in row])
    layer, head = off["strongest"]
    strongest = card.get_by_role("listitem").first
    expect(strongest).to_have_text(f"{t('rule.head', layer=layer, head=head)} {signed(off['scan'][layer][head])}")


def sees(region, name, words):
    """Whether a list of words begins with these, and with their probabilities."""
    listed = region.get_by_role("list", name=name, exact=True)
    for at, (text, p, _) in enumerate(words):
        expect(listed.locator(".token").nth(at)).to_have_text(shown(text))
        expect(listed.locator(".number").nth(at)).to_have_text(four(p))


# 8. The lens


def test_8_the_lens_ends_in_the_next_word(page_of, t, exercise_numbers):
    page = page_of(prompt=PROMPT, open="stream,next")
    lens = page.get_by_role("region", name=t("stream.lens"))
    rows = lens.locator("tbody tr")
    expect(rows.locator("th")).to_have_text([name for name, _, _ in exercise_numbers["lens"]])
    last = rows.locator("td:last-child")
    expect(last.locator(".token")).to_have_text([shown(text) for _, text, _ in exercise_numbers["lens"]])
    expect(last.locator("small")).to_have_text([format(p, ".3g") for _, _, p in exercise_numbers["lens"]])
    best = page.locator("#inside-next").get_by_role("list").last.get_by_role("listitem").first
    word, p = best.locator(".token").text_content(), best.locator(".number").text_content()
    assert word == last.last.locator(".token").text_content()
    assert format(float(p), ".3g") == last.last.locator("small").text_content()


# 9. Reckoning with words


def test_9_reckoning_with_words(page_of, lang, t, exercise_numbers):
    for each in exercise_numbers["analogies"].values():
        if lang not in each:
            continue
        page, found = page_of(screen="words"), each[lang]
        card = page.get_by_role("region", name=t("words.analogy.title"))
        for label, word in zip("abc", found["words"], strict=True):
            card.get_by_label(label, exact=True).fill(word)
            card.get_by_label(label, exact=True).blur()
        inputs = card.get_by_role("group", name=t("words.inputs"))
        for how in ("without", "with"):
            inputs.get_by_role("button", name=t(f"words.{how}"), exact=True).click()
            listed = card.get_by_role("list", name=t("words.analogy.title"))
            for at, (text, cosine) in enumerate(found[how]):
                expect(listed.locator(".token").nth(at)).to_have_text(shown(text))
                expect(listed.locator(".number").nth(at)).to_have_text(four(cosine))
            expect(card).to_contain_text(t(f"words.why.{how}"))


# 10. Whom does the model expect


def test_10_who_is_expected(page_of, lang, t, exercise_numbers):
    found = exercise_numbers["bias"][lang]
    page = page_of(screen="compare")
    table = page.locator("#compare")
    for label, text in (("prompts", "\n".join(found["shares"])), ("continuations", " ".join(found["continuations"]))):
        field = page.get_by_role("textbox", name=t(f"compare.{label}"), exact=True)
        field.fill(text)
        field.blur()
        expect(table.get_by_role("rowheader").last).to_have_text(list(found["shares"])[-1])
    expect(column(table, 4)).to_have_text([four(share) for row in found["shares"].values() for share in row])
    expect(column(table, 2)).to_have_text([word.strip() for word in found["continuations"]] * len(found["shares"]))
    expect(page.get_by_role("main")).to_contain_text(t("compare.warning"))


# 11. One number to its roots


def test_11_the_parts_of_a_logit_sum_to_it(page_of, t, exercise_numbers):
    found = exercise_numbers["parts"]
    page = page_of(prompt=PROMPT, open="stream")
    table = page.locator(".parts-table")
    expect(table.locator("tbody th")).to_have_text([name for name, _ in found["parts"]])
    expect(table.locator("tbody td.number")).to_have_text([signed(value) for _, value in found["parts"]])
    expect(table.locator("caption")).to_contain_text(
        t("stream.parts.says", token=shown(found["target"]), logit=format(found["logit"], ".7g")))
    total = float(table.locator("tfoot td.number").inner_text())
    assert abs(total - found["logit"]) < 1e-5
    assert abs(total - sum(value for _, value in found["parts"])) < 1e-6


# 12. Ten words


@pytest.mark.parametrize("temperature", [0, 0.7, 2])
def test_12_ten_words(page_of, lang, t, exercise_numbers, temperature):
    prompt = page_numbers().THINKER
    expected = exercise_numbers["texts"][format(temperature, "g")]
    page = page_of(prompt=prompt, open="next", t=temperature, seed=1)
    station = page.locator("#inside-next")
    step, grown = station.get_by_role("button", name=t("play.step"), exact=True), station.locator(".grown")
    for _ in range(2 if temperature == 0 else 1):
        for count in range(1, 11):
            step.click()
            expect(grown).to_have_count(count)
        assert station.locator("p.text").text_content() == prompt + expected.replace("\n", "⏎\n")
        grown.nth(4).click()  # every step stays open
        at = len(nextword.load().tokenizer.encode(prompt)) + 3
        assert re.search(rf"pos={at}\b", page.evaluate("location.hash"))
        station.get_by_role("button", name=t("play.start"), exact=True).click()
        expect(grown).to_have_count(0)


def test_12_the_window_ends(page_of, lm, t):
    window = lm.model.window
    page = page_of(prompt=lm.tokenizer.decode([300] * (window - 1)), open="next", t=0)
    station = page.locator("#inside-next")
    step = station.get_by_role("button", name=t("play.step"), exact=True)
    step.click()
    expect(station).to_contain_text(t("next.full", window=window))
    expect(step).to_be_disabled()
