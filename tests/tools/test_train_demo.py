"""tools/train_demo.py on a tiny corpus: it learns, goes on where it stopped, and writes what others read."""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

import numpy as np
import pytest

import nextword

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[train]"')

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import train_demo  # noqa: E402

TINY = [
    *["--vocab", "300", "--layers", "2", "--heads", "2", "--width", "32", "--context", "32", "--batch", "4"],
    *["--steps", "40", "--warmup", "5", "--measure-every", "10", "--no-compile"],
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three small books of sentences that a few words make."""
    rng = random.Random(1)
    words = {
        "en": ["the", "king", "a", "fox", "saw", "owl"],
        "de": ["der", "König", "ein", "Fuchs", "sah", "und"],
    }
    folder = tmp_path_factory.mktemp("corpus")
    for place, language in {"en": "en", "de": "de", "valid": "en"}.items():
        (folder / place).mkdir()
        paragraphs = [" ".join(rng.choices(words[language], k=30)) + "." for _ in range(60)]
        (folder / place / f"{language}_book.txt").write_text("A Tale\n\n" + "\n\n".join(paragraphs), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """run(*options) trains anew in a folder of its own, or in `into`, and returns that folder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def start(*options, into=None):
        folder = into or tmp_path_factory.mktemp("run")
        places = ["--corpus", str(corpus), "--state", str(folder / "state"), "--out", str(folder / "model")]
        train_demo.main([*places, *TINY, "--workers", "1", *options])
        return folder

    yield start
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(run):
    return run()


def curve(folder):
    with (folder / "state" / "curve.csv").open() as file:
        return list(csv.DictReader(file))


def test_loss_falls_on_what_it_trains_on_and_on_the_held_out_book(whole):
    rows = curve(whole)
    assert [row["step"] for row in rows] == ["10", "20", "30", "40"]
    for column in ("train_nats_per_token", "en_book"):
        figures = [float(row[column]) for row in rows]
        assert figures == sorted(figures, reverse=True)
        assert figures[-1] < 0.9 * figures[0]


def test_an_interrupted_run_ends_with_the_same_weights(whole, run):
    folder = run("--stop-at", "17")
    assert not (folder / "model").exists()
    run(into=folder)
    for name in ("model/model.safetensors", "model/config.json", "state/curve.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_two_workers_take_the_steps_of_one(whole, run):
    one, two = curve(whole), curve(run("--workers", "2"))
    for a, b in zip(one, two, strict=True):  # bfloat16 sums of half a batch round otherwise
        assert float(b["train_nats_per_token"]) == pytest.approx(float(a["train_nats_per_token"]), rel=0.01)


def test_the_learning_rate_bends_without_a_jump_and_ends_at_zero():
    schedule = train_demo.Schedule(1.0, warmup=10, steps=100)
    rates = [schedule(step) for step in range(101)]
    assert rates[9] == rates[10] == 1.0
    assert rates[100] == 0.0
    schedule.bend(50, steps=70)
    assert schedule(50) == pytest.approx(rates[50])
    assert rates[60] > schedule(60) > schedule(70) == 0.0


def test_a_pass_over_the_windows_meets_each_once_and_the_next_shifts_them():
    windows = train_demo.Windows(np.arange(1001), 20, seed=3)
    first, second = ([windows[start + i] for i in range(windows.count)] for start in (0, windows.count))
    for cuts in (first, second):
        starts = sorted(int(cut[0]) for cut in cuts)
        assert set(np.diff(starts)) == {20}
        assert all((cut == np.arange(cut[0], cut[0] + 21)).all() for cut in cuts)
    assert first[0][0] % 20 != second[0][0] % 20
    assert (windows[3] == first[3]).all()  # also on the way back


def test_a_book_is_cut_at_headings_that_stand_far_enough_apart():
    tale = "Once.\n\n" * 200
    parts = train_demo.stories(f"A Fox\n\n{tale}The Owl\n\n{tale}Too Soon")
    assert [part.split("\n")[0] for part in parts] == ["A Fox", "The Owl"]


def test_nextword_reads_the_folder_and_agrees_with_transformers(whole):
    transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')
    lm = nextword.load(whole / "model")
    text = "the old king saw a fox"
    ids = lm.tokenizer.encode(text)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(whole / "model", dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.abs(lm.logits(ids) - expected).max() <= 1e-4 * np.abs(expected).max()
    assert lm.tokenizer.eos_id == theirs.config.eos_token_id == theirs.config.bos_token_id
