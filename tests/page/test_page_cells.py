"""Any cell that the page shows is the library's number: random cells of every activation, of both bundled models."""

from __future__ import annotations

import random

import numpy as np
import pytest

import nextword
from page.browser import PROMPT, four, opened

CELLS = 20
# llm-viz's names of what its sorter computes in block 0, and ours
PUBLISHED = {"tok_emb": "wte", "pos_emb": "wpe", "ln1": "h.0.ln_1", "q": "h.0.attn.q", "k": "h.0.attn.k",
             "v": "h.0.attn.v", "att": "h.0.attn.scores", "attSm": "h.0.attn.weights", "yProj": "h.0.attn.out",
             "attnResid": "h.0.resid_mid", "ln2": "h.0.ln_2", "fc": "h.0.mlp.fc", "gelu": "h.0.mlp.act",
             "mlp": "h.0.mlp.out", "mlpResid": "h.0.resid_post"}  # fmt: skip
APART = 2e-6  # of the published numbers from ours, as tests/models/test_known_models.py has it for all of them


def cells_of(name, shape, chance, count=CELLS):
    """Random indices of an activation; of scores and weights those that the mask leaves."""
    for _ in range(count):
        index = [chance.randrange(length) for length in shape]
        if name.endswith(("scores", "weights")):
            index[2] = chance.randrange(index[1] + 1)
        yield index


def read(page, cells):
    """What the inspector shows of each cell [name, index]."""
    return page.evaluate("""async cells => {
        const { cell } = await import("page/state.js"), found = [];
        for (const [name, index] of cells) {
            const wanted = `${name}[${index.join(", ")}]`;
            const shown = () => document.querySelector(".inspector .name code")?.textContent === wanted
                && document.querySelector(".inspector .big")?.textContent;
            const text = await new Promise((done, fail) => {
                const late = setTimeout(() => { watch.disconnect(); fail(new Error(wanted)); }, 10000);
                const look = () => { if (shown()) { clearTimeout(late); watch.disconnect(); done(shown()); } };
                const watch = new MutationObserver(look);
                watch.observe(document.body, { subtree: true, childList: true, characterData: true });
                cell.value = { name, index };
                look();
            });
            found.push(text);
        }
        cell.value = null;
        return found; }""", cells)


@pytest.fixture
def page(browser, address):
    page = opened(browser, address, prompt=PROMPT, open="", lang="de")
    yield page
    page.context.close()


@pytest.fixture
def sorter_page(browser, sorter_address):
    def of(prompt):
        pages.append(opened(browser, sorter_address, prompt=prompt, open="", lang="en"))
        return pages[-1]

    pages = []
    yield of
    for page in pages:
        page.context.close()


@pytest.fixture(scope="module")
def sorter():
    return nextword.load("nextword:nano-sort")


def everywhere(x, chance):
    """CELLS random cells of each kind of activation, each in a layer by chance."""
    kinds = {}
    for name in x.names:
        kinds.setdefault(name.split(".", 2)[-1] if name.startswith("h.") else name, []).append(name)
    return [(chance.choice(names), index) for names in kinds.values()
            for index in cells_of(names[0], x.shape(names[0]), chance)]


def test_random_cells_of_every_activation_of_the_demo(page, lm):
    x = lm.inside(PROMPT)
    cells = everywhere(x, random.Random(0))
    assert read(page, cells) == [four(x[name][tuple(index)]) for name, index in cells]


def test_random_cells_of_every_activation_of_the_sorter(sorter_page, sorter):
    prompt = "CBABBCAABC"
    x = sorter.inside(prompt)
    cells = everywhere(x, random.Random(1))
    assert read(sorter_page(prompt), cells) == [four(x[name][tuple(index)]) for name, index in cells]


@pytest.mark.parametrize("row", range(3))
def test_block_0_of_the_sorter_is_the_published_one(sorter_page, shared, row):
    partials, chance = np.load(shared("gpt_nano_sort/partials_block0.npz")), random.Random(row)
    ids = partials["idx"][row].astype(int)
    cells, expected = [], []
    for theirs, ours in PUBLISHED.items():
        numbers = partials[theirs][min(row, len(partials[theirs]) - 1)]
        for index in cells_of(ours, numbers.shape, chance, CELLS // 3 + 1):
            cells.append((ours, index))
            expected.append(float(numbers[tuple(index)]))
    found = read(sorter_page("".join("ABC"[i] for i in ids)), cells)
    for cell, text, number in zip(cells, found, expected, strict=True):
        assert abs(float(text) - number) <= APART + 5e-4 * abs(number), cell  # the text has four digits
